"""A query phase through Ray and the bare loop beside it: the same answers, two lines, and a trace of every process."""

import json
from pathlib import Path

import pytest

from cluster.bench.epoch import measure_epoch
from models.bench.ceilings import Ceilings
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model

CEILINGS = Ceilings(dtype="float32", operations_s=1e12, bytes_s=1e12, matrix=8, copied_bytes=8)


@pytest.mark.cluster
def test_the_phase_is_measured_beside_the_loop_and_traced(tmp_path: Path) -> None:
    save_model(build_model(Architecture("llama", hidden=16, layers=1, heads=2), seed=0), tmp_path / "model")
    told: list[str] = []
    bare, phase = measure_epoch(
        preset=str(tmp_path / "model"),
        peers=2,
        windows=16,
        window_bytes=33,
        panels=("segments",),
        hosts=(1,),
        threads=1,
        repeats=1,
        device="cpu",
        ceilings={"float32": CEILINGS},
        trace=tmp_path / "trace.json",
        tell=told.append,
    )
    assert (bare.setting["work"], phase.setting["work"]) == ("bare loop", "query phase")
    assert bare.units == phase.units == 2 * 2 * 16 * 32
    assert bare.ratio is None
    assert phase.ratio is not None
    assert phase.ratio.median == bare.seconds.median / phase.seconds.median
    assert any("bound by" in sentence for sentence in told), "what bounds it is said first"
    assert any("host-0 computes" in message for message in phase.messages)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    rows = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    seen = {(rows[event["pid"]], event["name"]) for event in events if event["ph"] == "X"}
    assert seen >= {
        *(("driver", name) for name in ("draw", "ask", "read")),
        *(("driver's pool", name) for name in ("send", "wait", "receive")),
        *(("host-0", name) for name in ("check", "score", "sign")),
        *((validator, name) for validator in ("vera", "victor") for name in ("draw", "check")),
    }
