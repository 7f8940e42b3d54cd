"""The metagraph of each closed epoch as an Arrow table, kept as Parquet beside the chain so that pandas, Polars and
DuckDB read the history as it is.

Invariants: derived, never read back by the ledger; a file that is missing is written again, with the same content, from
the blocks or from what was kept when they were pruned.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ledger.blocks import Header
from ledger.epoch.fixed import ONE_Q31
from ledger.errors import DamagedLedger, StoreError
from ledger.keys import encode_address
from ledger.state import State
from ledger.store.chain import Chain
from ledger.store.database import as_bytes
from ledger.store.replay import replay_stored
from ledger.units import blake2b_256

SCHEMA = pa.schema(
    [
        ("epoch", pa.int64()),
        ("height", pa.int64()),
        ("uid", pa.int32()),
        ("name", pa.string()),
        ("hotkey", pa.string()),
        ("coldkey", pa.string()),
        ("stake_rao", pa.int64()),
        ("permit", pa.bool_()),
        ("active", pa.bool_()),
        ("rank_q31", pa.int64()),
        ("incentive_q31", pa.int64()),
        ("dividends_q31", pa.int64()),
        ("consensus_q31", pa.int64()),
        ("validator_trust_q31", pa.int64()),
        ("incentive_rao", pa.int64()),
        ("dividends_rao", pa.int64()),
        ("emission_rao", pa.int64()),
        ("registered_at", pa.int64()),
        ("last_update", pa.int64()),
        ("versions", pa.int64()),
        ("published_epoch", pa.int64()),
        ("manifest", pa.string()),
        ("evidence", pa.string()),
        ("endpoint", pa.string()),
        ("take_q31", pa.int64()),
        ("missed_reveals", pa.int64()),
        ("barred_until", pa.int64()),
        ("checkpoint", pa.string()),
        ("checkpoint_manifest", pa.string()),
        ("identity", pa.string()),
        ("cohort", pa.string()),
        ("update_accepted", pa.bool_()),
        ("update_sum_nano", pa.int64()),
    ]
)
_SAME_NAME = (
    "uid",
    "name",
    "permit",
    "active",
    "rank_q31",
    "incentive_q31",
    "dividends_q31",
    "consensus_q31",
    "validator_trust_q31",
    "incentive_rao",
    "dividends_rao",
    "emission_rao",
    "registered_at",
    "last_update",
    "versions",
    "published_epoch",
    "endpoint",
    "missed_reveals",
)


def build_table(state: State, header: Header) -> pa.Table:
    """All neurons, one row each by uid, as the state at this header has them.

    A *_q31 column divided by 2^31 is the share. `cohort` is the one that the neuron contributed to in the last open
    block; `update_sum_nano` the decaying sum of what its updates were worth, 10^-9 bits per byte.
    """
    rows, earned, contributions = [], _update_sums(state), state.contributions()
    accepted = {(name, each.payload) for name, row in state.cohorts().items() for each in row.accepted}
    for neuron in state.neurons():
        row = {field: getattr(neuron, field) for field in _SAME_NAME}
        (part, whole), trained = state.take(neuron.hotkey), neuron.checkpoint
        identity, update = state.identities.get(state.origin(neuron.hotkey)), contributions.get(neuron.uid)
        row |= {
            "epoch": header.epoch,
            "height": header.height,
            "hotkey": encode_address(neuron.hotkey),
            "coldkey": encode_address(neuron.coldkey),
            "stake_rao": state.stake(neuron.hotkey),
            "manifest": neuron.manifest.hex() if neuron.manifest else None,
            "evidence": neuron.evidence.hex() if neuron.evidence else None,
            "take_q31": part * ONE_Q31 // whole,
            "barred_until": state.barred_until(neuron.hotkey),
            "checkpoint": trained.parameters.hex() if trained else None,
            "checkpoint_manifest": trained.manifest.hex() if trained else None,
            "identity": identity.name if identity else None,
            "cohort": update.cohort.hex() if update else None,
            "update_accepted": update is not None and (update.cohort, update.payload) in accepted,
            "update_sum_nano": earned.get(neuron.uid, 0),
        }
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _update_sums(state: State) -> dict[int, int]:
    """By uid, over all cohorts."""
    sums: dict[int, int] = {}
    for row in state.cohorts().values():
        for each in row.sums:
            sums[each.uid] = sums.get(each.uid, 0) + each.value
    return sums


def metagraph_table(chain: Chain, epoch: int | None = None) -> pa.Table:
    """The metagraph at the head, or that of a closed epoch; StoreError if that epoch isn't closed."""
    if epoch is None:
        return build_table(chain.state, chain.head)
    if not 1 <= epoch <= closed_epochs(chain):
        raise StoreError(f"epoch {epoch} is not among the {closed_epochs(chain)} closed epochs of this chain")
    path = metagraph_path(chain.path, epoch)
    if path.is_file():
        return pq.read_table(path, schema=SCHEMA, partitioning=None)
    return next(_closed_tables(chain, {epoch}))[1]


def write_metagraphs(chain: Chain) -> list[Path]:
    """Write the files of closed epochs that are missing; one for the epoch just closed costs no replay."""
    missing = {epoch for epoch in range(1, closed_epochs(chain) + 1) if not metagraph_path(chain.path, epoch).is_file()}
    written = []
    for epoch, table in _closed_tables(chain, missing):
        path = metagraph_path(chain.path, epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        pq.write_table(table, partial)
        partial.replace(path)
        written.append(path)
    return written


def metagraph_path(chain_path: Path, epoch: int) -> Path:
    """Where an epoch's file is."""
    return chain_path.parent / "metagraph" / f"epoch={epoch:06d}.parquet"


def closed_epochs(chain: Chain) -> int:
    """How many epochs have been closed."""
    return chain.head.epoch if chain.state.globals.phase == "closed" else chain.head.epoch - 1


def _closed_tables(chain: Chain, epochs: set[int]) -> Iterator[tuple[int, pa.Table]]:
    if not epochs:
        return
    if chain.head.kind == "close" and epochs == {chain.head.epoch}:
        yield chain.head.epoch, build_table(chain.state, chain.head)
        return
    kept = sorted(epochs.intersection(row[0] for row in chain.database.query("SELECT epoch FROM metagraphs")))
    for epoch in kept:
        yield epoch, _read_kept(chain, epoch)
    if epochs == set(kept):
        return
    for block, state in replay_stored(chain.database, chain.genesis):
        if block.header.kind == "close" and block.header.epoch in epochs:
            yield block.header.epoch, build_table(state, block.header)


def _read_kept(chain: Chain, epoch: int) -> pa.Table:
    """The table of an epoch whose blocks were pruned."""
    digest, parquet = chain.database.query("SELECT hash, parquet FROM metagraphs WHERE epoch = ?", (epoch,))[0]
    if digest != blake2b_256(as_bytes(parquet, None, "a metagraph")):
        raise DamagedLedger(None, f"the metagraph kept of epoch {epoch} was changed")
    return pq.read_table(pa.BufferReader(parquet), schema=SCHEMA)
