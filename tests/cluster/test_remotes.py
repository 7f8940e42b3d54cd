"""The epoch's side of remote peers, with a gateway that dies or hangs: nobody is left without a reason, and it is back
for the next epoch.
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from actors.dispatch import Failure, Reason
from actors.gateway import Gateway, GatewaySettings, Target
from actors.keeper import View
from actors.rows import Row
from actors.seam import Handle, start_actor
from actors.wire import Query, sign_query
from cluster.config import load_network
from cluster.founding import found
from cluster.home import Home
from cluster.place.crew import Crew
from cluster.place.ray import joined_ray
from cluster.remotes import ask_remotes, collect_remotes, find_targets
from cluster.run import Run, Work
from cluster.show import Quiet
from ledger.entries import NEVER, Collective, Neuron
from ledger.keys import Keypair
from ledger.state import Supply

pytestmark = pytest.mark.cluster

ENDPOINT = "http://127.0.0.1:9/"


class Faulty(Gateway):
    """A gateway that does what the epoch says: dies in epoch 1, hangs in epoch 2, works later."""

    def ask(self, targets: Sequence[Target], deadline_s: float, *queries: Query) -> list[Any]:
        """By the queries' epoch."""
        if queries[0].epoch == 1:
            os._exit(1)
        if queries[0].epoch == 2:
            time.sleep(3600)
        return super().ask(targets, deadline_s, *queries)


def only(kind: type, **fields: object) -> Any:
    """An instance of which nothing else is looked at."""
    return kind(**dict.fromkeys(kind.__dataclass_fields__) | fields)


def make_view(*remotes: int) -> View:
    neurons = tuple(
        Neuron(
            uid=uid,
            name=f"n{uid}",
            hotkey=bytes([uid]) * 32,
            coldkey=bytes(32),
            registered_at=0,
            registered_epoch=0,
            last_update=0,
            permit=False,
            revealed_epoch=NEVER,
            endpoint=ENDPOINT,
        )
        for uid in range(4)
    )
    rows = (
        Row(b"m" * 32, 0, member=True, new=False, present=True),
        *(Row(bytes([uid]) * 32, uid, False, False, True, remote=True) for uid in remotes),
    )
    return View(
        neurons=neurons,
        stakes_rao=(0,) * 4,
        rows=rows,
        supply=Supply(0, 0, 0, 0, 0, 0),
        previous_close_hash=bytes(32),
        close_hash=bytes(32),
        cohorts={},
        contributions={},
        collective=Collective(strata=(), members=()),
    )


@pytest.fixture(scope="module")
def run(tiny_toml: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    home = Home(tmp_path_factory.mktemp("home"))
    network = load_network(tiny_toml, ["query.panel=next_byte", "query.windows=512", "remote.deadline_s=1.0"])
    genesis = found(network, home)
    with joined_ray("local", genesis.hash.hex(), Quiet()):
        settings = GatewaySettings(wallets=str(home.wallets), operator="operator", at_once=4, allow_private=True)
        gateway: Handle = start_actor(Faulty, settings, name="gateway")
        ray.get(gateway.ping.remote(), timeout=60)
        crew = only(Crew, gateway=gateway)
        yield only(Run, network=network, home=home, genesis=genesis, crew=crew, show=Quiet())


def test_targets_are_the_remote_rows() -> None:
    assert find_targets(make_view()) == ()
    assert find_targets(make_view(3, 1)) == (Target(bytes([3]) * 32, ENDPOINT), Target(bytes([1]) * 32, ENDPOINT))


def test_a_gateway_that_dies_or_hangs_costs_the_remote_peers_one_epoch(run: Run) -> None:
    view = make_view(1, 2)
    for epoch, said in ((1, "gateway died"), (2, "gateway"), (3, "cannot be reached")):
        query = sign_query(
            Keypair.generate(),
            genesis=run.genesis.hash,
            epoch=epoch,
            panel="next_byte",
            text_WT=np.zeros((2, 8), np.uint8),
        )
        work = Work(epoch)
        collect_remotes(run, work, ask_remotes(run, view, [ray.put(query)]))
        assert {*work.scored.failures} == {bytes([1]) * 32, bytes([2]) * 32}
        assert not work.scored.payloads
        for failure in work.scored.failures.values():
            assert isinstance(failure, Failure)
            assert failure.reason == Reason.DEAD
            assert said in failure.sentence
        wait_until_it_is_back(run.crew.gateway)


def wait_until_it_is_back(gateway: Handle) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            ray.get(gateway.ping.remote(), timeout=10)
            return
        except ray.exceptions.RayError:
            time.sleep(0.2)
    pytest.fail("the gateway did not come back")


def test_nobody_is_asked_where_there_is_nobody_or_nothing_to_ask(run: Run) -> None:
    assert ask_remotes(run, make_view(), ["a query"]) is None
    assert ask_remotes(run, make_view(1), []) is None
    work = Work(1)
    collect_remotes(run, work, None)
    assert not work.scored.failures
