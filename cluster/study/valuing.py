"""From scores to values: the models' answers in common segments, measured as one collective.

Invariants: pure but for the file of a matrix that outgrows memory; a model that cannot stand beside the others gets its
reason and the rest is valued; every figure is over the same events.

Shapes: N valued models, M events, S strata, W windows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.score_file import ScoreFacts
from cluster.errors import ClusterError
from cluster.study.candidates import Candidate
from cluster.study.result import ModelValue
from models.text.align import Scores, Segments, align, baseline_row
from models.text.corpus import Corpus
from models.text.windows import Windows
from models.value import in_order, leave_one_out, nearest, shares
from models.value.panel import looked_up

Matrix = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Aligned:
    """The matrix of an evaluation: N valued models of `names`, M events.

    log_probability_NM: natural; a memory map where it outgrew memory. log_baseline_M: of the byte frequencies.
    stratum_M, document_M, fold_M: of each event. errors: by the index of the candidate, for those left out.
    """

    log_probability_NM: Matrix
    log_baseline_M: Matrix
    kept: tuple[int, ...]
    segments: Segments
    stratum_M: Integers
    document_M: Integers
    fold_M: Integers
    errors: Mapping[int, str]

    @property
    def text_bytes(self) -> int:
        """What the events cover."""
        return int(self.segments.bytes_M.sum())

    def bits_per_byte(self, log_probability_M: Matrix) -> float:
        """What one row costs; infinite where it gave an event a probability of 0."""
        return -float(log_probability_M.sum()) / math.log(2) / self.text_bytes


@dataclass(frozen=True)
class Valued:
    """The models in the order given, and the collective's own figures, in bits per byte."""

    models: tuple[ModelValue, ...]
    baseline: float
    gain: float
    gain_se: float
    refit: float


def align_scores(
    scores: Mapping[int, Scores],
    texts: Sequence[bytes],
    windows: Windows,
    corpus: Corpus,
    *,
    file: Path,
    limit_mib: int,
) -> Aligned:
    """Bring the scores, given by the candidates' indices, into common segments.

    Raises ClusterError where no model is left.
    """
    indices = sorted(scores)
    segments = align([scores[index] for index in indices], texts, allocate=allocator(file, limit_mib))
    errors = {indices[position]: str(refusal) for position, refusal in segments.refused.items()}
    if not segments.kept:
        raise ClusterError("no model can be valued: " + "; ".join(errors.values()))
    window_M = segments.window_M
    return Aligned(
        log_probability_NM=segments.log_probability_NM,
        log_baseline_M=baseline_row(segments, texts, corpus.baseline_log_probability()),
        kept=tuple(indices[position] for position in segments.kept),
        segments=segments,
        stratum_M=windows.stratum_W[window_M].astype(np.int64),
        document_M=windows.document_W[window_M].astype(np.int64),
        fold_M=windows.fold_W[window_M].astype(np.int64),
        errors=errors,
    )


def allocator(file: Path, limit_mib: int) -> Callable[[tuple[int, int]], Matrix]:
    """Makes the matrix: in memory, or above `limit_mib` in `file`, in NumPy's format, behind a memory map."""

    def allocate(shape: tuple[int, int]) -> Matrix:
        if math.prod(shape) * 8 <= limit_mib << 20:
            return np.empty(shape)
        mapped: Matrix = np.lib.format.open_memmap(file, "w+", np.float64, shape)
        return mapped

    return allocate


def value_models(
    candidates: Sequence[Candidate],
    facts: Mapping[int, ScoreFacts],
    tokens: Mapping[int, int],
    errors: Mapping[int, str],
    aligned: Aligned,
    strata: Sequence[str],
    windows: int,
    device: str = "cpu",
) -> Valued:
    """Measure the collective of all models with a row in `aligned`; the others get their error.

    Raises RoundError where the events are too few to be valued.
    """
    events: dict[str, Any] = {
        "stratum_M": aligned.stratum_M,
        "block_M": aligned.document_M,
        "fold_M": aligned.fold_M,
        "bytes_M": aligned.segments.bytes_M,
        "device": device,
    }
    rows = aligned.log_probability_NM
    share = shares(rows, aligned.log_baseline_M, **events)
    order = in_order(rows, aligned.log_baseline_M, **events)
    without = leave_one_out(rows, aligned.log_baseline_M, **events)
    near_N, near_bits_N = nearest(rows, device=device)
    looked = looked_up(
        [*rows, aligned.log_baseline_M], aligned.segments.window_M, aligned.segments.bytes_M, windows=windows
    ).known
    assert share.weights_SN is not None
    measured = {
        index: ModelValue(
            name=candidates[index].name,
            path=candidates[index].folder,
            parameters=facts[index].parameters,
            bits_per_byte=finite(aligned.bits_per_byte(rows[row])),
            share_bits=float(share.bits_N[row]),
            share_se=float(share.se_N[row]),
            lost_without_bits=float(without.bits_N[row]),
            lost_without_se=float(without.se_N[row]),
            new_bits=float(order.bits_N[row]),
            new_bits_se=float(order.se_N[row]),
            weight=weights_of(share.weights_SN[:, row], strata),
            nearest=candidates[aligned.kept[near_N[row]]].name if len(rows) > 1 else None,
            nearest_bits=finite(float(near_bits_N[row])),
            looked_up=looked[row],
            tokens_per_second=tokens[index] / facts[index].seconds if facts[index].seconds > 0 else None,
        )
        for row, index in enumerate(aligned.kept)
    }
    models = tuple(
        measured.get(index) or _without_value(candidate, facts.get(index), errors[index])
        for index, candidate in enumerate(candidates)
    )
    baseline = aligned.bits_per_byte(aligned.log_baseline_M)
    return Valued(models, baseline, float(share.gain), float(share.gain_se), float(order.refit_bits))


def weights_of(weights_S: Matrix, strata: Sequence[str]) -> dict[str, float]:
    """A model's weight by stratum; one that has no event has no weight."""
    return {name: float(weights_S[number]) if number < len(weights_S) else 0.0 for number, name in enumerate(strata)}


def _without_value(candidate: Candidate, facts: ScoreFacts | None, error: str) -> ModelValue:
    parameters = facts.parameters if facts else 0
    return ModelValue(name=candidate.name, path=candidate.folder, parameters=parameters, error=error)


def finite(value: float) -> float | None:
    """None where a figure is infinite: a probability of 0 was given to what came."""
    return value if math.isfinite(value) else None
