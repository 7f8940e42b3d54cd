"""The scripts for a GPU on a CPU, in tiny shapes: every one measures, and writes a record that can be read."""

import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(tmp_path: Path):
    from benchmarks.gpu.run import Run

    return Run("gpu_test", torch.device("cpu"), True, tmp_path, time.monotonic() + 60)


def byte_model(preset: str = "byte-1m"):
    from models.bench.score import load_to_measure

    return load_to_measure(preset, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    "script", ["ceilings", "score", "train", "value", "stacked", "compress", "against_lm_eval", "memory"]
)
def test_a_script_measures_in_tiny_shapes(script: str, run) -> None:
    from models.bench.report import read_report

    import_module(f"benchmarks.gpu.{script}").measure(run)
    report = read_report(run.path)
    assert report.lines
    assert list(report.lines) == run.lines
    assert list(report.messages) == run.messages
    # What fails of a script is a message that begins with the name of an error.
    assert not [message for message in run.messages if "Error" in message]


def test_one_command_knows_every_script_and_what_has_no_time_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.gpu.all import SCRIPTS, main

    others = {"__init__", "all", "forward", "kernels", "lm_eval_backend", "norms", "other_steps", "run", "texts"}
    assert set(SCRIPTS) == {path.stem for path in (ROOT / "benchmarks/gpu").glob("*.py")} - others
    monkeypatch.setattr(sys, "argv", ["all", "--out", str(tmp_path), "--minutes", "0"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().out.startswith("not finished: " + ", ".join(SCRIPTS))


def test_what_fails_is_a_message_and_the_next_is_measured(run) -> None:
    from models.bench.cost import Cost
    from models.bench.report import read_report

    with run.part("first"):
        raise RuntimeError("no kernel\nof this kind")
    with run.part("second"):
        run.need(1e9)
        pytest.fail("there is no time for it")
    with run.part("third"):
        run.timed({"read": "sum"}, "bytes", 4, lambda: torch.ones(1).sum(), Cost(0.0, 4.0), torch.float32, repeats=2)
    report = read_report(run.path)
    assert report.messages[0] == "first: RuntimeError: no kernel"
    assert report.messages[1].startswith("second: TimeoutError: not measured")
    assert len(report.lines) == 1


def test_packed_windows_say_what_padded_ones_say() -> None:
    from benchmarks.gpu.forward import Packs, packs_of
    from benchmarks.gpu.texts import byte_windows
    from models.host.score import score_spans

    hosted = byte_model("moe-byte-2m")
    token_C, spans = byte_windows([1, 30, 7, 64, 2, 19])
    assert [len(pack) for pack in packs_of(spans, 64)] == [3, 1, 2]
    apart = Packs(hosted).score(token_C, spans, 64) - score_spans(hosted, token_C, spans)[0]
    assert abs(apart).max() < 1e-4
    assert hosted.model.config._attn_implementation == "sdpa"


def test_without_a_mask_a_model_says_the_same() -> None:
    from benchmarks.gpu.forward import maskless

    hosted = byte_model()
    token_BT = torch.randint(256, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = hosted.head.hidden(token_BT)
        assert torch.equal(maskless(hosted).head.hidden(token_BT), expected)
    assert hosted.model.config._attn_implementation == "sdpa"


def test_halves_of_a_head_are_changed_one_by_one() -> None:
    from benchmarks.gpu.forward import maskless, other

    hosted, constant = byte_model(), torch.full((1, 40), -1.0)
    changed = maskless(other(hosted, log_probability_by=lambda hidden, target: constant))
    token_BT = torch.randint(256, (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        hidden = changed.head.hidden(token_BT)
        assert torch.equal(hidden, hosted.head.hidden(token_BT))
        assert changed.head.log_probability(hidden, token_BT[0]) is constant


def test_other_ways_to_a_step_have_its_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu import other_steps
    from models.train.passes import learning
    from models.train.settings import TrainSettings

    # Several chunks, of which the last is shorter.
    monkeypatch.setattr(other_steps, "CHUNK_LOGITS", 256 * 7)
    model = byte_model().model
    text_BT = torch.randint(256, (3, 12), generator=torch.Generator().manual_seed(0))

    def told(way) -> tuple[float, list[torch.Tensor]]:
        model.zero_grad(set_to_none=True)
        loss = float(way.gradients(text_BT, None))
        return loss, [parameter.grad.clone() for parameter in model.parameters()]

    with learning(model, TrainSettings(batch=3)) as passes:
        loss, gradients = told(passes)
        half = other_steps.HalfWeights(model, torch.float32)
        for way in (
            other_steps.Chunked(model, torch.float32),
            half.by(other_steps.Whole),
            half.by(other_steps.Chunked),
        ):
            own_loss, own = told(way)
            assert own_loss == pytest.approx(loss, abs=1e-6)
            for expected, found in zip(gradients, own, strict=True):
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_what_lm_eval_does_is_what_a_model_says_of_disjoint_windows() -> None:
    from benchmarks.gpu.against_lm_eval import documents_of, sums
    from benchmarks.gpu.lm_eval_backend import Backend, rolling_windows
    from benchmarks.gpu.texts import END, train_tokenizer, with_tokenizer

    assert list(rolling_windows([5, 6, 7, 8, 9], 0, 2)) == [([0], [5, 6]), ([6], [7, 8]), ([7, 8], [9])]
    assert list(rolling_windows([], 0, 2)) == []
    tokenizer, hosted, texts = train_tokenizer(256, 1 << 12), byte_model(), documents_of(5, 20, 120)
    with_tokenizer(hosted, tokenizer)
    hosted.context_tokens = 32
    backend = Backend(hosted.model, tokenizer, tokenizer.token_to_id(END), 32)
    expected = sums(hosted, [text.encode() for text in texts])
    assert backend.loglikelihood_rolling(texts, 3) == pytest.approx(expected.tolist(), rel=1e-5)
