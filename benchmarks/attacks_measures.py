"""What would other measures pay for the same attacks? Today's versions of all peers, valued in four ways.

* share: whose today's mixture is, by the closed form from the baseline (`share_bits`);
* leave_one_out: what the mixture loses without a version;
* shapley: the mean of what a version adds to every set of the others (up to eight versions, 2^n fits);
* accuracy: the reciprocal of bits per byte;
* new_bits: what the network pays, its votes of the same epoch.

Each is normalised to sum 1 over the peers. What bounds the figures: 18,432 events; every fit is out of fold.

Run: `python benchmarks/attacks_measures.py [--seed 1] [--json]`. Models are those of `benchmarks/attacks.py`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import msgspec  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.attacks_copies import copies  # noqa: E402
from benchmarks.attacks_honest import ARRIVAL, newcomers  # noqa: E402
from benchmarks.attacks_replay import Publication, lay_round, replay  # noqa: E402
from benchmarks.attacks_scenario import HONEST, Scenario  # noqa: E402
from benchmarks.attacks_world import Settings, World  # noqa: E402
from benchmarks.record import write_record  # noqa: E402
from models.value import exact_shapley, leave_one_out, shares  # noqa: E402
from models.value.round import Round  # noqa: E402

COMPARED = ("exact", "temperature", "ensemble", "late_improvement", "equal_newcomer")
MOST_PLAYERS = 8
Shares = NDArray[np.float64]
"""One number for each row after the baseline."""


def columns(round_: Round, rows: Sequence[int]) -> dict[str, Any]:
    """What the measures take: some rows, the baseline, and where the events come from."""
    return {
        "log_probability_NM": round_.log_probability_NM[list(rows)],
        "log_baseline_M": round_.log_probability_NM[0],
        "stratum_M": round_.stratum_M,
        "block_M": round_.document_M,
        "fold_M": round_.fold_M,
    }


def share_of_mixture(round_: Round) -> Shares:
    """Whose today's mixture is."""
    return shares(**columns(round_, range(1, len(round_.uid_N)))).bits_N


def lost_without(round_: Round) -> Shares:
    """What all others lose by a row's absence."""
    return leave_one_out(**columns(round_, range(1, len(round_.uid_N)))).bits_N


def shapley(round_: Round) -> Shares:
    """Exact, over all sets of peers."""
    return exact_shapley(**columns(round_, range(1, len(round_.uid_N)))).bits_N


def accuracy(round_: Round) -> Shares:
    """The reciprocal of bits: whoever predicts better gets more."""
    bits_N: Shares = round_.matrix_NM[1:].mean(axis=1)
    return -1.0 / bits_N


MEASURES: dict[str, Callable[[Round], Shares]] = {
    "share": share_of_mixture,
    "leave_one_out": lost_without,
    "shapley": shapley,
    "accuracy": accuracy,
}


def compare(world: World, scenario: Scenario) -> dict[str, Any]:
    """By measure, the actors' part of the pay and the victim's (ada's) with and without them."""
    played = replay(world, scenario.plan)
    epoch = world.settings.epochs if scenario.first < ARRIVAL else ARRIVAL
    actors = [row for row in played.epochs[epoch].rows if row.uid in scenario.actors]
    theirs = list({row.uid: row for row in actors}.values())
    honest = [Publication(uid, world.version(uid, epoch)) for uid in range(len(world.settings.peers))]
    line = {name: parts(world, epoch, measure, theirs, honest) for name, measure in MEASURES.items()}
    pay, before = played.epochs[epoch].pay, replay(world, scenario.without).epochs[epoch].pay
    mine = sum(pay.get(uid, 0.0) for uid in scenario.actors)
    line["new_bits"] = {"actors": mine, "victim": pay[0], "victim_without": before[0]}
    return {"name": scenario.name, "what": scenario.what, "identities": len(theirs), "epoch": epoch, "measures": line}


def parts(
    world: World,
    epoch: int,
    measure: Callable[[Round], Shares],
    theirs: Sequence[Publication],
    honest: Sequence[Publication],
) -> dict[str, float] | None:
    """None where there are too many players for the measure."""
    if measure is shapley and len(theirs) + len(honest) > MOST_PLAYERS:
        return None
    alone, both = (
        normalised(measure(lay_round(world, epoch, HONEST, rows, len(rows)))) for rows in (honest, [*theirs, *honest])
    )
    return {
        "actors": float(both[: len(theirs)].sum()),
        "victim": float(both[len(theirs)]),
        "victim_without": float(alone[0]),
    }


def normalised(value: Shares) -> Shares:
    """Parts of 1; what is below 0 counts as 0."""
    positive = np.maximum(value, 0.0)
    total = float(positive.sum())
    return np.asarray(positive / total)


def main() -> None:
    """Compare the measures on the chosen attacks, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="only the JSON record on standard output")
    torch.set_num_threads(1)
    settings = Settings(seed=parser.parse_args().seed)
    world = World(ROOT / "build" / "attacks", settings)
    chosen = [scenario for scenario in [*copies(), *newcomers()] if scenario.name in COMPARED]
    lines = []
    for scenario in chosen:
        lines.append(compare(world, scenario))
        print(lines[-1], file=sys.stderr, flush=True)
    write_record("attacks_measures", msgspec.to_builtins(settings), {"attacks": lines})


if __name__ == "__main__":
    main()
