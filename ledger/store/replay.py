"""Replay: the whole ledger again from its genesis, in memory, compared with everything that is stored.

Invariants: nothing stored is believed before it has been derived or its signature checked; the first thing that differs
is reported with its height, a state row with the head's.
"""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ledger.blocks import NO_SIGNATURE, Block, Header, compute_hashed_roots, verify_header
from ledger.entries import Weighted
from ledger.errors import DamagedLedger, GenesisError, Refusal, StoreError
from ledger.genesis import Genesis
from ledger.sealing import check_block, seal_genesis
from ledger.state import FINALITY_KEY, State
from ledger.store.database import Database, as_bytes, as_int
from ledger.store.mark import Mark, check_final, check_head, read_mark
from ledger.store.rows import (
    Outline,
    read_block,
    read_finality_set,
    read_genesis,
    read_header,
    read_outline,
    read_pruned_height,
    read_term,
    read_votes,
)
from ledger.trust.finality import Vote, is_final, verify_vote
from ledger.trust.trie import compute_found_root, hash_path
from ledger.units import blake2b_256


class Verified(Struct, frozen=True, kw_only=True):
    """A ledger that was derived again, bit for bit: its head, and the sums over all its blocks."""

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
    replayed_from: int
    """Where executing began: 0, the genesis; else the snapshot at this height, before which bodies were pruned: of
    those blocks the chain, the signatures, the roots of lists, the finality sets and the votes were checked.
    """


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
    yield from _continue(state, first.header, blocks)


def replay_stored(database: Database, genesis: Genesis) -> Iterator[tuple[Block, State]]:
    """As `replay`, of the bodies that are stored: from the genesis or, where bodies were pruned, after the snapshot."""
    pruned, heights = read_pruned_height(database), read_heights(database)
    blocks = (read_block(database, height) for height in heights[pruned + 1 if pruned else 0 :])
    if not pruned:
        return replay(genesis, blocks)
    return _continue(load_snapshot(database, genesis, pruned), read_header(database, pruned), blocks)


def load_snapshot(database: Database, genesis: Genesis, height: int) -> State:
    """The state after the last pruned block; DamagedLedger unless it has the state root of that block's header."""
    return load_state(database, genesis, read_header(database, height), "snapshot")


def load_state(database: Database, genesis: Genesis, header: Header, table: str = "state") -> State:
    """The state in a table of rows; DamagedLedger unless it has the state root of the header."""
    state, height = State(genesis), header.height
    rows = database.query(f"SELECT key, value FROM {table}", height=height)
    try:
        state.load((as_bytes(key, height, "a key"), as_bytes(value, height, "an entry")) for key, value in rows)
    except ValueError as error:
        raise DamagedLedger(height, f"a state row can't be read: {error}") from None
    if state.root != header.state_root:
        raise DamagedLedger(height, f"the rows of the {table} don't have the state root of block {height}")
    return state


def _continue(state: State, head: Header, blocks: Iterator[Block]) -> Iterator[tuple[Block, State]]:
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
    genesis, pruned = read_genesis(database), read_pruned_height(database)
    final_height = vote_count = extrinsic_count = 0
    sets: dict[int, tuple[Weighted, ...]] = {}
    for outline, state in _derive(database, genesis, pruned):
        header = outline.header
        if header.kind in ("genesis", "close"):
            for epoch in (0, 1) if header.height == 0 else (header.epoch + 1,):
                sets[epoch] = check_finality_set(database, epoch, header, state)
        votes = read_checked_votes(database, header, sets[header.epoch], genesis.hash)
        vote_count += len(votes)
        extrinsic_count += len(outline.hashes)
        if is_final(votes, sets[header.epoch]):
            final_height = header.height
    assert state is not None, "the last block is never pruned"
    _check_sets(database, sorted(sets), header.height)
    _check_state(database, state, header.height)
    _check_rest(database, header, vote_count, pruned)
    _check_metagraphs(database)
    check_head(mark, database, header.height)
    check_final(mark, database, final_height)
    supply = state.supply()
    return Verified(
        network=genesis.network,
        height=header.height,
        epoch=header.epoch,
        block_hash=header.hash,
        state_root=state.root,
        issuance_rao=supply.issuance_rao,
        minted_rao=supply.minted_rao,
        burned_rao=supply.burned_rao,
        final_height=final_height,
        extrinsics=extrinsic_count,
        votes=vote_count,
        replayed_from=pruned,
    )


def _derive(database: Database, genesis: Genesis, pruned: int) -> Iterator[tuple[Outline, State | None]]:
    """Every block's outline with the state after it, None where only the outline is left and its own checks apply."""
    if pruned:
        yield from _check_outlines(database, genesis, pruned)
    for block, state in replay_stored(database, genesis):
        yield read_outline(database, block.height), state


