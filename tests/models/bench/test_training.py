"""Lines of training and of compression: real work, small; what is counted, not what the clock says."""

import json
from pathlib import Path

import pytest
import torch

from models.bench.ceilings import Ceilings
from models.bench.compress import ENCODED, SENT, measure_compress
from models.bench.cost import size_of, training_cost
from models.bench.presets import build_preset
from models.bench.train import measure_train
from models.errors import FieldError
from models.host.folders import save_model

CPU = torch.device("cpu")
CEILINGS = {
    name: Ceilings(dtype=name, operations_s=1e12, bytes_s=1e10, matrix=8, copied_bytes=8)
    for name in ("float32", "bfloat16")
}


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """As the name says."""


def test_a_line_for_each_setting_of_a_step_that_says_first_what_bounds_it(tmp_path: Path) -> None:
    save_model(build_preset("byte-1m", CPU, torch.float32), tmp_path / "model")
    heard: list[str] = []
    lines = measure_train(
        str(tmp_path / "model"),
        device=CPU,
        dtypes=[torch.float32, torch.bfloat16],
        batches=[2],
        lengths=[8],
        checkpointing=[False, True],
        repeats=2,
        ceilings=CEILINGS,
        tell=heard.append,
        trace=tmp_path / "trace.json",
    )
    assert len(lines) == len(heard) == 4
    assert heard[0].startswith("dtype float32, batch 2, length 8")
    assert "bound by" in heard[0]
    size = size_of(build_preset("byte-1m", torch.device("meta"), torch.float32))
    for line in lines:
        assert line.units == 2 * line.setting["length"]
        assert line.seconds.samples == 2
        cost = training_cost(size, 2, int(line.setting["length"]))
        assert line.operations_s == pytest.approx(cost.operations / line.seconds.median)
        assert line.floor_s == pytest.approx(max(cost.operations / 1e12, cost.bytes / 1e10))
        assert line.memory_bytes
    assert any(
        "backward" in event.get("name", "")
        for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    )


def test_rows_that_are_longer_than_the_model_reads_are_the_fields_fault() -> None:
    with pytest.raises(FieldError, match="length: is 2000, and this model reads 1024"):
        measure_train(
            "byte-1m", device=CPU, dtypes=[torch.float32], batches=[1], lengths=[8, 2000], checkpointing=[False],
            repeats=1, ceilings=CEILINGS, tell=lambda _: None,
        )  # fmt: skip


def test_compression_counts_each_number_once_and_what_is_sent() -> None:
    lines = measure_compress(parameters=[50_000], device=CPU, repeats=2, ceilings=CEILINGS, tell=lambda _: None)
    assert [line.setting["way"] for line in lines] == [ENCODED, SENT]
    for line in lines:
        assert line.bound == "bytes"
        assert 200_000 < line.floor_s * 1e10 < 200_000 + 50_000 // 32
        assert line.floor_s == lines[0].floor_s
