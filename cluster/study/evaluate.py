"""An evaluation from folders to values: text, windows, scores, segments, measures.

Invariants: what is scored once is never scored again, in this run or in a later one; an evaluation whose scores are all
there needs no Ray; one evaluation at a time works in a folder.
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from actors.score_file import ScoreFacts
from actors.scorer import Scorer
from cluster.errors import ClusterError, ConfigurationError
from cluster.lease import hold_lease
from cluster.place.ray import joined_ray
from cluster.show import Progress
from cluster.study.candidates import Candidate, hash_texts, list_candidates
from cluster.study.drawing import draw_study
from cluster.study.matrix import write_matrix
from cluster.study.result import Evaluation
from cluster.study.scoring import Desk, score_models
from cluster.study.settings import Study
from cluster.study.valuing import Aligned, Valued, align_scores, value_models
from models.text.align import Scores
from models.text.corpus import Corpus
from models.text.prepare import prepare_corpus
from models.text.windows import Windows
from models.value.device import value_on

PUBLIC = "held-out text is public: a model may have been trained on it; give text of your own with --data"
LOOKED_UP = "predicts {} of {} windows as if it knew them, and no other model does"


@dataclass(frozen=True)
class Clock:
    """How long each step of an evaluation took, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        began = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - began, 3)


def run_evaluation(
    folders: Sequence[Path],
    settings: Study,
    work: Path,
    *,
    show: Progress,
    address: str | None = None,
    matrix: Path | None = None,
    scorer_class: type = Scorer,
) -> Evaluation:
    """Value any models as one collective.

    Args:
        folders: of the models, in the order of publication.
        work: the work folder, made where it is missing: the text and the scores stay there.
        address: of a Ray cluster; None takes `RAY_ADDRESS`, or starts Ray on this machine while models are scored.
        matrix: where the log-probabilities of every event are written as an Arrow file, None for nowhere.
        scorer_class: the plain class behind scorer actors.

    Raises:
        ConfigurationError: no models are named. TextError: the text cannot be read, or is too little.
        HomeInUse: another evaluation works in this folder.
        ClusterError: Ray or the scorers did not start, or no model can be valued.
    """
    if not folders:
        raise ConfigurationError("models", "none are named; give one model folder or more")
    clock = Clock()
    desk = Desk.of(work / "scores", settings.windows, settings.part_windows)
    desk.folder.mkdir(parents=True, exist_ok=True)
    with hold_lease(work / "driver.db", tell=show.note):
        show.step("preparing the text")
        with clock.step("prepare"):
            corpus = prepare_corpus(
                settings.data,
                work / "text",
                window_bytes=settings.window_bytes,
                minimum_windows=settings.windows,
            )
            windows, texts = draw_study(corpus, settings)
            show.step("hashing the models")
            candidates = list_candidates(folders, hash_texts(texts), settings.device)
        with clock.step("score"):
            errors: dict[bytes, str] = {}
            if any(desk.missing(candidate.key) for candidate in candidates if candidate.key):
                with joined_ray(address, f"evaluate-{secrets.token_hex(4)}", show):
                    errors = score_models(candidates, texts, desk, settings, show, scorer_class=scorer_class)
        show.step("valuing the models")
        with clock.step("value"):
            aligned, facts, tokens, errors_by_index = _align(candidates, errors, texts, windows, corpus, desk, settings)
            valued, note = value_on(
                settings.device,
                lambda device: value_models(
                    candidates, facts, tokens, errors_by_index, aligned, corpus.strata, len(texts), device
                ),
            )
            if matrix is not None:
                write_matrix(matrix, aligned, candidates, corpus, windows)
        (work / "settings.json").write_bytes(msgspec.json.format(msgspec.json.encode(settings), indent=2))
    notes = (*_notes(valued, settings), *([note] if note else []))
    for note in notes:
        show.note(note)
    return _evaluation(valued, aligned, corpus, notes, clock, settings)


def _align(
    candidates: Sequence[Candidate],
    errors: Mapping[bytes, str],
    texts: Sequence[bytes],
    windows: Windows,
    corpus: Corpus,
    desk: Desk,
    settings: Study,
) -> tuple[Aligned, dict[int, ScoreFacts], dict[int, int], dict[int, str]]:
    """The aligned matrix; by index of the candidate what is known of it, its tokens, and why it has no row."""
    scores: dict[int, Scores] = {}
    facts: dict[int, ScoreFacts] = {}
    reasons = {index: candidate.error for index, candidate in enumerate(candidates) if candidate.error is not None}
    for index, candidate in enumerate(candidates):
        found = desk.collect(candidate.key) if candidate.key else None
        if found is not None:
            scores[index], facts[index] = found
        elif candidate.key:
            reasons[index] = errors.get(candidate.key, "its scores cannot be read back from the work folder")
    if not scores:
        said = "; ".join(f"{candidates[index].name} ({reason})" for index, reason in sorted(reasons.items()))
        raise ClusterError(f"no model can be valued: {said}")
    tokens = {index: len(row.cut_C) - len(texts) for index, row in scores.items()}
    file = desk.folder.parent / "matrix.npy"
    aligned = align_scores(scores, texts, windows, corpus, file=file, limit_mib=settings.matrix_mib)
    return aligned, facts, tokens, reasons | dict(aligned.errors)


def _notes(valued: Valued, settings: Study) -> tuple[str, ...]:
    looked = [
        f"{model.name} " + LOOKED_UP.format(model.looked_up, settings.windows)
        for model in valued.models
        if model.looked_up
    ]
    return (*looked, *(() if settings.data.paths or settings.data.private else (PUBLIC,)))


def _evaluation(
    valued: Valued, aligned: Aligned, corpus: Corpus, notes: tuple[str, ...], clock: Clock, settings: Study
) -> Evaluation:
    single = [model for model in valued.models if model.bits_per_byte is not None]
    best = min(single, key=lambda model: model.bits_per_byte or 0.0, default=None)
    return Evaluation(
        events=len(aligned.segments.bytes_M),
        bytes=aligned.text_bytes,
        collective_bits_per_byte=valued.baseline - valued.gain,
        best_bits_per_byte=best.bits_per_byte if best else None,
        baseline_bits_per_byte=valued.baseline,
        gain_bits=valued.gain,
        models=valued.models,
        gain_se=valued.gain_se,
        refit_bits=valued.refit,
        best=best.name if best else None,
        strata={name: int((aligned.stratum_M == number).sum()) for number, name in enumerate(corpus.strata)},
        notes=notes,
        seconds=clock.seconds,
        settings=settings,
    )
