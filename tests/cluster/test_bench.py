"""`taoray bench` in this process on tiny settings: works, sweeps, records, figures, and what is wrong usage."""

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
import torch
from typer.testing import CliRunner

import taoray
from cluster.bench.plot import curves_of, draw_report, swept_setting
from cluster.bench.settings import WORKS, LedgerBench, ScoreBench, read_bench
from cluster.bench.table import columns_of, common_setting, file_name, parts_of, remarks_of, share, title_of
from cluster.cli.main import app
from cluster.errors import ConfigurationError
from cluster.show import Quiet
from models.bench.ceilings import Ceilings
from models.bench.cost import Cost
from models.bench.line import Line, make_line
from models.bench.report import Report, make_report, read_report

CPU = torch.device("cpu")
CEILINGS = Ceilings(dtype="float32", operations_s=1e11, bytes_s=1e10, matrix=8, copied_bytes=8)
SCORE = ["device=cpu", "length=[8,16]", "batch=2", "tokens=32", "repeats=2", "threads=1"]


class Listens(Quiet):
    """Keeps notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        """Kept."""
        self.notes.append(sentence)


@pytest.fixture(autouse=True)
def _small_ceilings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of small matrices, with as many threads as before afterwards."""
    monkeypatch.setattr("models.bench.ceilings.MATRIX", {"cpu": 64})
    monkeypatch.setattr("models.bench.ceilings.COPY_BYTES", {"cpu": 1 << 20})
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


def line(way: str, length: int, seconds: float, unit: str = "tokens") -> Line:
    setting = {"length": length, "way": way, "dtype": "float32"}
    messages = ("short",) if length == 8 else ()
    return make_line(setting, unit, 100, [seconds, 2 * seconds], Cost(1e9, 1e6), CEILINGS, messages=messages)


@pytest.fixture
def report() -> Report:
    lines = [line(way, length, 0.1) for way in ("alone", "stacked") for length in (8, 16)]
    return make_report("score", "byte-1m", CPU, ceilings=[CEILINGS], configuration={}, lines=lines)


def test_scoring_says_first_what_bounds_it_and_the_record_has_every_setting() -> None:
    show = Listens()
    report = taoray.bench("score", overrides=SCORE, show=show)
    assert "the device does at most" in show.notes[0]
    assert [line.setting["length"] for line in report.lines] == [8, 16]
    assert (report.work, report.model) == ("score", "byte-1m")
    assert [one.dtype for one in report.ceilings] == ["float32"]
    assert set(report.configuration) == set(ScoreBench.__struct_fields__)
    assert report.configuration["device"] == "cpu"
    assert report.configuration["dtype"] == ("float32",)
    assert report.configuration["threads"] == 1


def test_training_has_lines_of_steps_and_of_compression() -> None:
    told = ["device=cpu", "length=8", "batch=1", "repeats=1", "threads=1", "update_parameters=[4096]"]
    report = taoray.bench("train", overrides=told)
    assert [line.unit for line in parts_of(report.lines)[0]] == ["tokens"]
    assert {line.unit for line in report.lines} == {"tokens", "parameters"}


def test_value_and_the_ledger_have_no_model() -> None:
    value = taoray.bench("value", overrides=["device=cpu", "models=4", "events=256", "repeats=1", "threads=1"])
    assert (value.model, value.lines[0].setting["models"], value.ceilings[0].dtype) == ("", 4, "float64")
    ledger = taoray.bench("ledger", overrides=["transfers=8", "repeats=1"])
    assert (ledger.model, ledger.ceilings) == ("", ())
    assert {line.unit for line in ledger.lines} == {"extrinsics"}


def test_the_command_writes_record_figure_and_trace_and_ends_with_one_document(tmp_path: Path) -> None:
    flags = [part for override in SCORE for part in ("--set", override)]
    told = ["bench", "score", *flags, "--out", str(tmp_path / "new"), "--trace", str(tmp_path / "trace.json"), "--json"]
    result = CliRunner().invoke(app, told)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout.splitlines()[-1])
    record, *figures = (Path(path) for path in document["files"])
    assert record.name == "bench_score_cpu.json"
    written = json.loads(record.read_text())
    assert written == {name: value for name, value in document.items() if name not in ("files", "trace")}
    assert read_report(record).work == "score"
    assert [figure.suffix for figure in figures] == [".png", ".svg"]
    assert all(figure.stat().st_size for figure in figures)
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_the_command_prints_a_table_of_whole_figures() -> None:
    flags = [part for override in (*SCORE, "peers=[1,2]") for part in ("--set", override)]
    result = CliRunner().invoke(app, ["bench", "score", *flags])
    assert result.exit_code == 0, result.output
    assert "tokens/s" in result.stdout
    assert "MFU" in result.stdout
    assert "…" not in result.stdout


