"""Light verification: that the headers are one chain, signed and voted for, without executing anything.

Invariants: a finality set is believed only under the state root of the header that fixed it, the first under the
genesis; a final height is one whose votes were checked. It does not show that the state roots are what the extrinsics
lead to: more than 2/3 of the stake signed that they are, and `verify` shows it.
"""

from pathlib import Path

from msgspec import Struct

from ledger.blocks import NO_SIGNATURE, Header, Kind, verify_header
from ledger.entries import Weighted
from ledger.errors import DamagedLedger, GenesisError, StoreError
from ledger.sealing import seal_genesis
from ledger.store.database import Database
from ledger.store.mark import check_final, check_head, read_mark
from ledger.store.replay import check_finality_set, read_checked_votes, read_heights
from ledger.store.rows import Outline, read_genesis, read_outline
from ledger.trust.finality import is_final

FOLLOWING: dict[Kind, Kind] = {"genesis": "open", "open": "commit", "commit": "close", "close": "open"}


class LightlyVerified(Struct, frozen=True, kw_only=True):
    """A chain of headers with their votes, checked: its head and how far it is final."""

    network: str
    height: int
    epoch: int
    block_hash: bytes
    state_root: bytes
    term: int
    final_height: int
    votes: int


def verify_light(path: str | Path) -> LightlyVerified:
    """Check every header, keeper's signature, finality set and vote in this file; DamagedLedger names the height.

    Works beside a running writer, and on pruned ledgers as on whole ones. StoreError if there is no ledger here.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"{path}: there is no ledger here")
    mark = read_mark(path)
    database = Database(path, write=False)
    try:
        with database.snapshot():
            verified = _verify(database)
            check_head(mark, database, verified.height)
            check_final(mark, database, verified.final_height)
            return verified
    finally:
        database.close()


def _verify(database: Database) -> LightlyVerified:
    if not database.has_schema():
        raise DamagedLedger(0, f"{database.path}: the file holds no ledger")
    genesis = read_genesis(database)
    try:
        state, first, _ = seal_genesis(genesis)
    except GenesisError as error:
        raise DamagedLedger(0, f"the genesis is none: {error}") from None
    sets: dict[int, tuple[Weighted, ...]] = {0: state.finality_set}
    head, final_height, count = first.header, 0, 0
    for height in read_heights(database):
        outline = read_outline(database, height)
        header = outline.header
        if height == 0:
            if header != head or outline.signature != NO_SIGNATURE:
                raise DamagedLedger(0, "block 0 is not the one that the genesis gives")
        else:
            _check_successor(outline, head, genesis.keeper, genesis.hash)
        if header.kind in ("genesis", "close"):
            sets[header.epoch + 1] = check_finality_set(database, header.epoch + 1, header, None)
        votes = read_checked_votes(database, header, sets[header.epoch], genesis.hash)
        count += len(votes)
        if is_final(votes, sets[header.epoch]):
            final_height = height
        head = header
    return LightlyVerified(
        network=genesis.network,
        height=head.height,
        epoch=head.epoch,
        block_hash=head.hash,
        state_root=head.state_root,
        term=head.term,
        final_height=final_height,
        votes=count,
    )


def _check_successor(outline: Outline, before: Header, keeper: bytes, genesis_hash: bytes) -> None:
    header = outline.header
    in_order = (header.kind, header.epoch) == (FOLLOWING[before.kind], before.epoch + (header.kind == "open"))
    if header.parent != before.hash or header.term < before.term or not in_order:
        raise DamagedLedger(header.height, f"the block does not follow block {header.height - 1}")
    if header.keeper != keeper or not verify_header(header, outline.signature, genesis_hash):
        raise DamagedLedger(header.height, "the block is not signed by the keeper that the genesis names")
