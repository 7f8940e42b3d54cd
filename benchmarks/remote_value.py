"""What does the rule of value pay to remote peers, and to who copies them or crowds them?

The six small models of `attacks.py` learn from the standard library's text over twelve epochs; coder answers from
elsewhere and publishes nothing, the others are hosted. In each scenario the epochs are played again, by the network's
own rule, with somebody beside or in place of coder. Who copies a remote peer knows what it answers today, exactly: more
than anybody could who does not stand behind it.

What bounds the figures: 18,432 events an epoch.

Run: `python benchmarks/remote_value.py [--only NAME …]`. Models come from `build/attacks`, where `attacks.py` leaves
them, or are trained there. Exit code 1 if an aim is missed.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import msgspec  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.attacks_models import noised, speak  # noqa: E402
from benchmarks.attacks_replay import Publication, Standing, event_columns, next_standing  # noqa: E402
from benchmarks.attacks_scenario import ADA, CODER, FIRST_ATTACKER, collective_of, honest  # noqa: E402
from benchmarks.attacks_world import Settings, Version, World  # noqa: E402
from benchmarks.record import write_record  # noqa: E402
from models.host.architectures import build_model  # noqa: E402
from models.value.round import BASELINE_UID, Round  # noqa: E402
from models.value.valuation import evaluate  # noqa: E402

FOLDER = ROOT / "build" / "attacks"
LARGEST = 0.01
"""Of all pay: what a copy may get, and by which an honest peer's share may move."""
SWARM = 16
FIRST_EPOCH = 2
"""From which pay is compared."""
TURN = 6
"""The epoch in which somebody changes their ways."""

Pay = Mapping[int, Mapping[int, float]]
"""By epoch, then by uid, of sum 1 in an epoch."""
Speaking = Callable[[World, int, Standing], Sequence[Publication]]


def hosted_but_coder(world: World, epoch: int, standing: Standing) -> Sequence[Publication]:
    """What the honest publish."""
    return [one for one in honest(world, epoch, standing) if one.uid != CODER]


def coder_answers(world: World, epoch: int, standing: Standing) -> Sequence[Publication]:
    """Coder, as it has trained."""
    return [Publication(CODER, world.version(CODER, epoch))]


@dataclass(frozen=True)
class Network:
    """Who publishes, and who answers from elsewhere, in order of registration."""

    publish: Speaking = hosted_but_coder
    answer: Speaking = coder_answers


@dataclass(frozen=True)
class Scenario:
    """A network, the one that it is compared with, and whose pay is looked at.

    kind: copy (should get nothing, and move nobody), plot (should get no more than in the other network), shown.
    """

    name: str
    kind: str
    what: str
    network: Network
    without: Network = Network()
    actors: tuple[int, ...] = (FIRST_ATTACKER,)


def replay(world: World, network: Network) -> Pay:
    """Each epoch's pay. Who once answered from elsewhere and is silent is not voted for."""
    accounts, standing, pay, remote_uids = dict[int, int](), Standing(), {}, set[int]()
    for epoch in range(1, world.settings.epochs + 1):
        known = {member.version.name for member in standing.members}
        remotes = list(network.answer(world, epoch, standing))
        new = [one for one in network.publish(world, epoch, standing) if one.version.name not in known]
        remote_uids |= {one.uid for one in remotes}
        silent = remote_uids - {one.uid for one in (*remotes, *new)}
        rows = [*standing.members, *remotes, *new]
        of_rows = np.array([BASELINE_UID, *(row.uid for row in rows)], np.int32)
        place_N = np.arange(of_rows.size)
        members = len(standing.members)
        round_ = Round(
            matrix_NM=np.stack([world.row(world.baseline, epoch), *(world.row(row.version, epoch) for row in rows)]),
            manifests=(bytes(32), *(name_hash(row.version) for row in rows)),
            uid_N=of_rows,
            member_N=place_N <= members,
            new_N=place_N > members + len(remotes),
            remote_N=(place_N > members) & (place_N <= members + len(remotes)),
            **event_columns(world, epoch, 1),
        )
        valuation = evaluate(round_, accounts, ({*of_rows.tolist(), *accounts} - silent) - {BASELINE_UID})
        accounts, votes = valuation.books.accounts, valuation.books.votes
        pay[epoch] = {uid: vote / sum(votes.values()) for uid, vote in votes.items()}
        standing = next_standing(rows, valuation.collective)
    return pay


