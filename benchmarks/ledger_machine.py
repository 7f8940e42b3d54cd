"""A ledger under random use: every call by owners and strangers, in and out of order, in blocks on a real chain.

Invariants that every step checks: issuance = balances + pools, recounted; no balance below the existential deposit and
no share without RAO; an applied extrinsic moves its signer's nonce by one and no other; a refused one changes no row;
bytes decode to what was encoded; a block gives the receipts that its extrinsics gave one by one; any prefix of the
chain, replayed from the genesis, gives the same roots.
"""

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from benchmarks.ledger_world import (
    COLDKEYS,
    GENESIS,
    HOTKEYS,
    KEEPER,
    KEYS,
    make_ballot,
    make_commitment,
    make_rounds,
    two_headers,
    two_votes,
)
from ledger.blocks import APPLIED, Block, decode_block, encode_block
from ledger.epoch.emission import CAP_RAO
from ledger.errors import Refusal
from ledger.execution import apply_extrinsic, next_kind
from ledger.extrinsics import (
    AddStake,
    Call,
    Checkpoint,
    Contribute,
    Equivocation,
    Extrinsic,
    Publish,
    Register,
    RemoveStake,
    RevealWeights,
    Serve,
    SetIdentity,
    SetTake,
    SwapHotkey,
    Transfer,
    TwoHeaders,
    TwoVotes,
    UpdateValue,
    Withdraw,
    check_signature,
    decode_extrinsic,
    encode_extrinsic,
    sign_extrinsic,
)
from ledger.keys import Keypair
from ledger.state import State, check_supply
from ledger.store.chain import Chain
from ledger.store.replay import replay, verify
from ledger.trust.finality import sign_vote
from ledger.units import NANO_BITS_MAX, RAO_PER_TAO

MOST_WAITING = 8
"""Extrinsics after which a block is sealed unasked, so that epochs turn."""

coldkeys, hotkeys, anyone = st.sampled_from(COLDKEYS), st.sampled_from(HOTKEYS), st.sampled_from(list(KEYS.values()))
amounts = st.one_of(
    st.sampled_from((0, 1, 499, 500, 501, RAO_PER_TAO, 39 * RAO_PER_TAO, 40 * RAO_PER_TAO, CAP_RAO)),
    st.integers(0, 45 * RAO_PER_TAO),
)
hashes = st.integers(0, 3).map(lambda number: bytes([number]) * 32)
places, chances = st.integers(0, 7), st.integers(0, 5)
rows = st.lists(st.integers(0, 65535), max_size=4)
worths = st.lists(st.sampled_from((-NANO_BITS_MAX, -3, 0, 1, 10, NANO_BITS_MAX)), min_size=1, max_size=3)
said = st.one_of(
    st.builds(Publish, manifest=hashes),
    st.just(Withdraw()),
    st.builds(Checkpoint, parameters=hashes, manifest=hashes),
    st.builds(Serve, endpoint=st.sampled_from((None, "http://127.0.0.1:8091"))),
)


