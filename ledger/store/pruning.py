"""Pruning: old bodies are given up for a snapshot of the state; headers, hashes, receipts, votes and proofs stay.

Invariants: nothing is given up that was not derived again first, from the snapshot before; only final blocks are; the
metagraphs of their epochs are kept in the file; snapshot, metagraphs and the removal are one transaction.
"""

import pyarrow as pa
import pyarrow.parquet as pq

from ledger.errors import DamagedLedger
from ledger.store.chain import Chain
from ledger.store.metagraph import build_table, closed_epochs
from ledger.store.replay import replay_stored
from ledger.store.rows import read_pruned_height
from ledger.units import blake2b_256


def prune(chain: Chain, keep_epochs: int) -> int:
    """Keep the bodies of the last `keep_epochs` closed epochs (1 or more) and of what is not final.

    Returns:
        the height up to which bodies are gone; 0 if all are there. The room is used again by what comes.
    """
    if keep_epochs < 1:
        raise ValueError(f"at least one epoch is kept, not {keep_epochs}")
    pruned, target = read_pruned_height(chain.database), _find_target(chain, keep_epochs)
    if target <= pruned:
        return pruned
    metagraphs = []
    for block, state in replay_stored(chain.database, chain.genesis):
        header = block.header
        if header.kind == "close":
            metagraphs.append((header.epoch, *_encode(build_table(state, header))))
        if header.height == target:
            snapshot = list(state.encoded_rows())
            break
    else:
        raise DamagedLedger(target, "the block to prune up to is missing")
    database = chain.database
    with database.transaction():
        database.query("DELETE FROM snapshot")
        database.write_rows("INSERT INTO snapshot VALUES (?, ?)", snapshot)
        database.write_rows("INSERT OR REPLACE INTO metagraphs VALUES (?, ?, ?)", metagraphs)
        database.query("DELETE FROM bodies WHERE height <= ?", (target,))
        database.query("INSERT OR REPLACE INTO meta VALUES (?, ?)", (b"pruned", target))
    return target


def prune_old(chain: Chain, keep_epochs: int) -> int:
    """`prune`, once there are as many old epochs as are kept: each time the whole state is written as the snapshot."""
    pruned = read_pruned_height(chain.database)
    gone = chain.header(pruned).epoch
    return pruned if closed_epochs(chain) - gone < 2 * keep_epochs else prune(chain, keep_epochs)


def _find_target(chain: Chain, keep_epochs: int) -> int:
    """Height of the last final close block of an epoch that isn't kept; 0 if there is none."""
    last_epoch = closed_epochs(chain) - keep_epochs
    for height in range(chain.final_height, 0, -1):
        header = chain.header(height)
        if header.kind == "close" and header.epoch <= last_epoch:
            return height
    return 0


def _encode(table: pa.Table) -> tuple[bytes, bytes]:
    """Hash and bytes of the Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    parquet = sink.getvalue().to_pybytes()
    return blake2b_256(parquet), parquet
