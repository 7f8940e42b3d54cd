"""What the runs say together: ratios with the same seed, and whether the aims hold.

Invariants: a ratio compares runs of one seed and one number of members; what was not played is left out.
"""

from statistics import fmean
from typing import Any

from ledger.epoch.cohorts import DECAY

AIMS = {"dense DiLoCo": 1.03, "dense mean": 1.03, "synchronous": 1.06}
"""How many times the bits per byte of another way compressed rounds may end with."""
WAYS = ("one machine", *AIMS)
LEAST_SAVED = 100
"""How many times less than dense rounds they must send."""
CHEATED = 1.02
"""How many times the bits per byte of the five honest members alone a run with three cheats may end with."""
PAID_UNTIL = 3
"""The last round whose update may still earn a cheat anything."""

Line = dict[str, Any]


def summarize_runs(lines: list[Line]) -> dict[str, Any]:
    """Ratios, cheats and aims."""
    ratios = compare_ways([line for line in lines if line["table"] == "ways"])
    cheats = compare_cheats([line for line in lines if line["table"] == "cheats"])
    aims = {
        f"{way}, {row['members']} members": row["ratio"] <= AIMS[way]
        for row in ratios
        for way in AIMS
        if row["against"] == way
    }
    aims |= {
        f"bytes against {row['against']}, {row['members']} members": row["saved"] >= LEAST_SAVED
        for row in ratios
        if "saved" in row
    }
    for row in cheats:
        where = f"{row['name']}, seed {row['seed']}"
        aims[f"{where}: the end"] = row["ratio"] <= CHEATED
        aims[f"{where}: nothing earned"] = not any(row["earned"].values())
    return {"ratios": ratios, "cheats": cheats, "aims": aims}


def compare_ways(lines: list[Line]) -> list[dict[str, Any]]:
    """Compressed rounds against each other way, by members: mean, least and most over seeds."""
    found: dict[tuple[str, int, int], Line] = {(line["name"], line["members"], line["seed"]): line for line in lines}
    rows = []
    for members in sorted({line["members"] for line in lines if line["name"] == "compressed"}):
        for way in WAYS:
            pairs = [
                (line, found[other])
                for (name, many, seed), line in sorted(found.items())
                if (name, many) == ("compressed", members)
                and (other := (way, 1 if way == "one machine" else members, seed)) in found
            ]
            if pairs:
                rows.append(describe_pairs(members, way, pairs))
    return rows


def describe_pairs(members: int, way: str, pairs: list[tuple[Line, Line]]) -> dict[str, Any]:
    """One row of ratios."""
    ratios = [ours["bits_per_byte"] / other["bits_per_byte"] for ours, other in pairs]
    row = {"members": members, "against": way, "ratio": fmean(ratios), "least": min(ratios), "most": max(ratios)}
    if way.startswith("dense"):
        row["saved"] = min(other["sent_bytes"] / ours["sent_bytes"] for ours, other in pairs)
    return row


def compare_cheats(lines: list[Line]) -> list[dict[str, Any]]:
    """Each set of cheats against the five honest members alone, and the plain mean beside it, seed by seed."""
    found: dict[tuple[str, int], Line] = {(line["name"], line["seed"]): line for line in lines}
    rows = []
    for (name, seed), line in found.items():
        clean = found.get(("nobody", seed))
        if clean and line["way"] == "network" and line["cheats"]:
            mean = found.get((f"{name}, plain mean", seed))
            rows.append(
                {
                    "name": name,
                    "seed": seed,
                    "ratio": line["bits_per_byte"] / clean["bits_per_byte"],
                    "mean_ratio": mean and mean["bits_per_byte"] and mean["bits_per_byte"] / clean["bits_per_byte"],
                    "diverged": mean and mean["diverged"],
                    "taken": taken(line),
                    "earned": earned(line),
                    "share": share(line),
                    "rounds": len(line["history"]),
                }
            )
    return rows


def taken(line: Line) -> dict[str, list[int]]:
    """The rounds, from 1, in which each cheat was accepted."""
    rounds = list(enumerate(line["history"], 1))
    return {uid: [number for number, round_ in rounds if int(uid) in round_["accepted"]] for uid in line["cheats"]}


def earned(line: Line) -> dict[str, int]:
    """What each cheat's updates of later rounds than `PAID_UNTIL` added to its sum, 10^-9 bits per byte.

    An update counts one round after it was sent.
    """
    part, whole = DECAY
    sums = [round_["sums"] for round_ in line["history"]]
    later = range(PAID_UNTIL + 1, len(sums))
    return {
        uid: sum(sums[at].get(uid, 0) - sums[at - 1].get(uid, 0) * part // whole for at in later)
        for uid in line["cheats"]
    }


def share(line: Line) -> dict[str, float]:
    """Each cheat's part of all sums after the last round."""
    sums = line["history"][-1]["sums"]
    total = sum(sums.values()) or 1
    return {uid: sums.get(uid, 0) / total for uid in line["cheats"]}
