"""What came of a scenario: who was paid, who lost, what was truly added, and whether the aim was met.

Invariants: a share of pay is a mean over the scenario's epochs; victims are the honest peers that take no part in the
plot; an increment is out of fold and in bits per byte.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.attacks_replay import Epoch, Publication, Replay, lay_round, true_increment
from benchmarks.attacks_scenario import Scenario
from benchmarks.attacks_world import REFERENCE_DRAW, World
from models.value.accounts import Books
from models.value.round import UNITS_PER_BIT
from models.value.valuation import evaluate

LARGEST_SHARE = 0.01
"""What a copy may get of all pay, and a plot beyond honest conduct."""
LARGEST_MOVE = 0.01
"""Of all pay, by which a victim's share may move."""
VALIDATORS = 4
MOST_INCREMENTS = 12
WITHIN = 0.2
"""How far an honest improvement's pay may be from its share of the new bits."""


def describe(world: World, scenario: Scenario, before: Replay, after: Replay) -> dict[str, Any]:
    """The scenario's line of the record."""
    epochs = [epoch for epoch in after.epochs if epoch >= scenario.first]
    honest = [uid for uid in range(len(world.settings.peers)) if uid not in scenario.actors]
    victims = {
        world.settings.peers[uid].name: [before.share([uid], epochs), after.share([uid], epochs)] for uid in honest
    }
    line: dict[str, Any] = {
        "name": scenario.name,
        "kind": scenario.kind,
        "what": scenario.what,
        "identities": len(scenario.actors),
        "epochs": len(epochs),
        "share": after.share(scenario.actors, epochs),
        "last_share": after.share(scenario.actors, epochs[-1:]),
        "share_without": before.share(scenario.actors, epochs),
        "credit_bits": sum(after.credit(uid, list(after.epochs)) for uid in scenario.actors),
        "true_increment": increments(scenario, after),
        "tried": sum(len(tried(scenario, epoch)) for epoch in after.epochs.values()),
        "admitted": sum(len(epoch.admitted & set(scenario.actors)) for epoch in after.epochs.values()),
        "victims": victims,
        "largest_move": max(abs(now - was) for was, now in victims.values()),
        "collective_bits_per_byte": [
            replayed.epochs[epochs[-1]].collective_bits_per_byte for replayed in (before, after)
        ],
    }
    if scenario.kind == "honest":
        line["newcomers"] = newcomers(world, scenario, after)
    return line | {"holds": holds(line)}


def tried(scenario: Scenario, epoch: Epoch) -> set[int]:
    """Which of the scenario's uids published something new."""
    return set(epoch.round_.uid_N[epoch.round_.new_N].tolist()) & set(scenario.actors)


def increments(scenario: Scenario, after: Replay) -> dict[str, float]:
    """What the actors' versions added to everything else, in the epochs in which they published from the scenario's
    first on (before it, where they never did again): in a dozen of them where there are hundreds."""
    every = [(number, epoch) for number, epoch in after.epochs.items() if tried(scenario, epoch)]
    published = [epoch for number, epoch in every if number >= scenario.first] or [epoch for _, epoch in every]
    looked_at = published[:: -(-len(published) // MOST_INCREMENTS)]
    bits = [true_increment(epoch.round_, frozenset(scenario.actors)) for epoch in looked_at]
    return {"mean": float(np.mean(bits)), "least": min(bits), "most": max(bits)}


def newcomers(world: World, scenario: Scenario, after: Replay) -> dict[str, Any]:
    """Of the epoch of arrival: each newcomer's part of the credit, the mean of four validators that draw their own
    windows, and its part of the new bits on four times as much other text, without clones."""
    epoch = after.epochs[scenario.first]
    honest = {*range(len(world.settings.peers)), *scenario.actors}
    rows = [row for number, row in enumerate(epoch.rows) if number < epoch.members or row.uid in honest]
    reference = books_of(world, scenario, REFERENCE_DRAW, rows, epoch.members).new_bits
    draws = [scenario.first, *(-scenario.first - number for number in range(1, VALIDATORS))]
    books = [books_of(world, scenario, draw, epoch.rows, epoch.members) for draw in draws]
    paid = [[one.credits.get(uid, 0) / max(1, sum(one.credits.values())) for one in books] for uid in scenario.actors]
    worth = [max(0, reference[uid]) / sum(max(0, bits) for bits in reference.values()) for uid in scenario.actors]
    mine = [row.version for row in epoch.rows if row.uid in scenario.actors]
    return {
        "part_of_credit": [float(np.mean(each)) for each in paid],
        "part_of_credit_by_validator": [sum(each) for each in zip(*paid, strict=True)],
        "part_of_new_bits": worth,
        "paid_over_worth": float(np.sum([np.mean(each) for each in paid])) / sum(worth),
        "bits_per_byte": [-float(world.row(version, scenario.first).mean()) / UNITS_PER_BIT for version in mine],
    }


def books_of(world: World, scenario: Scenario, draw: int, rows: Sequence[Publication], members: int) -> Books:
    """What a validator that drew these windows would book."""
    return evaluate(lay_round(world, draw, scenario.plan, rows, members), {}, ()).books


def holds(line: dict[str, Any]) -> bool | None:
    """Whether the aim for this kind was met; None where there is none."""
    if line["kind"] == "copy":
        return bool(line["share"] <= LARGEST_SHARE and line["largest_move"] <= LARGEST_MOVE)
    if line["kind"] == "plot":
        return bool(line["share"] <= line["share_without"] + LARGEST_SHARE)
    if line["kind"] == "honest":
        return bool(abs(line["newcomers"]["paid_over_worth"] - 1) <= WITHIN)
    return None
