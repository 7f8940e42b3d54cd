"""Do the 95 % intervals of `shares` and `new_bits` cover the population's value 90 to 98 times in 100?

A population of documents of unlike length, each easier for some models than for others, is made once; its own value is
the measure of the whole. Each resample draws documents from it with replacement and measures them. What bounds the
coverage: the value of a resample moves with its text and with the weights fitted to it; an error that takes the weights
for given misses the second.

    python -m benchmarks.coverage [--resamples 200] [--documents 200]
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.record import write_record
from models.value import Measure, new_bits, shares

POPULATION = 4000
MODELS = 6
STRATA = 2


def make_population(seed: int) -> dict[str, Any]:
    """Documents of 20 to 200 events: log-probabilities with what the text, the document and the model each bring."""
    rng = np.random.default_rng(seed)
    length_D = rng.integers(20, 200, POPULATION)
    document_M = np.repeat(np.arange(POPULATION), length_D)
    events = document_M.size
    hard_M = rng.normal(0, 1.0, events)
    skill_N, knows_ND = np.linspace(0.2, -0.2, MODELS), rng.normal(0, 0.4, (MODELS, POPULATION))
    own_NM = rng.normal(0, 0.7, (MODELS, events))
    rows_NM = np.minimum(-2.0 + hard_M + skill_N[:, None] + knows_ND[:, document_M] + own_NM, -1e-3)
    return {
        "rows_NM": rows_NM,
        "baseline_M": np.full(events, -3.5),
        "stratum_D": np.arange(POPULATION) % STRATA,
        "first_D": np.concatenate([[0], np.cumsum(length_D)]),
        "document_M": document_M,
    }


def measure(population: dict[str, Any], draw_D: np.ndarray, of: Callable[..., Measure]) -> Measure:
    """A measure of the drawn documents, each draw of a document a block of its own."""
    first_D = population["first_D"]
    events_M = np.concatenate([np.arange(first_D[document], first_D[document + 1]) for document in draw_D])
    block_M = np.repeat(np.arange(draw_D.size), first_D[draw_D + 1] - first_D[draw_D])
    stratum_M = population["stratum_D"][draw_D][block_M]
    rows_NM, baseline_M = population["rows_NM"][:, events_M], population["baseline_M"][events_M]
    return of(rows_NM, baseline_M, stratum_M=stratum_M, block_M=block_M)


def cover(population: dict[str, Any], of: Callable[..., Measure], resamples: int, documents: int) -> dict[str, Any]:
    """How often intervals hold the population's value, row by row and for the gain."""
    truth = measure(population, np.arange(POPULATION), of)
    rng = np.random.default_rng(1)
    bits_XN, se_XN, gain_X = [], [], []
    for _ in range(resamples):
        draw = [
            rng.choice(np.flatnonzero(population["stratum_D"] == stratum), documents // STRATA)
            for stratum in range(STRATA)
        ]
        found = measure(population, np.concatenate(draw), of)
        bits_XN.append(found.bits_N)
        se_XN.append(found.se_N)
        gain_X.append(abs(found.gain - truth.gain) <= 1.96 * found.gain_se)
    bits, se = np.array(bits_XN), np.array(se_XN)
    covered = np.abs(bits - truth.bits_N) <= 1.96 * se
    return {
        "population_bits": truth.bits_N.tolist(),
        "covered_by_row": covered.mean(axis=0).tolist(),
        "covered": float(covered.mean()),
        "covered_gain": float(np.mean(gain_X)),
        "mean_bits": bits.mean(axis=0).tolist(),
        "spread": bits.std(axis=0).tolist(),
        "mean_se": se.mean(axis=0).tolist(),
    }


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--documents", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    population = make_population(0)
    measured = {of.__name__: cover(population, of, options.resamples, options.documents) for of in (shares, new_bits)}
    write_record("coverage", vars(options) | {"population": POPULATION, "models": MODELS, "strata": STRATA}, measured)


if __name__ == "__main__":
    main()
