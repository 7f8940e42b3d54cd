"""Replay: the whole ledger again from its genesis, in memory, compared with everything that is stored.

Invariants: nothing stored is believed before it has been derived or its signature checked; the first thing that differs
is reported with its height, a state row with the head's.
"""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ledger.blocks import Block
from ledger.entries import Weighted
from ledger.errors import DamagedLedger, GenesisError, Refusal, StoreError
from ledger.genesis import Genesis
from ledger.sealing import check_block, seal_genesis
from ledger.state import State
from ledger.store.database import Database, as_bytes, as_int
from ledger.store.mark import Mark, check_final, check_head, read_mark
from ledger.store.rows import read_block, read_finality_set, read_genesis, read_term, read_votes
from ledger.trust.finality import Vote, is_final, verify_vote


class Verified(Struct, frozen=True, kw_only=True):
    """A ledger that was derived again from its genesis, bit for bit: its head, and the sums over all its blocks."""

    network: str
    height: int
    epoch: int
    block_hash: bytes
    state_root: bytes
    issuance_rao: int
    minted_rao: int
    burned_rao: int
    final_height: int
    extrinsics: int
    votes: int


def replay(genesis: Genesis, blocks: Iterator[Block]) -> Iterator[tuple[Block, State]]:
    """Each block with the state after it, block 0 included; DamagedLedger at the first that does not follow.

    It is one state, which the next step moves on.
    """
    try:
        state, first, sealed = seal_genesis(genesis)
    except GenesisError as error:
        raise DamagedLedger(0, f"the genesis is none: {error}") from None
    state.accept(sealed)
    if next(blocks, None) != first:
        raise DamagedLedger(0, "block 0 is not the one that the genesis gives")
    yield first, state
    head = first.header
    for block in blocks:
        try:
            sealed = check_block(state, head, block)
        except Refusal as refusal:
            raise DamagedLedger(head.height + 1, refusal.sentence) from None
        state.accept(sealed)
        head = block.header
        yield block, state


def verify(path: str | Path) -> Verified:
    """Derive the ledger in this file again and compare it with every stored row; DamagedLedger names the height that is
    wrong.

    Works beside a running writer (it reads one moment of the file) and writes nothing. StoreError if there is no ledger
    here.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"{path}: there is no ledger here")
    mark = read_mark(path)
    database = Database(path, write=False)
    try:
        with database.snapshot():
            return _verify(database, mark)
    finally:
        database.close()


def _verify(database: Database, mark: Mark | None) -> Verified:
    if not database.has_schema():
        raise DamagedLedger(0, f"{database.path}: the file holds no ledger")
    genesis = read_genesis(database)
    blocks = (read_block(database, height) for height in _read_heights(database))
    final_height = vote_count = extrinsic_count = 0
    sets: dict[int, tuple[Weighted, ...]] = {}
    for block, state in replay(genesis, blocks):
        header = block.header
        if header.kind == "genesis":
            sets[0] = state.finality_set
        if header.kind in ("genesis", "close"):
            sets[header.epoch + 1] = state.finality_set
        votes = _read_checked_votes(database, block, sets[header.epoch], genesis.hash)
        vote_count += len(votes)
        extrinsic_count += len(block.extrinsics)
        if is_final(votes, sets[header.epoch]):
            final_height = header.height
    _check_finality_sets(database, sets, block.height)
    _check_state(database, state, block.height)
    _check_rest(database, block, vote_count)
    check_head(mark, database, block.height)
    check_final(mark, database, final_height)
    supply = state.supply()
    return Verified(
        network=genesis.network,
        height=block.height,
        epoch=block.header.epoch,
        block_hash=block.hash,
        state_root=state.root,
        issuance_rao=supply.issuance_rao,
        minted_rao=supply.minted_rao,
        burned_rao=supply.burned_rao,
        final_height=final_height,
        extrinsics=extrinsic_count,
        votes=vote_count,
    )


def _read_heights(database: Database) -> list[int]:
    """The stored heights, which have to be 0, 1, 2 and so on."""
    rows = database.query("SELECT height FROM blocks ORDER BY height", height=0)
    heights = [as_int(row[0], 0, "a height") for row in rows]
    for expected, height in enumerate(heights):
        if height != expected:
            raise DamagedLedger(expected, f"the block is missing; the next one stored has height {height}")
    if not heights:
        raise DamagedLedger(0, "there are no blocks")
    return heights


def _read_checked_votes(
    database: Database, block: Block, voting: tuple[Weighted, ...], genesis_hash: bytes
) -> list[Vote]:
    votes = read_votes(database, block.height)
    hotkeys = {member.hotkey for member in voting}
    for vote in votes:
        same_block = vote.block_hash == block.hash and vote.term >= block.header.term
        if not same_block or vote.hotkey not in hotkeys or not verify_vote(vote, genesis_hash):
            raise DamagedLedger(block.height, f"the vote of {vote.hotkey.hex()[:16]} does not count for this block")
    return votes


def _check_finality_sets(database: Database, sets: dict[int, tuple[Weighted, ...]], height: int) -> None:
    stored = [row[0] for row in database.query("SELECT epoch FROM finality ORDER BY epoch", height=height)]
    if stored != sorted(sets):
        raise DamagedLedger(height, "the finality sets stored are not those of the epochs")
    for epoch, members in sets.items():
        if read_finality_set(database, epoch, height) != members:
            raise DamagedLedger(height, f"the finality set of epoch {epoch} is not the one that its blocks give")


def _check_state(database: Database, state: State, height: int) -> None:
    """Compare the stored rows with the derived ones, key by key."""
    rows = database.query("SELECT key, value FROM state", height=height)
    stored = {as_bytes(key, height, "a key"): value for key, value in rows}
    derived = dict(state.encoded_rows())
    for key in sorted(stored.keys() | derived.keys()):
        if stored.get(key) != derived.get(key):
            raise DamagedLedger(height, f"the state row {key[:1].decode('ascii', 'replace')} {key[1:].hex()} is wrong")


def _check_rest(database: Database, head: Block, vote_count: int) -> None:
    height = head.height
    if database.query("SELECT count(*) FROM votes", height=height)[0][0] != vote_count:
        raise DamagedLedger(height, "there are votes for blocks that don't exist")
    if read_term(database, height) < head.header.term:
        raise DamagedLedger(height, "the term's row is below the head's term")
    complaint = database.query("PRAGMA integrity_check(1)", height=height)[0][0]
    if complaint != b"ok":
        raise DamagedLedger(height, f"SQLite finds {as_bytes(complaint, height, 'its complaint').decode()}")
