"""What does the rule of value pay to attackers, and what to the honest whom they attack?

Six small models of four architectures learn from the standard library's text over twelve epochs. In each scenario the
epochs are played again, by the network's own rule, with somebody beside or in place of an honest peer; what an attacker
publishes is a model that was really changed, and its rows come from scoring held-out text. An attacker reads a version
from the epoch on in which that is valued, so it copies the last one.

What bounds the figures: 18,432 events an epoch. What truly adds under about 0.002 bits a byte is not told from luck.

Run: `python benchmarks/attacks.py [--only NAME …] [--epochs 12] [--seed 1] [--json]`. Models and finished lines stay
under `build/attacks`, so a run that was cut off goes on; remove the folder to begin anew. The record has every finished
line; other seeds and numbers of epochs are printed only. Exit code 1 if an aim is missed.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import msgspec  # noqa: E402
import torch  # noqa: E402

from benchmarks.attacks_copies import copies  # noqa: E402
from benchmarks.attacks_honest import newcomers  # noqa: E402
from benchmarks.attacks_idle import FEW_WINDOWS, idle_settings, idle_swarm, idle_swarm_few_events  # noqa: E402
from benchmarks.attacks_outcome import describe  # noqa: E402
from benchmarks.attacks_plots import limits, plots  # noqa: E402
from benchmarks.attacks_replay import Plan, Replay, replay  # noqa: E402
from benchmarks.attacks_scenario import HONEST, Scenario  # noqa: E402
from benchmarks.attacks_world import Settings, World  # noqa: E402
from benchmarks.record import write_record  # noqa: E402

FOLDER = ROOT / "build" / "attacks"


class Table:
    """Scenarios of one world; the network that a scenario is compared with is played once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._played: dict[int, tuple[Plan, Replay]] = {}

    def play(self, plan: Plan) -> Replay:
        """A plan's replay, kept."""
        if id(plan) not in self._played:
            self._played[id(plan)] = plan, replay(self.world, plan)
        return self._played[id(plan)][1]

    def path(self, scenario: Scenario) -> Path:
        """Where its line stays."""
        return self.world.kept / "lines" / f"{scenario.name}.json"

    def line(self, scenario: Scenario) -> dict[str, Any]:
        """A scenario's line, with the processor time it took beyond what was at hand; kept for a run that goes on."""
        kept = self.path(scenario)
        if not kept.exists():
            before = self.play(scenario.without)
            started = time.process_time()
            line = describe(self.world, scenario, before, replay(self.world, scenario.plan))
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(line | {"seconds": round(time.process_time() - started, 1)}))
        found: dict[str, Any] = json.loads(kept.read_text())
        return found


def scenarios(table: Table, seed: int) -> Iterator[tuple[Table, Scenario]]:
    """Each scenario with the table of its world."""
    yield from ((table, scenario) for scenario in [*copies(), *plots(), *newcomers(), *limits()])
    for windows, scenario in ((table.world.settings.windows, idle_swarm()), (FEW_WINDOWS, idle_swarm_few_events())):
        yield Table(World(FOLDER, idle_settings(seed, windows))), scenario


def describe_network(world: World, honest: Replay) -> dict[str, Any]:
    """The honest network, epoch by epoch."""
    names = [peer.name for peer in world.settings.peers]
    last = world.settings.epochs
    return {
        "strata": world.corpus.strata,
        "bits_per_byte": {
            name: [-float(world.row(world.version(uid, epoch), epoch).mean()) / 1024 for epoch in range(1, last + 1)]
            for uid, name in enumerate(names)
        },
        "epochs": [
            {
                "gain": epoch.gain,
                "collective_bits_per_byte": epoch.collective_bits_per_byte,
                "members": epoch.members,
                "pay": {name: epoch.pay.get(uid, 0.0) for uid, name in enumerate(names)},
                "new_bits": {name: epoch.new_bits.get(uid, 0.0) for uid, name in enumerate(names)},
            }
            for epoch in honest.epochs.values()
        ],
    }


def show(line: dict[str, Any]) -> str:
    """A line for a person."""
    aim = {True: "holds", False: "MISSED", None: "-"}[line["holds"]]
    return (
        f"{line['name']:24s} {line['kind']:6s} share {line['share']:8.4%} (without {line['share_without']:7.3%})  "
        f"adds {line['true_increment']['mean']:+.5f}  largest move {line['largest_move']:7.4%}  {aim}  "
        f"{line['seconds']} s"
    )


def main() -> None:
    """Play scenarios, print a line each, and write the record of all that are finished."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="scenarios by name")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="only the JSON record on standard output")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings(epochs=arguments.epochs, seed=arguments.seed)
    table = Table(World(FOLDER, settings))
    lines = []
    for at, scenario in scenarios(table, arguments.seed):
        if not arguments.only or scenario.name in arguments.only:
            print(show(at.line(scenario)), file=sys.stderr, flush=True)
        if at.path(scenario).exists():
            lines.append(at.line(scenario))
    measured = {"network": describe_network(table.world, table.play(HONEST)), "scenarios": lines}
    if settings == Settings():
        write_record("attacks", msgspec.to_builtins(settings), measured)
    else:
        print(json.dumps(measured))
    if any(line["holds"] is False for line in lines):
        sys.exit(1)


if __name__ == "__main__":
    main()
