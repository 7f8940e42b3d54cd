"""What a majority earns against a colluding minority, on the ledger's own consensus, in the reference's settings.

It is exact arithmetic, so nothing bounds the figures but the graphs that are drawn: 512 nodes, 64 of them validators,
three graphs for each of 14 settings. The guarantee is that the majority's part of what is paid is at least its share of
stake.

Run: `python benchmarks/collusion.py [--seeds 3]`. Exit code 1 if any graph breaks the guarantee in the classic profile.
"""

import argparse
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from record import write_record  # noqa: E402

from ledger.epoch.consensus import Rules  # noqa: E402
from ledger.golden_study import compute_major_share, draw_camps  # noqa: E402

CASES = ROOT / "tests" / "golden" / "yuma.json"
PROFILES = {
    "classic": Rules(),
    "yuma3": Rules(profile="yuma3"),
    "yuma3_liquid": Rules(profile="yuma3", liquid_alpha=True),
    "yuma3_liquid_without_penalty": Rules(profile="yuma3", liquid_alpha=True, bonds_penalty=(0, 1)),
}


def load_settings() -> list[list[str]]:
    """The reference's settings, in decimals: majority's stake, each camp's weight on itself, spread of weights."""
    cases = json.loads(CASES.read_text(), parse_float=str)["cases"]
    return next(case["input"]["tuples"] for case in cases if case["kind"] == "consensus_guarantee")


def measure(setting: list[str], rules: Rules, seeds: int) -> dict[str, Any]:
    """The majority's part in each graph, and the least of them less its share of stake."""
    parts = [
        compute_major_share(draw_camps(np.random.default_rng(seed), *map(float, setting)), rules)
        for seed in range(seeds)
    ]
    margin = min(parts) - Fraction(setting[0])
    return {
        "setting": [float(value) for value in setting],
        "major_part": [float(part) for part in parts],
        "least_margin": float(margin),
        "holds": margin >= 0,
    }


def main() -> None:
    """Run all settings in all profiles, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    settings = load_settings()
    measured = {name: [measure(setting, rules, seeds) for setting in settings] for name, rules in PROFILES.items()}
    configuration = {"seeds": seeds, "nodes": 512, "validators": 64, "settings": len(settings)}
    write_record("collusion", configuration, measured)
    for name, rows in measured.items():
        broken = [row["setting"] for row in rows if not row["holds"]]
        least = min(row["least_margin"] for row in rows)
        print(
            f"{name}: {len(rows) - len(broken)} of {len(rows)} settings hold, least margin {least:.4f}", file=sys.stderr
        )
    if not all(row["holds"] for row in measured["classic"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