def _check_outlines(database: Database, genesis: Genesis, pruned: int) -> Iterator[tuple[Outline, State | None]]:
    """The blocks up to the snapshot: each follows the one before, is signed, and has the roots of its lists."""
    before: Header = seal_genesis(genesis)[1].header
    for height in read_heights(database)[: pruned + 1]:
        outline = read_outline(database, height)
        header = outline.header
        if height == 0 and (header != before or outline.signature != NO_SIGNATURE):
            raise DamagedLedger(0, "block 0 is not the one that the genesis gives")
        if height and (header.parent != before.hash or header.term < before.term):
            raise DamagedLedger(height, f"the block does not follow block {height - 1}")
        signed = header.keeper == genesis.keeper and verify_header(header, outline.signature, genesis.hash)
        if height and not signed:
            raise DamagedLedger(height, "the block is not signed by the keeper that the genesis names")
        if compute_hashed_roots(outline.hashes, outline.receipts) != (header.extrinsics_root, header.receipts_root):
            raise DamagedLedger(height, "the lists of extrinsics and receipts don't have the roots in the header")
        before = header
        yield outline, load_snapshot(database, genesis, pruned) if height == pruned else None


def read_heights(database: Database) -> list[int]:
    """The stored heights, which have to be 0, 1, 2 and so on."""
    rows = database.query("SELECT height FROM blocks ORDER BY height", height=0)
    heights = [as_int(row[0], 0, "a height") for row in rows]
    for expected, height in enumerate(heights):
        if height != expected:
            raise DamagedLedger(expected, f"the block is missing; the next one stored has height {height}")
    if not heights:
        raise DamagedLedger(0, "there are no blocks")
    return heights


def read_checked_votes(
    database: Database, header: Header, voting: tuple[Weighted, ...], genesis_hash: bytes
) -> list[Vote]:
    """The votes stored for a block; DamagedLedger unless each is of one who votes on it, for it, and signed."""
    votes, block_hash = read_votes(database, header.height), header.hash
    hotkeys = {member.hotkey for member in voting}
    for vote in votes:
        same_block = vote.block_hash == block_hash and vote.term >= header.term
        if not same_block or vote.hotkey not in hotkeys or not verify_vote(vote, genesis_hash):
            raise DamagedLedger(header.height, f"the vote of {vote.hotkey.hex()[:16]} does not count for this block")
    return votes


def check_finality_set(database: Database, epoch: int, closing: Header, state: State | None) -> tuple[Weighted, ...]:
    """The stored set of an epoch: proven under the block that fixed it, and the one that was derived, if one was."""
    stored = read_finality_set(database, epoch, closing.height)
    try:
        proven = compute_found_root(FINALITY_KEY, stored.way) == closing.state_root
    except ValueError:
        proven = False
    same = stored.way.path == hash_path(FINALITY_KEY) and stored.way.value_hash == blake2b_256(stored.encoded)
    if not (proven and same) or (state is not None and state.finality_set != stored.members):
        raise DamagedLedger(closing.height, f"the finality set of epoch {epoch} is not the one that its blocks give")
    return stored.members


def _check_sets(database: Database, epochs: list[int], height: int) -> None:
    if [row[0] for row in database.query("SELECT epoch FROM finality ORDER BY epoch", height=height)] != epochs:
        raise DamagedLedger(height, "the finality sets stored are not those of the epochs")


def _check_state(database: Database, state: State, height: int) -> None:
    """Compare the stored rows with the derived ones, key by key."""
    rows = database.query("SELECT key, value FROM state", height=height)
    stored = {as_bytes(key, height, "a key"): value for key, value in rows}
    derived = dict(state.encoded_rows())
    for key in sorted(stored.keys() | derived.keys()):
        if stored.get(key) != derived.get(key):
            raise DamagedLedger(height, f"the state row {key[:1].decode('ascii', 'replace')} {key[1:].hex()} is wrong")


def _check_rest(database: Database, head: Header, vote_count: int, pruned: int) -> None:
    height = head.height
    if database.query("SELECT count(*) FROM votes", height=height)[0][0] != vote_count:
        raise DamagedLedger(height, "there are votes for blocks that don't exist")
    bodies = database.query("SELECT min(height), count(*) FROM bodies", height=height)[0]
    first = pruned + 1 if pruned else 0
    if bodies != (first, height + 1 - first):
        raise DamagedLedger(first, "the bodies stored are not those of the blocks after the snapshot")
    if read_term(database, height) < head.term:
        raise DamagedLedger(height, "the term's row is below the head's term")
    complaint = database.query("PRAGMA integrity_check(1)", height=height)[0][0]
    if complaint != b"ok":
        raise DamagedLedger(height, f"SQLite finds {as_bytes(complaint, height, 'its complaint').decode()}")


def _check_metagraphs(database: Database) -> None:
    """The tables of pruned epochs can't be derived any more; they have to be as they were when they were written."""
    for epoch, digest, parquet in database.query("SELECT epoch, hash, parquet FROM metagraphs", height=0):
        if digest != blake2b_256(as_bytes(parquet, 0, "a metagraph")):
            raise DamagedLedger(0, f"the metagraph kept of epoch {epoch} was changed")
