import json
from pathlib import Path

import msgspec
import pytest
import torch

from models.bench.ceilings import Ceilings
from models.bench.cost import Cost
from models.bench.line import make_line
from models.bench.machine import PACKAGES, describe_machine, energy_meter, peak_memory
from models.bench.report import code_version, make_report, read_report, write_report
from models.bench.samples import sample_works, write_trace
from models.bench.words import bound_sentence, quantity

CPU = torch.device("cpu")
CEILINGS = Ceilings(dtype="float32", operations_s=100e9, bytes_s=10e9, matrix=8, copied_bytes=8)


def test_a_machine_says_what_it_is() -> None:
    machine = describe_machine(CPU)
    assert machine.device == machine.cpu
    assert machine.device
    assert machine.driver == ""
    assert machine.memory_bytes > 1 << 28
    assert machine.cores >= 1
    assert set(machine.versions) <= {"python", *PACKAGES}
    assert machine.versions["torch"] == torch.__version__


def test_memory_that_was_given_back_is_in_the_peak_and_not_in_the_next_one() -> None:
    size = 192 << 20
    with peak_memory(CPU) as before:
        torch.ones(16)
    with peak_memory(CPU) as peak:
        torch.ones(size // 4)
    assert peak.bytes >= before.bytes + size // 2
    with peak_memory(CPU) as after:
        torch.ones(16)
    assert after.bytes <= peak.bytes


def test_a_processor_tells_no_energy() -> None:
    with energy_meter(CPU) as energy:
        torch.ones(16)
    assert energy.joules is None


def test_works_are_sampled_in_turns() -> None:
    calls: list[str] = []
    samples = sample_works([lambda: calls.append("a"), lambda: calls.append("b")], CPU, repeats=3, warm_up=1)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert [len(own.seconds) for own in samples] == [3, 3]
    assert all(own.memory_bytes > 0 and own.energy_j is None for own in samples)


def test_a_trace_holds_what_was_done(tmp_path: Path) -> None:
    write_trace(lambda: torch.ones(64, 64) @ torch.ones(64, 64), CPU, tmp_path / "made" / "trace.json")
    events = json.loads((tmp_path / "made" / "trace.json").read_text())["traceEvents"]
    assert any(event.get("name") == "aten::mm" for event in events)


def test_a_report_is_the_same_again_from_its_file_and_names_no_folder(tmp_path: Path) -> None:
    lines = [make_line({"length": 8, "way": "stacked"}, "tokens", 4, [1.0, 2.0], Cost(3.0, 4.0), CEILINGS)]
    report = make_report("score", "byte-1m", CPU, ceilings=[CEILINGS], configuration={"length": [8]}, lines=lines)
    path = write_report(report, tmp_path / "new" / "bench.json")
    assert read_report(path) == report
    root = str(Path(__file__).parents[3])
    assert root not in path.read_text()
    assert str(Path.home()) + "/" not in path.read_text()
    (tmp_path / "other.json").write_text('{"work": "score"}')
    with pytest.raises(msgspec.ValidationError):
        read_report(tmp_path / "other.json")


def test_the_commit_is_that_of_this_checkout_and_of_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("models.bench.report.ROOT", tmp_path)
    assert code_version() == (None, ())
    inside = Path(__file__).parent
    monkeypatch.setattr("models.bench.report.ROOT", inside)
    assert code_version() == (None, ())


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.0, "s", "0.00 s"),
        (4.6e9, "FLOP", "4.60 GFLOP"),
        (999.6, "B", "1.00 kB"),
        (0.0123, "s", "12.3 ms"),
        (0.9999, "s", "1.00 s"),
        (3.2e-7, "s", "320 ns"),
        (0.5, "B", "0.50 B"),
        (2e30, "B", "2000000000000 EB"),
    ],
)
def test_quantities_have_three_digits(value: float, unit: str, said: str) -> None:
    assert quantity(value, unit) == said


def test_what_bounds_the_work_is_said_with_both_floors() -> None:
    said = bound_sentence({"length": 8}, Cost(1e9, 1e9), CEILINGS)
    assert "length 8: 1.00 GFLOP take 10.0 ms" in said
    assert "1.00 GB take 100 ms" in said
    assert said.endswith("bound by bytes")