@pytest.mark.parametrize(
    ("work", "override", "field", "expected"),
    [
        ("scor", "", "work", "score, train, value, epoch, ledger"),
        ("score", "lenth=3", "lenth", "length"),
        ("score", "length=[8,1]", "length", ">= 2"),
        ("score", "dtype=int8", "dtype", "float32, bfloat16, float16"),
        ("train", "checkpointing=often", "checkpointing", "`bool`"),
        ("value", "models=[1]", "models", ">= 2"),
        ("epoch", "panel=all", "panel", "segments, next_byte"),
        ("ledger", "repeats=0", "repeats", ">= 1"),
        ("ledger", "nothing", "--set nothing", "expected"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(work: str, override: str, field: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_bench(work, [override] if override else [])
    assert caught.value.field == field
    assert expected in caught.value.sentence


@pytest.mark.parametrize(
    ("work", "model", "override", "field"),
    [
        ("score", "llama-9b", "threads=1", "model"),
        ("score", "byte-1m", "length=1025", "length"),
        ("value", "byte-1m", "threads=1", "model"),
        ("epoch", "/", "threads=1", "model"),
    ],
)
def test_what_does_not_fit_the_work_or_the_model_is_wrong_usage(
    work: str, model: str, override: str, field: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        taoray.bench(work, model=model, overrides=["device=cpu", override])
    assert caught.value.field == field


def test_a_trace_of_the_ledger_is_refused_before_it_is_measured() -> None:
    with pytest.raises(ConfigurationError, match="--trace"):
        taoray.bench("ledger", trace="trace.json")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigurationError, match="no GPU"):
        taoray.bench("score", overrides=["device=cuda"])


def test_one_value_is_a_sweep_of_one() -> None:
    assert read_bench("score", ["length=8"]) == read_bench("score", ["length=[8]"])
    assert read_bench("ledger") == LedgerBench()
    assert all(isinstance(read_bench(work), kind) for work, kind in WORKS.items())


def test_a_table_has_columns_for_what_varies_and_for_what_was_measured(report: Report) -> None:
    columns = columns_of(report.lines)
    assert columns["length"] == ["8", "16", "8", "16"]
    assert columns["way"] == ["alone", "alone", "stacked", "stacked"]
    assert columns["tokens/s"] == ["667"] * 4
    assert columns["MFU"] == ["6.67%"] * 4
    assert not {"dtype", "ratio", "energy", "memory"} & set(columns)
    assert common_setting(report.lines) == {"dtype": "float32"}
    assert title_of(report, report.lines).endswith(": dtype float32")
    assert remarks_of(report.lines) == ["length 8, way alone; length 8, way stacked: short"]
    assert file_name(report) == "bench_score_cpu"
    assert (share(None), share(0.5), share(0.0123)) == ("—", "50.0%", "1.23%")


def test_a_figure_has_a_curve_for_each_way_and_none_is_drawn_where_nothing_was_swept(
    report: Report, tmp_path: Path
) -> None:
    png, svg = draw_report(report, tmp_path / "bench_score_cpu")
    assert png.read_bytes()[:4] == b"\x89PNG"
    text = "".join(ElementTree.parse(svg).getroot().itertext())
    for word in ("way alone", "way stacked", "tokens a second", "length"):
        assert word in text
    assert swept_setting([line("alone", 8, 1.0)]) is None
    alone = msgspec.structs.replace(report, lines=report.lines[:1])
    assert draw_report(alone, tmp_path / "none") == ()


def test_a_figure_joins_what_differs_in_the_swept_setting_and_what_follows_from_it() -> None:
    lines = [
        make_line({"dtype": dtype, "length": length, "batch": 2048 // length}, "tokens", 1, [1.0], Cost(1, 1), CEILINGS)
        for dtype in ("float32", "bfloat16")
        for length in (128, 512)
    ]
    assert {label: len(own) for label, own in curves_of(lines, "length").items()} == {
        "dtype float32": 2,
        "dtype bfloat16": 2,
    }
