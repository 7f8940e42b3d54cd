"""The state: typed tables of entries, a journal that undoes, and the root that commits to all of it.

Invariants: every write goes through a table's `put`, so that `undo` restores exactly what was there; `seal` computes
the root of what was written without adopting it, and `accept` adopts it, so a block that can't be stored leaves no
trace; balances and pools always sum to issuance (checked at every seal).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from ledger.entries import (
    Account,
    Bonds,
    Cohort,
    Collective,
    Commitment,
    Contribution,
    Delegate,
    Entry,
    FinalitySet,
    Globals,
    Identity,
    Line,
    Neuron,
    Nonce,
    Offence,
    Owner,
    Pool,
    Publisher,
    Revealed,
    Shares,
    Slot,
    Usage,
    Weighted,
)
from ledger.errors import DamagedLedger
from ledger.genesis import Genesis
from ledger.parameters import Ratio
from ledger.tables import Table, Written
from ledger.trust.trie import Found, Trie
from ledger.units import U16_MAX

ACCOUNT_PREFIX = b"a"
NONCE_PREFIX = b"n"
FINALITY_KEY = b"f"
"""Full keys, or what they begin with, of what is proven to others."""

_ENCODER = msgspec.msgpack.Encoder()


class Sealed(NamedTuple):
    """A block's effect on the state, computed and not yet adopted.

    `rows` are full keys with their new encoded values, None where removed.
    """

    root: bytes
    trie: Trie
    rows: list[tuple[bytes, bytes | None]]
    free_rao: int
    pools_rao: int


class Supply(NamedTuple):
    """Where all RAO are, and where they came from."""

    free_rao: int
    pools_rao: int
    issuance_rao: int
    genesis_rao: int
    minted_rao: int
    burned_rao: int


def uid_key(uid: int) -> bytes:
    """The key of what belongs to a uid."""
    return uid.to_bytes(2, "big")


class State:
    """Everything the ledger knows at one height. Only `ledger.execution`, the rules and the genesis write to it."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis_hash = genesis.hash
        self.parameters = genesis.parameters
        self.keeper = genesis.keeper
        self._journal: list[Written] = []
        self.scalars = Table(b"g", Globals, self._journal)
        self.accounts = Table(ACCOUNT_PREFIX, Account, self._journal)
        self.nonces = Table(NONCE_PREFIX, Nonce, self._journal)
        self.owners = Table(b"o", Owner, self._journal)
        self.pools = Table(b"p", Pool, self._journal)
        self.shares = Table(b"s", Shares, self._journal)
        self.slots = Table(b"h", Slot, self._journal)
        self.neuron_rows = Table(b"u", Neuron, self._journal)
        self.bonds = Table(b"b", Bonds, self._journal)
        self.commitment_rows = Table(b"c", Commitment, self._journal)
        self.reveal_rows = Table(b"r", Revealed, self._journal)
        self.collectives = Table(b"m", Collective, self._journal)
        self.finality_sets = Table(FINALITY_KEY, FinalitySet, self._journal)
        self.lines = Table(b"l", Line, self._journal)
        self.delegates = Table(b"t", Delegate, self._journal)
        self.identities = Table(b"i", Identity, self._journal)
        self.usages = Table(b"q", Usage, self._journal)
        self.offences = Table(b"x", Offence, self._journal)
        self.cohort_rows = Table(b"k", Cohort, self._journal)
        self.contribution_rows = Table(b"d", Contribution, self._journal)
        self.publishers = Table(b"v", Publisher, self._journal)
        self._tables: dict[bytes, Table[Any]] = {
            table.prefix: table for table in vars(self).values() if isinstance(table, Table)
        }
        self.leaving: tuple[int, deque[tuple[int, int, int]]] | None = None
        """By the height of the block that is executed: who makes room for newcomers, in their order. It follows from
        the entries, and is forgotten when a block is undone.
        """
        self._trie = Trie()
        self._free_rao = 0
        self._pools_rao = 0

    @property
    def globals(self) -> Globals:
        """The scalars."""
        return self.scalars.entries[b""]

    @property
    def block_epoch(self) -> int:
        """The epoch of the block that is being executed, or that comes next: an open block is of the one it opens."""
        scalars = self.globals
        return scalars.epoch + (scalars.phase == "closed")

    @property
    def collective(self) -> Collective:
        """The collective fixed by the last close block."""
        return self.collectives.entries[b""]

    @property
    def finality_set(self) -> tuple[Weighted, ...]:
        """Whose votes count in the epoch after the last close block."""
        return self.finality_sets.entries[b""].members

    def account(self, public: bytes) -> int:
        """Free RAO of an account; 0 if there is none."""
        account = self.accounts.get(public)
        return 0 if account is None else account.free_rao

    def nonce(self, public: bytes) -> int:
        """The signer's last nonce; 0 if it never signed."""
        nonce = self.nonces.get(public)
        return 0 if nonce is None else nonce.value

    def neuron(self, uid: int) -> Neuron:
        """The neuron that holds the uid; KeyError if none does."""
        return self.neuron_rows.entries[uid_key(uid)]

    def neurons(self) -> list[Neuron]:
        """All neurons by uid."""
        return [self.neuron(uid) for uid in range(self.globals.neuron_count)]

    def neuron_by_hotkey(self, hotkey: bytes) -> Neuron | None:
        """The hotkey's neuron, or None."""
        slot = self.slots.get(hotkey)
        return None if slot is None else self.neuron(slot.uid)

    def roster(self) -> list[Neuron]:
        """The neurons whose version is valued in the open epoch, in order of publication; fixed by the open block."""
        epoch = self.globals.epoch
        fresh = (neuron for neuron in self.neurons() if neuron.published_epoch == epoch and neuron.manifest)
        return sorted(fresh, key=lambda neuron: neuron.publication)

    def in_roster(self, uid: int, manifest: bytes) -> bool:
        """Whether the open epoch values this version of this neuron."""
        if uid >= self.globals.neuron_count:
            return False
        neuron = self.neuron(uid)
        return neuron.published_epoch == self.globals.epoch and neuron.manifest == manifest

    def stake(self, hotkey: bytes) -> int:
        """RAO in the hotkey's pool."""
        pool = self.pool(hotkey)
        return 0 if pool is None else pool.total_rao

    def origin(self, hotkey: bytes) -> bytes:
        """The first hotkey of the line that this one is in: what stake and standing are kept under."""
        owner = self.owners.get(hotkey)
        return hotkey if owner is None else owner.origin

    def current_hotkey(self, hotkey: bytes) -> bytes:
        """The hotkey that this one was swapped for, last; itself if it never was."""
        origin = self.origin(hotkey)
        line = self.lines.get(origin)
        return origin if line is None else line.hotkey

    def pool(self, hotkey: bytes) -> Pool | None:
        """All stake on a hotkey's line, or None."""
        return self.pools.get(self.origin(hotkey))

    def shares_of(self, hotkey: bytes, coldkey: bytes) -> int:
        """How many shares of a hotkey's pool the coldkey owns."""
        owned = self.shares.get(self.origin(hotkey) + coldkey)
        return 0 if owned is None else owned.shares

    def take(self, hotkey: bytes) -> Ratio:
        """What a hotkey keeps of its dividends."""
        delegate = self.delegates.get(self.origin(hotkey))
        return self.parameters.take if delegate is None else (delegate.take, U16_MAX)

    def barred_until(self, hotkey: bytes) -> int:
        """The first epoch in which the hotkey may vote, as far as proven equivocations go."""
        offence = self.offences.get(self.origin(hotkey))
        return 0 if offence is None else offence.barred_until

    def stake_of(self, hotkey: bytes, coldkey: bytes) -> int:
        """What the coldkey's shares of the hotkey's pool are worth, RAO."""
        pool = self.pool(hotkey)
        return 0 if pool is None else self.shares_of(hotkey, coldkey) * pool.total_rao // pool.shares

    def commitments(self) -> dict[int, Commitment]:
        """The votes committed to in this epoch, by uid."""
        return {int.from_bytes(key, "big"): row for key, row in sorted(self.commitment_rows.entries.items())}

    def reveals(self) -> dict[int, Revealed]:
        """The votes shown in this epoch, by uid; kept until the next open block."""
        return {int.from_bytes(key, "big"): row for key, row in sorted(self.reveal_rows.entries.items())}

    def cohorts(self) -> dict[bytes, Cohort]:
        """The cohorts whose rounds the validators have agreed on, by name, ascending."""
        return dict(sorted(self.cohort_rows.entries.items()))

    def contributions(self) -> dict[int, Contribution]:
        """The updates committed to in the last open block, by uid; kept until the next one."""
        return {int.from_bytes(key, "big"): row for key, row in sorted(self.contribution_rows.entries.items())}

    @property
    def root(self) -> bytes:
        """The root of what was accepted."""
        return self._trie.root

    def find(self, full_key: bytes) -> Found | None:
        """The way from the root to an accepted entry, or to the one in its place; None in an empty state."""
        return self._trie.find(full_key)

    def encode(self, full_key: bytes) -> bytes | None:
        """An entry as the root commits to it, None if there is none."""
        entry = self._tables[full_key[:1]].get(full_key[1:])
        return None if entry is None else _ENCODER.encode(entry)

    def mark(self) -> int:
        """A place in the journal to which `undo` can return."""
        return len(self._journal)

    def undo(self, mark: int = 0) -> None:
        """Restore every entry written since the mark (0: since the last accept)."""
        if not mark:
            self.leaving = None
        while len(self._journal) > mark:
            table, key, old = self._journal.pop()
            table.restore(key, old)

    def seal(self) -> Sealed:
        """The root and rows of what was written since the last accept. DamagedLedger if RAO appeared or vanished."""
        rows: list[tuple[bytes, bytes | None]] = []
        for table, key in self._touched():
            entry = table.entries.get(key)
            rows.append((table.prefix + key, None if entry is None else _ENCODER.encode(entry)))
        supply = check_supply(self)
        trie = self._trie.update(rows)
        return Sealed(trie.root, trie, rows, supply.free_rao, supply.pools_rao)

    def previous_rows(self) -> list[tuple[bytes, bytes | None]]:
        """What was written since the last accept, as it was before: full keys with their old encoded values, None where
        there was no entry.
        """
        return [
            (table.prefix + key, None if old is None else _ENCODER.encode(old))
            for (table, key), old in self._touched().items()
        ]

    def accept(self, sealed: Sealed) -> None:
        """Adopt what was sealed; it can't be undone any more."""
        self._trie, self._free_rao, self._pools_rao = sealed.trie, sealed.free_rao, sealed.pools_rao
        self._journal.clear()

    def supply(self) -> Supply:
        """Free and pooled RAO beside the scalars, at a cost that grows with what was written since the last accept."""
        free_rao, pools_rao = self._free_rao, self._pools_rao
        for (table, key), old in self._touched().items():
            new = table.get(key)
            if table.kind is Account:
                free_rao += _rao(new) - _rao(old)
            elif table.kind is Pool:
                pools_rao += _rao(new) - _rao(old)
        scalars = self.globals
        return Supply(
            free_rao, pools_rao, scalars.issuance_rao, scalars.genesis_rao, scalars.minted_rao, scalars.burned_rao
        )

    def encoded_rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Every entry as (full key, encoded value), in no order."""
        for prefix, table in self._tables.items():
            for key, entry in table.entries.items():
                yield prefix + key, _ENCODER.encode(entry)

    def load(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in stored rows;

        ValueError (msgspec's included) for a row that is none, DamagedLedger if they don't add up.
        """
        for key, value in rows:
            table = self._tables.get(key[:1])
            if table is None:
                raise ValueError(f"the key {key.hex()} belongs to no table")
            table.put(key[1:], msgspec.msgpack.decode(value, type=table.kind))
        if b"" not in self.scalars.entries:
            raise ValueError("the row of the ledger's scalars is missing")
        self.accept(self.seal())

    def _touched(self) -> dict[tuple[Table[Any], bytes], Entry | None]:
        """What was written since the last accept, with what was there before."""
        first: dict[tuple[Table[Any], bytes], Entry | None] = {}
        for table, key, old in self._journal:
            first.setdefault((table, key), old)
        return first


def _rao(entry: Entry | None) -> int:
    if isinstance(entry, Account):
        return entry.free_rao
    return entry.total_rao if isinstance(entry, Pool) else 0


def check_supply(state: State) -> Supply:
    """The supply; DamagedLedger unless issuance = free balances + pools = genesis + minted - burned."""
    supply = state.supply()
    held = supply.free_rao + supply.pools_rao
    made = supply.genesis_rao + supply.minted_rao - supply.burned_rao
    if not held == supply.issuance_rao == made:
        raise DamagedLedger(
            state.globals.height,
            f"balances and pools hold {held} RAO, issuance is {supply.issuance_rao}, genesis + minted - burned {made}",
        )
    return supply
