"""`taoray evaluate` on real small models: tokenised and of bytes, broken ones among them, interrupted and resumed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import taoray
from actors.scorer import PartReceipt, PartRequest, Scorer
from cluster.errors import ClusterError, ConfigurationError
from cluster.show import Quiet
from cluster.study.evaluate import run_evaluation
from cluster.study.settings import read_settings
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model

Command = Callable[..., Any]

SMALL = ["windows=48", "window_bytes=129", "part_windows=12", "device=cpu", "loaded=2"]
WORDS = 320
"""Tokens of the tokenised model."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models of bytes, one of tokens, one without weights."""
    folder = tmp_path_factory.mktemp("models")
    paths = {name: folder / name for name in ("bytes", "other", "tokens", "broken")}
    for seed, name in enumerate(("bytes", "other")):
        save_model(build_model(Architecture("llama", 32, 1, 2), seed), paths[name])
    _save_tokenised(paths["tokens"])
    paths["broken"].mkdir()
    (paths["broken"] / "config.json").write_text('{"model_type": "llama", "vocab_size": 256}')
    return paths


def _save_tokenised(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(vocab_size=WORDS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([Path(json.__file__).read_text()], trainer)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    save_model(LlamaForCausalLM(LlamaConfig(vocab_size=WORDS, max_position_embeddings=256, **sizes)), folder)
    tokenizer.save(str(folder / "tokenizer.json"))


class Listens(Quiet):
    """Remembers how many parts each scoring waits for; interrupts when so many are there."""

    def __init__(self, interrupt_at: int = 1 << 30) -> None:
        self.totals: list[int] = []
        self.notes: list[str] = []
        self._interrupt_at = interrupt_at

    def step(self, sentence: str, total: int = 0) -> None:
        """A total stands for a scoring."""
        if total:
            self.totals.append(total)

    def advance(self, done: int) -> None:
        """As a person would."""
        if done >= self._interrupt_at:
            raise KeyboardInterrupt

    def note(self, sentence: str) -> None:
        """Kept."""
        self.notes.append(sentence)


@pytest.mark.cluster
def test_any_models_are_valued_together(run: Command, models: dict[str, Path], small_text: str, tmp_path: Path) -> None:
    settings = [word for setting in (*SMALL, small_text) for word in ("--set", setting)]
    table, matrix = tmp_path / "values.parquet", tmp_path / "matrix.arrow"
    options = ["--home", str(tmp_path), "--json", "--out", str(table), "--matrix", str(matrix)]
    done = run("evaluate", *(str(path) for path in models.values()), *settings, *options)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    rows = {row["name"]: row for row in document["models"]}
    assert list(rows) == ["bytes", "other", "tokens", "broken"]
    assert "no_weights" in rows["broken"]["error"]
    for name in ("bytes", "other", "tokens"):
        row = rows[name]
        assert row["error"] is None
        assert row["parameters"] > 1000
        assert row["bits_per_byte"] > 0
        assert row["tokens_per_second"] > 0
        assert row["nearest"] in rows
        assert set(row["weight"]) == set(document["strata"])
    gain = document["baseline_bits_per_byte"] - document["collective_bits_per_byte"]
    assert document["gain_bits"] == pytest.approx(gain, abs=1e-9)
    assert sum(row["share_bits"] for row in rows.values()) == pytest.approx(document["gain_bits"], abs=1e-9)
    steps = sum(row["new_bits"] for row in rows.values()) + document["refit_bits"]
    assert steps == pytest.approx(document["gain_bits"], abs=1e-9)
    assert document["best_bits_per_byte"] == min(row["bits_per_byte"] or 99 for row in rows.values())
    assert pq.read_table(table).column("name").to_pylist() == list(rows)
    assert (tmp_path / "values.png").stat().st_size > 10_000
    assert (tmp_path / "values.svg").exists()
    with pa.memory_map(str(matrix)) as file:
        events = pa.ipc.open_file(file).read_all()
    assert len(events) == document["events"]
    assert sum(events.column("bytes").to_pylist()) == document["bytes"]


@pytest.mark.cluster
def test_an_interrupted_evaluation_goes_on_where_it_was(
    models: dict[str, Path], small_text: str, tmp_path: Path
) -> None:
    def evaluate(names: list[str], show: Listens) -> taoray.Evaluation:
        folders = [models[name] for name in names]
        return taoray.evaluate(folders, home=tmp_path, overrides=[*SMALL, small_text], show=show)

    with pytest.raises(KeyboardInterrupt):
        evaluate(["bytes", "tokens"], Listens(interrupt_at=3))
    again = Listens()
    three = evaluate(["bytes", "tokens", "other"], again)
    assert [model.name for model in three.models] == ["bytes", "tokens", "other"]
    assert again.totals[0] <= 3 * 4 - 3
    repeated = Listens()
    two = evaluate(["tokens", "other"], repeated)
    assert repeated.totals == []
    assert [model.bits_per_byte for model in two.models] == pytest.approx(
        [model.bits_per_byte for model in three.models[1:]], abs=0.2
    )
    assert two.models[1].tokens_per_second == three.models[2].tokens_per_second


@pytest.mark.cluster
def test_a_model_that_kills_its_scorer_costs_no_other(models: dict[str, Path], small_text: str, tmp_path: Path) -> None:
    class Mortal(Scorer):
        """Dies of one model, fails with another."""

        def score(self, request: PartRequest, texts: list[bytes]) -> PartReceipt:
            """As told by the folder's name."""
            if request.folder.endswith("other"):
                os._exit(1)
            if request.folder.endswith("tokens"):
                raise MemoryError("no room for this one")
            return super().score(request, texts)

    folders = [models[name] for name in ("bytes", "other", "tokens")]
    settings = read_settings([*SMALL, small_text])
    evaluation = run_evaluation(folders, settings, tmp_path, show=Quiet(), scorer_class=Mortal)
    alone, dead, failed = evaluation.models
    assert alone.error is None
    assert alone.nearest is None
    assert dead.error is not None
    assert dead.error.startswith("dead: ")
    assert failed.error == "invalid: MemoryError: no room for this one"
    assert evaluation.gain_bits == pytest.approx(alone.share_bits, abs=1e-9)


def test_no_models_and_no_valid_models(run: Command, models: dict[str, Path], small_text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="models"):
        taoray.evaluate([], home=tmp_path)
    nowhere = tmp_path / "nowhere"
    with pytest.raises(ClusterError, match="not_a_folder"):
        taoray.evaluate([nowhere], home=tmp_path, overrides=[*SMALL, small_text])
    settings = ("--set", "windows=48", "--set", "window_bytes=129", "--set", small_text)
    done = run("evaluate", str(nowhere), "--home", str(tmp_path), *settings, "--json")
    assert done.returncode == 1
    assert "not_a_folder" in json.loads(done.stdout.splitlines()[-1])["error"]
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--set", "windows=many"), 2, ("windows", "int")),
        (("--set", "colour=red"), 2, ("colour",)),
        (("--set", "windows"), 2, ("windows",)),
        (("--data", "/does/not/exist"), 1, ("data.paths", "/does/not/exist")),
        (("--nonsense",), 2, ("--nonsense",)),
    ],
)
def test_mistakes_end_before_anything_is_loaded(
    run: Command, models: dict[str, Path], tmp_path: Path, options: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    done = run("evaluate", str(models["bytes"]), "--home", str(tmp_path), *options)
    assert done.returncode == code
    assert all(word in done.stderr for word in words)