def name_hash(version: Version) -> bytes:
    """What stands for a version where a manifest does."""
    return hashlib.blake2b(version.name.encode(), digest_size=32).digest()


def share(pay: Pay, uids: Sequence[int]) -> float:
    """The part of all pay that some uids got, from the first epoch that is compared."""
    return float(np.mean([sum(of.get(uid, 0.0) for uid in uids) for epoch, of in pay.items() if epoch >= FIRST_EPOCH]))


def beside(make: Callable[[World, int, Standing, int], Version], size: int = 1, *, first: bool = False) -> Network:
    """Others who answer from elsewhere from the second epoch on, registered after coder or before it."""

    def answer(world: World, epoch: int, standing: Standing) -> Sequence[Publication]:
        others = [
            Publication(FIRST_ATTACKER + number, make(world, epoch, standing, number))
            for number in range(size if epoch >= FIRST_EPOCH else 0)
        ]
        coder = list(coder_answers(world, epoch, standing))
        return [*others, *coder] if first else [*coder, *others]

    return Network(answer=answer)


def publishing(make: Callable[[World, int], Version]) -> Network:
    """Somebody publishes, before the honest do."""

    def publish(world: World, epoch: int, standing: Standing) -> Sequence[Publication]:
        return [Publication(FIRST_ATTACKER, make(world, epoch)), *hosted_but_coder(world, epoch, standing)]

    return Network(publish=publish)


def noisy_coder(world: World, epoch: int, seed: int = 0) -> Version:
    """What coder answers today, from weights with 2 % noise."""
    model = noised(world.model(CODER, epoch), 0.02, 100 * epoch + seed)
    return Version(f"noisy-coder-{epoch}-{seed}", speak(model))


def noisy_ada(world: World, epoch: int, number: int) -> Version:
    """Ada's last version, which anybody may read by now, with 5 % noise."""
    model = noised(world.model(ADA, epoch - 1), 0.05, 1000 * epoch + number)
    return Version(f"noisy-ada-{epoch}-{number}", speak(model))


def mixture(epoch: int, standing: Standing) -> Version:
    """What the collective says, as the last close block weighs it."""
    return Version(f"mixture-{epoch}", collective_of(standing))


def untrained(world: World, number: int) -> Version:
    """A model that learnt nothing."""
    return Version(f"untrained-{number}", speak(build_model(world.settings.peers[ADA].architecture, 5000 + number)))


def coder_if(answers: Callable[[int], bool], otherwise: Speaking = lambda world, epoch, standing: ()) -> Speaking:
    """Coder in some epochs, and in the others something else."""
    return lambda world, epoch, standing: (coder_answers if answers(epoch) else otherwise)(world, epoch, standing)


def random_in_place(world: World, epoch: int, standing: Standing) -> Sequence[Publication]:
    """An untrained model behind coder's endpoint."""
    return [Publication(CODER, untrained(world, 0))]


def left_as_it_is(world: World, epoch: int, standing: Standing) -> Sequence[Publication]:
    """Coder with the last version before the turn."""
    return [Publication(CODER, world.version(CODER, TURN - 1))]


def sell_coder(world: World, epoch: int, standing: Standing) -> Sequence[Publication]:
    """In the turn's epoch an accomplice publishes what coder was about to answer."""
    sold = [Publication(FIRST_ATTACKER, world.version(CODER, epoch))] if epoch == TURN else []
    return [*sold, *hosted_but_coder(world, epoch, standing)]


def turn_remote(world: World, epoch: int, standing: Standing) -> Sequence[Publication]:
    """Coder is hosted until the turn."""
    return honest(world, epoch, standing) if epoch < TURN else hosted_but_coder(world, epoch, standing)


def scenarios() -> list[Scenario]:
    """All of them."""
    return [*copies(), *plots(), *shown()]


