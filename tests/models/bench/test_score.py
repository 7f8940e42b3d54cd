from pathlib import Path

import numpy as np
import pytest
import torch

from models.bench.ceilings import Ceilings
from models.bench.cost import forward_cost, size_of
from models.bench.score import ALONE, STACKED, Axes, load_to_measure, measure_score, read_standard_library
from models.errors import FieldError, ModelsError
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model

CPU = torch.device("cpu")
CEILINGS = {"float32": Ceilings(dtype="float32", operations_s=1e11, bytes_s=1e10, matrix=8, copied_bytes=8)}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A small model over bytes."""
    save_model(build_model(Architecture("llama", 16, 1, 2, context=64), 7), tmp_path / "model")
    return str(tmp_path / "model")


def axes(**changed: object) -> Axes:
    told = {"dtypes": [torch.float32], "batches": [2], "lengths": [16], "peers": [1], "tokens": 64, "repeats": 2}
    return Axes(**told | changed)  # type: ignore[arg-type]


def test_each_setting_has_a_line_of_what_it_costs_and_is_told_before() -> None:
    told: list[str] = []
    lines = measure_score(
        "byte-1m", device=CPU, axes=axes(batches=[1, 2], lengths=[8, 16]), ceilings=CEILINGS, tell=told.append
    )
    settings = [(line.setting["length"], line.setting["batch"]) for line in lines]
    assert settings == [(8, 1), (8, 2), (16, 1), (16, 2)]
    assert [sentence.rpartition(" ")[2] for sentence in told] == ["bytes", "bytes", "bytes", "operations"]
    size = size_of(load_to_measure("byte-1m", CPU, torch.float32).model)
    last = lines[-1]
    assert (last.units, last.seconds.samples) == (64, 2)
    expected = forward_cost(size, 4, 16, 4).operations / last.seconds.median
    assert last.operations_s == pytest.approx(expected)
    assert last.bytes_s == pytest.approx(2 * forward_cost(size, 2, 16, 4).bytes / last.seconds.median)


def test_models_are_measured_one_after_another_and_stacked_and_compared() -> None:
    alone, stacked = measure_score("byte-1m", device=CPU, axes=axes(peers=[3]), ceilings=CEILINGS, tell=str)
    assert (alone.setting["way"], stacked.setting["way"]) == (ALONE, STACKED)
    assert alone.units == stacked.units == 3 * 64
    assert alone.ratio is None
    assert stacked.ratio is not None
    assert stacked.ratio.samples == 2


def test_a_folder_reads_text_and_says_what_tokenization_takes(folder: str, tmp_path: Path) -> None:
    (line,) = measure_score(
        folder, device=CPU, axes=axes(batches=[0]), ceilings=CEILINGS, tell=str, trace=tmp_path / "trace.json"
    )
    assert line.units == 4 * 15
    assert any("tokenization" in message and "bytes a token" in message for message in line.messages)
    assert any("caches" in message for message in line.messages)
    assert (tmp_path / "trace.json").stat().st_size > 0


def test_text_is_the_standard_librarys_and_as_long_as_asked_for(folder: str) -> None:
    hosted = load_to_measure(folder, CPU, torch.float32)
    texts = read_standard_library(hosted, 3, 40)
    assert [len(text) for text in texts] == [40] * 3
    assert b"".join(texts).decode().isprintable() or b"\n" in b"".join(texts)


def test_rows_longer_than_the_context_are_the_fields_fault(folder: str) -> None:
    with pytest.raises(FieldError, match="64 tokens at most") as caught:
        measure_score(folder, device=CPU, axes=axes(lengths=[16, 65]), ceilings=CEILINGS, tell=str)
    assert caught.value.field == "length"


def test_what_memory_does_not_hold_is_told_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.bench import score

    def full(name: str, device: torch.device, dtype: torch.dtype, seed: int = 0) -> object:
        if seed:
            # More than a process can address, so that every machine refuses it.
            np.zeros(1 << 44).fill(1.0)
        return load_to_measure(name, device, dtype, seed)

    monkeypatch.setattr(score, "load_to_measure", full)
    told: list[str] = []
    lines = measure_score("byte-1m", device=CPU, axes=axes(peers=[2, 1]), ceilings=CEILINGS, tell=told.append)
    assert [line.setting["peers"] for line in lines] == [1]
    assert "2 × byte-1m in float32" in told[0]
    with pytest.raises(ModelsError, match="take fewer peers"):
        measure_score("byte-1m", device=CPU, axes=axes(peers=[2]), ceilings=CEILINGS, tell=str)
