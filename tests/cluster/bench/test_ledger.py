"""The ledger's throughput: real blocks on a disk, the bare work beside them, and a chain that is whole afterwards."""

from pathlib import Path

import pytest

from cluster.bench.ledger import TransferChain, measure_ledger, sample_throughput
from ledger import sealing
from ledger.store.replay import verify


def test_lines_name_the_work_its_floor_and_its_share_of_bare_verification() -> None:
    threads = sealing.VERIFYING_THREADS
    told: list[str] = []
    lines = measure_ledger(transfers=(3,), repeats=2, tell=told.append)
    works = [line.setting["work"] for line in lines]
    assert works == ["signatures alone", *["block to disk"] * len({1, threads}), "replay"]
    assert all(line.bound == "signatures" and line.mfu is None and line.units_s > 0 for line in lines)
    assert all((line.ratio is not None) == (line.setting["work"] == "block to disk") for line in lines)
    assert lines[0].units == 3
    assert lines[-1].units == 3 * (1 + 2 * len({1, threads})), "the block that warms up is replayed too"
    assert threads == sealing.VERIFYING_THREADS, "measuring changes nothing for the process"
    assert len(told) == 1


def test_what_was_measured_is_a_chain_that_replays(tmp_path: Path) -> None:
    taken = sample_throughput(tmp_path, 2, pairs=1, threads=(1,))
    assert (len(taken.bare), len(taken.built[1]), taken.replayed) == (1, 1, 4)
    assert verify(tmp_path / "chain.db").height == 2


def test_a_refused_transfer_ends_the_measurement(tmp_path: Path) -> None:
    world = TransferChain(tmp_path, 4, 2)
    extrinsics = world.transfers(2)
    world.build(extrinsics)
    with pytest.raises(RuntimeError, match="refused"):
        world.build(extrinsics)
    world.chain.close()