def copies() -> list[Scenario]:
    """Who knows nothing of its own."""
    swarm = tuple(range(FIRST_ATTACKER, FIRST_ATTACKER + SWARM))
    return [
        Scenario("remote_copy", "copy", "answers exactly as coder does", beside(lambda w, e, s, n: coder_now(w, e))),
        Scenario(
            "remote_noised",
            "copy",
            "answers from coder's weights of today with 2 % noise",
            beside(lambda w, e, s, n: noisy_coder(w, e)),
        ),
        Scenario(
            "remote_ensemble",
            "copy",
            "registered before coder, answers as the collective's heaviest members, mixed",
            beside(lambda w, e, s, n: mixture(e, s), first=True),
        ),
        Scenario(
            "remote_swarm",
            "copy",
            f"{SWARM} identities, registered before coder, ada's last version with 5 % noise, each its own",
            beside(lambda w, e, s, n: noisy_ada(w, e, n), SWARM, first=True),
            actors=swarm,
        ),
        Scenario(
            "remote_untrained",
            "copy",
            f"{SWARM} untrained models, registered before coder",
            beside(lambda w, e, s, n: untrained(w, n), SWARM, first=True),
            actors=swarm,
        ),
        Scenario("student", "copy", "publishes what coder answers today", publishing(coder_now)),
        Scenario(
            "student_noised",
            "copy",
            "publishes coder's weights of today with 2 % noise",
            publishing(lambda w, e: noisy_coder(w, e)),
        ),
    ]


def plots() -> list[Scenario]:
    """Who knows something and wants more for it."""
    return [
        Scenario(
            "now_and_then",
            "plot",
            "coder answers in every second epoch only",
            Network(answer=coder_if(lambda epoch: epoch % 2 == 0)),
            actors=(CODER,),
        ),
        Scenario(
            "random_for_good",
            "plot",
            "an untrained model behind coder's endpoint from the sixth epoch on, against its model left as it is",
            Network(answer=coder_if(lambda epoch: epoch < TURN, random_in_place)),
            Network(answer=coder_if(lambda epoch: epoch < TURN, left_as_it_is)),
            actors=(CODER,),
        ),
        Scenario(
            "turned_remote",
            "plot",
            "coder is hosted, and from the sixth epoch on remote, against hosted throughout",
            Network(turn_remote, coder_if(lambda epoch: epoch >= TURN)),
            Network(honest, lambda world, epoch, standing: ()),
            actors=(CODER,),
        ),
    ]


def shown() -> list[Scenario]:
    """What the rule is known to pay."""
    return [
        Scenario(
            "sold",
            "shown",
            "coder is silent in the sixth epoch, in which an accomplice publishes what it would have answered",
            Network(sell_coder, coder_if(lambda epoch: epoch != TURN)),
            actors=(CODER, FIRST_ATTACKER),
        ),
        Scenario(
            "remote_or_hosted",
            "shown",
            "coder remote, against coder hosted",
            Network(),
            Network(honest, lambda world, epoch, standing: ()),
            actors=(CODER,),
        ),
    ]


def coder_now(world: World, epoch: int) -> Version:
    """What coder answers today."""
    return world.version(CODER, epoch)


def describe(world: World, scenario: Scenario, before: Pay) -> dict[str, Any]:
    """A scenario's line of the record; before: the pay without what happens in it."""
    after = replay(world, scenario.network)
    others = [uid for uid in range(len(world.settings.peers)) if uid not in scenario.actors]
    peers = {world.settings.peers[uid].name: [share(before, [uid]), share(after, [uid])] for uid in others}
    line: dict[str, Any] = {
        "name": scenario.name,
        "kind": scenario.kind,
        "what": scenario.what,
        "share": share(after, scenario.actors),
        "share_without": share(before, scenario.actors),
        "others": peers,
        "largest_move": max(abs(now - was) for was, now in peers.values()),
    }
    holds = {
        "copy": line["share"] <= LARGEST and line["largest_move"] <= LARGEST,
        "plot": line["share"] <= line["share_without"] + LARGEST,
    }
    return line | {"holds": holds.get(scenario.kind)}


def main() -> None:
    """Play scenarios, print a line each, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="scenarios by name; nothing is recorded")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    world, lines, played = World(FOLDER, Settings()), [], dict[Network, Pay]()
    for scenario in scenarios():
        if only and scenario.name not in only:
            continue
        if scenario.without not in played:
            played[scenario.without] = replay(world, scenario.without)
        line = describe(world, scenario, played[scenario.without])
        lines.append(line)
        aim = {True: "holds", False: "MISSED", None: "-"}[line["holds"]]
        print(
            f"{line['name']:18s} {line['kind']:6s} share {line['share']:8.4%} (without {line['share_without']:8.4%})  "
            f"largest move {line['largest_move']:7.4%}  {aim}",
            file=sys.stderr,
            flush=True,
        )
    if not only:
        write_record("remote_value", msgspec.to_builtins(world.settings), {"scenarios": lines})
    if any(line["holds"] is False for line in lines):
        sys.exit(1)


if __name__ == "__main__":
    main()
