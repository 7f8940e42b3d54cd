"""`permutation_shapley` against pyDVL's, on the same coalition values: 16 players, 2,048 events, 512 permutations.

A coalition's value is what its best certified mixture gains over the baseline out of fold. pyDVL asks for one coalition
after another; its utility is our own single fit of both folds on a matrix that is prepared once, without errors, and
pyDVL keeps what it knows (its cache in memory is on). What bounds both is fits: pyDVL's are alone, ours are one batch
of matrices. Both run on one thread, in turns. `closed_form` is `shares`, which needs two fits in all.

pyDVL 0.9 names a type that NumPy 2 has dropped; it is given back before the import.

    python -m benchmarks.shapley [--pairs 3]        in an environment that has pyDVL besides taoray
"""

import argparse
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from benchmarks.record import summarize, time_pairs, write_record
from models.value import permutation_shapley, shares
from models.value.cells import out_of_fold_cells
from models.value.fit import fit_pieces
from models.value.measures import make_table

PLAYERS, EVENTS, PERMUTATIONS = 16, 2048, 512


class Coalition:
    """What pyDVL takes for a model: "trained" on players, its score is their gain."""

    def __init__(self, rows_NM: np.ndarray, baseline_M: np.ndarray) -> None:
        self.table = make_table(rows_NM, baseline_M)
        self.cells = out_of_fold_cells(self.table.events)
        self.begin_M = self.table.mixture(np.ones(1), np.zeros(1, dtype=np.intp), [(0, self.table.size)])

    def fit(self, players: np.ndarray, _: np.ndarray) -> None:
        """Fit the best mixture of some players and the baseline on each fold."""
        self.rows = np.concatenate([[0], np.sort(players[:, 0]) + 1])
        self.weights = [fit_pieces(self.table.pieces(cell.fit, self.rows)).weights_N for cell in self.cells]

    def score(self, *_: np.ndarray) -> float:
        """Bits an event over the baseline, out of fold."""
        mixture_M = sum(
            self.table.mixture(weights, self.rows, cell.use)
            for weights, cell in zip(self.weights, self.cells, strict=True)
        )
        return float((mixture_M / self.begin_M).log2().mean())


def make_players(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sixteen models that know the same text, each a little of its own."""
    rng = np.random.default_rng(seed)
    skill_N = rng.normal(0, 0.2, (PLAYERS, 1))
    rows_NM = -2.5 + rng.normal(0, 1, EVENTS) + rng.normal(0, 0.7, (PLAYERS, EVENTS)) + skill_N
    return np.minimum(rows_NM, -1e-3), np.full(EVENTS, -3.5)


class OneThread:
    """pyDVL's jobs on one thread of this process, so that nothing is pickled and its cache serves all of them."""

    def put(self, utility: Any) -> Any:
        """Nothing to send."""
        return utility

    def effective_n_jobs(self, _: int) -> int:
        """One."""
        return 1

    def executor(self, **_: Any) -> ThreadPoolExecutor:
        """Where jobs run."""
        return ThreadPoolExecutor(max_workers=1)


def ask_pydvl(rows_NM: np.ndarray, baseline_M: np.ndarray) -> np.ndarray:
    """pyDVL's Shapley values of the players, with a cache that is empty at first."""
    np.float_ = np.float64
    warnings.simplefilter("ignore")
    from pydvl.utils import Dataset, Utility
    from pydvl.utils.caching import InMemoryCacheBackend
    from pydvl.value.shapley.montecarlo import permutation_montecarlo_shapley
    from pydvl.value.stopping import MaxUpdates

    players = np.arange(PLAYERS)
    data = Dataset(players[:, None], players, players[:1, None], players[:1])
    model = Coalition(rows_NM, baseline_M)
    utility = Utility(model, data, cache_backend=InMemoryCacheBackend(), clone_before_fit=False, catch_errors=False)
    result: Any = permutation_montecarlo_shapley(
        utility, MaxUpdates(PERMUTATIONS), seed=1, parallel_backend=OneThread()
    )
    return np.asarray(result.values)


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    rows_NM, baseline_M = make_players(0)
    found: dict[str, Any] = {}
    our_s, their_s = time_pairs(
        lambda: found.update(ours=permutation_shapley(rows_NM, baseline_M, permutations=PERMUTATIONS)),
        lambda: found.update(theirs=ask_pydvl(rows_NM, baseline_M)),
        pairs,
    )
    ours, theirs_N = found["ours"], found["theirs"]
    closed_s, _ = time_pairs(lambda: shares(rows_NM, baseline_M), lambda: None, 9)
    ratios = [theirs / mine for mine, theirs in zip(our_s, their_s, strict=True)]
    measured = {
        "permutation_shapley_s": summarize(our_s),
        "pydvl_s": summarize(their_s),
        "times_faster": summarize(ratios),
        "closed_form_s": summarize(closed_s),
        "closed_form_times_faster": summarize(their_s)["median"] / summarize(closed_s)["median"],
        "largest_difference_bits": float(np.abs(ours.bits_N - theirs_N).max()),
        "largest_error_bits": float(ours.se_N.max()),
        "gain_bits": ours.gain,
        "sum_less_gain_bits": float(ours.bits_N.sum() - ours.gain),
    }
    configuration = {"players": PLAYERS, "events": EVENTS, "permutations": PERMUTATIONS, "pairs": pairs, "threads": 1}
    write_record("shapley", configuration | {"pydvl": version("pydvl")}, measured)


if __name__ == "__main__":
    main()