class LedgerMachine(RuleBasedStateMachine):
    """The chain, and the block in the making: extrinsics are applied to its state one by one, undone, then sealed."""

    seen: ClassVar[Counter[str]] = Counter()
    """Receipts and steps over all runs."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="taoray-machine-"))
        self.chain = Chain.create(self.folder / "chain.db", GENESIS)
        self.ballots: dict[bytes, RevealWeights] = {}
        self.sealed: list[bytes] = []
        self._begin()

    @property
    def state(self) -> State:
        return self.chain.state

    def _begin(self) -> None:
        """Start the next block as `execute` does."""
        self.waiting: list[bytes] = []
        self.receipts: list[str] = []
        self.kind = next_kind(self.state)
        self.state.scalars.put(b"", replace(self.state.globals, height=self.chain.head.height + 1))

    def _sign(self, call: Call, signer: Keypair, *, nonce: int = 1, valid_until: int = 10**6) -> Extrinsic:
        """`nonce` counts from the signer's last one."""
        return sign_extrinsic(
            call,
            signer,
            genesis_hash=self.chain.genesis_hash,
            nonce=self.state.nonce(signer.public) + nonce,
            valid_until=valid_until,
        )

    def _apply(self, extrinsic: Extrinsic) -> str:
        """Apply one extrinsic to the block in the making, and check what it did."""
        data = encode_extrinsic(extrinsic)
        assert decode_extrinsic(data) == extrinsic
        assert encode_extrinsic(decode_extrinsic(data)) == data
        before, nonces = dict(self.state.encoded_rows()), dict(self.state.nonces.entries)
        receipt = apply_extrinsic(self.state, self.kind, extrinsic)
        check_supply(self.state)
        if receipt == APPLIED:
            nonces.pop(extrinsic.signer, None)
            rest = {key: row for key, row in self.state.nonces.entries.items() if key != extrinsic.signer}
            assert rest == nonces
            assert self.state.nonce(extrinsic.signer) == extrinsic.nonce
        else:
            assert dict(self.state.encoded_rows()) == before, receipt
        self.waiting.append(data)
        self.receipts.append(receipt)
        self.seen[f"{type(extrinsic.call).__name__}: {receipt}"] += 1
        if len(self.waiting) >= MOST_WAITING:
            self.seal()
        return receipt

    @rule(signer=coldkeys, to=anyone, amount_rao=amounts, all_but=st.booleans())
    def transfer(self, signer: Keypair, to: Keypair, amount_rao: int, all_but: bool) -> None:
        if all_but:
            amount_rao = max(0, self.state.account(signer.public) - amount_rao % 700)
        self._apply(self._sign(Transfer(to=to.public, amount_rao=amount_rao), signer))

    @rule(signer=coldkeys, place=places, amount_rao=amounts, kind=st.sampled_from((AddStake, RemoveStake)))
    def move_stake(self, signer: Keypair, place: int, amount_rao: int, kind: Any) -> None:
        self._apply(self._sign(kind(hotkey=self._hotkey(place).public, amount_rao=amount_rao), signer))

    @rule(signer=coldkeys, hotkey=hotkeys, max_price_rao=st.sampled_from((RAO_PER_TAO, CAP_RAO)), waits=st.booleans())
    def register(self, signer: Keypair, hotkey: Keypair, max_price_rao: int, waits: bool) -> None:
        self._go_to("open", waits)
        call = Register(hotkey=hotkey.public, name="newcomer", max_price_rao=max_price_rao)
        self._apply(self._sign(call, signer))

    @rule(place=places, call=said, waits=st.booleans())
    def say(self, place: int, call: Call, waits: bool) -> None:
        self._go_to("open", waits)
        self._apply(self._sign(call, self._hotkey(place)))

    @rule(place=places, cohort=hashes, parameters=hashes, payload=hashes, off=chances, waits=st.booleans())
    def contribute(self, place: int, cohort: bytes, parameters: bytes, payload: bytes, off: int, waits: bool) -> None:
        self._go_to("open", waits)
        epoch = max(0, self.state.block_epoch + (off - 1 if off < 3 else 0))
        call = Contribute(cohort=cohort, epoch=epoch, parameters=parameters, payload=payload)
        self._apply(self._sign(call, self._hotkey(place)))

    @rule(place=places, new=hotkeys, take=st.integers(0, 40000), stranger=chances, which=st.integers(0, 2))
    def own(self, place: int, new: Keypair, take: int, stranger: int, which: int) -> None:
        self._go_to("open", stranger < 3)
        hotkey = self._hotkey(place)
        neuron = self.state.neuron_by_hotkey(hotkey.public)
        signer = COLDKEYS[0] if stranger == 0 or neuron is None else KEYS[neuron.coldkey]
        calls: tuple[Call, ...] = (
            SetTake(hotkey=hotkey.public, take=take),
            SetIdentity(hotkey=hotkey.public, name="owner", url="", description="words"),
            SwapHotkey(old=hotkey.public, new=new.public),
        )
        self._apply(self._sign(calls[which], signer))

    @rule(place=places, row=rows, worth=worths, astray=chances)
    def commit(self, place: int, row: list[int], worth: list[int], astray: int) -> None:
        signer, rounds = self._hotkey(place), make_rounds(self.state, worth)
        if astray == 0:
            rounds = tuple(replace(vote, values=(UpdateValue(uid=9, value=1),)) for vote in rounds)
        ballot = make_ballot(self.state, signer, tuple(range(len(row))), tuple(row), rounds)
        if self._apply(self._sign(make_commitment(self.state, signer, ballot), signer)) == APPLIED:
            self.ballots[signer.public] = ballot

    @rule(place=places, altered=st.booleans())
    def reveal(self, place: int, altered: bool) -> None:
        signer = self._hotkey(place)
        ballot = self.ballots.get(signer.public)
        if ballot is not None:
            self._apply(self._sign(replace(ballot, salt=b"\x09" * 32) if altered else ballot, signer))

    @rule(votes=st.lists(st.tuples(rows, st.booleans()), min_size=5, max_size=5), worth=worths, astray=chances)
    def vote(self, votes: list[tuple[list[int], bool]], worth: list[int], astray: int) -> None:
        """Go on to the commit block, where every neuron commits, and to the close block, where some keep silent."""
        self._go_to("commit", True)
        for uid, (row, _) in enumerate(votes):
            self.commit(uid, row, worth, astray)
        self.seal()
        for uid, (_, shows) in enumerate(votes):
            if shows:
                self.reveal(uid, False)

    @rule(place=places, back=st.integers(0, 4), by=anyone, forged=st.booleans(), keeper=st.booleans())
    def report(self, place: int, back: int, by: Keypair, forged: bool, keeper: bool) -> None:
        header = self.chain.block(max(0, self.chain.head.height - back)).header
        genesis_hash = bytes(32) if forged else self.chain.genesis_hash
        if keeper:
            proof: TwoHeaders | TwoVotes = two_headers(header, KEEPER, genesis_hash)
        else:
            proof = two_votes(header, self._hotkey(place), genesis_hash)
        receipt = self._apply(self._sign(Equivocation(proof=proof), by))
        assert not (forged and receipt == APPLIED)

    @rule(signer=coldkeys, nonce=st.sampled_from((-1, 0, 2, 9)), expired=st.booleans())
    def break_the_envelope(self, signer: Keypair, nonce: int, expired: bool) -> None:
        nonce = max(nonce, -self.state.nonce(signer.public))
        valid_until = self.chain.head.height if expired else 10**6
        call = Transfer(to=HOTKEYS[0].public, amount_rao=1000)
        assert self._apply(self._sign(call, signer, nonce=nonce, valid_until=valid_until)) != APPLIED

    @rule(data=st.data())
    def replay_an_extrinsic(self, data: st.DataObject) -> None:
        if self.sealed:
            extrinsic = decode_extrinsic(data.draw(st.sampled_from(self.sealed)))
            assert self._apply(extrinsic) != APPLIED

    @rule(signer=coldkeys, position=st.integers(0, 200), bit=st.integers(0, 7))
    def forge(self, signer: Keypair, position: int, bit: int) -> None:
        data = bytearray(encode_extrinsic(self._sign(Transfer(to=HOTKEYS[0].public, amount_rao=1), signer)))
        data[position % len(data)] ^= 1 << bit
        try:
            check_signature(decode_extrinsic(bytes(data)), self.chain.genesis_hash)
        except Refusal:
            self.seen["forged: refused"] += 1
        else:
            raise AssertionError("a forged extrinsic verifies")

    @rule()
    def seal(self) -> None:
        """Undo the block in the making, and let the chain execute and commit it whole."""
        self.state.undo()
        block = self.chain.build(self.kind, self.waiting, term=self.chain.term, keypair=KEEPER)
        assert list(block.receipts) == self.receipts
        assert decode_block(encode_block(block)) == block
        pairs = zip(self.waiting, self.receipts, strict=True)
        self.sealed.extend(data for data, receipt in pairs if receipt == APPLIED)
        self.seen[f"{self.kind} block"] += 1
        self.seen["rounds agreed on"] += self._rounds_of(block.header.epoch) if self.kind == "close" else 0
        self._begin()

    @rule()
    def make_final(self) -> None:
        head, chain = self.chain.head, self.chain
        voting = [KEYS[member.hotkey] for member in chain.finality_set(head.height)] if head.height else []
        if voting:
            assert chain.add_votes(head.height, [sign_vote(head, key, chain.genesis_hash) for key in voting])

    @rule(upto=st.integers(0, 1000))
    def replay_a_prefix(self, upto: int) -> None:
        """Every root on the way is compared by the replay itself."""
        blocks = list(self.chain.blocks(0, upto % (self.chain.head.height + 1)))
        again: list[Block] = [decode_block(encode_block(block)) for block in blocks]
        for block, state in replay(GENESIS, iter(again)):
            assert state.root == block.header.state_root
        self.seen["prefix replayed"] += 1

    @rule()
    def reopen(self) -> None:
        """A new process finds the head and its state; the block in the making is forgotten."""
        root, head = self.state.root, self.chain.head_hash
        self.chain.close()
        self.chain = Chain.open(self.folder / "chain.db", write=True)
        assert (self.state.root, self.chain.head_hash) == (root, head)
        self._begin()

    def _go_to(self, kind: str, waits: bool) -> None:
        """Seal blocks until the next is of this kind, or not."""
        while waits and self.kind != kind:
            self.seal()

    def _rounds_of(self, epoch: int) -> int:
        return sum(row.epoch == epoch for row in self.state.cohorts().values())

    def _hotkey(self, place: int) -> Keypair:
        """That of the uid, or beyond the uids some hotkey that may have none."""
        if place < self.state.globals.neuron_count:
            return KEYS[self.state.neuron(place).hotkey]
        return HOTKEYS[place % len(HOTKEYS)]

    @invariant()
    def nothing_is_made_or_lost(self) -> None:
        self.seen["steps"] += 1
        state, scalars = self.state, self.state.globals
        free_rao = sum(row.free_rao for row in state.accounts.entries.values())
        pools_rao = sum(row.total_rao for row in state.pools.entries.values())
        assert free_rao + pools_rao == scalars.issuance_rao
        assert scalars.issuance_rao == scalars.genesis_rao + scalars.minted_rao - scalars.burned_rao
        assert all(row.free_rao >= GENESIS.parameters.existential_rao for row in state.accounts.entries.values())
        owned: Counter[bytes] = Counter()
        for key, row in state.shares.entries.items():
            assert row.shares > 0
            owned[key[:32]] += row.shares
        assert owned == {key: pool.shares for key, pool in state.pools.entries.items()}
        assert all(0 < pool.shares <= pool.total_rao for pool in state.pools.entries.values())

    @invariant()
    def every_uid_has_one_hotkey(self) -> None:
        neurons = self.state.neurons()
        assert {neuron.hotkey: neuron.uid for neuron in neurons} == {
            hotkey: slot.uid for hotkey, slot in self.state.slots.entries.items()
        }
        for neuron in neurons:
            assert self.state.current_hotkey(neuron.hotkey) == neuron.hotkey
            assert not (neuron.permit and self.state.barred_until(neuron.hotkey) > self.state.block_epoch)

    @invariant()
    def cohorts_hold_what_was_contributed(self) -> None:
        state, count = self.state, self.state.globals.neuron_count
        cohorts = state.cohorts()
        assert len(cohorts) <= GENESIS.parameters.max_cohorts
        for row in cohorts.values():
            uids, earning = [each.uid for each in row.accepted], [each.uid for each in row.sums]
            assert uids == sorted(set(uids))
            assert earning == sorted(set(earning))
            assert all(uid < count for uid in (*uids, *earning))
            assert all(each.value > 0 for each in row.sums)
        for uid, update in state.contributions().items():
            assert uid < count
            assert 0 < update.place <= state.globals.contributions
            assert update.epoch in (state.globals.epoch, state.block_epoch)

    def teardown(self) -> None:
        """The whole file, derived again."""
        root = self.chain.head.state_root
        self.chain.close()
        assert verify(self.folder / "chain.db").state_root == root
        shutil.rmtree(self.folder)
