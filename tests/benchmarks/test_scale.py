"""The simulation of large networks: a small one, whole, and what it promises of itself."""

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actors.dispatch import Reason, Task
from benchmarks.simulate.exponents import exponent, exponents_of
from benchmarks.simulate.latencies import Call, Latencies, read_latencies
from benchmarks.simulate.network import Size, simulated
from benchmarks.simulate.peers import SLOW, Peer, Temper, keypair_of, make_peers
from benchmarks.simulate.pool import SimulatedPool
from cluster.config import Deadlines, Placement, Questions
from cluster.place.plan import plan_epoch
from cluster.questions import answers_by_validator, ask_hosts
from cluster.run import Work
from cluster.show import Quiet
from ledger.store.replay import verify

EVEN = Latencies(
    parameters=100,
    tokens=128,
    calls=(Call(versions=1, windows=10, check_s=0.0, score_s=1.0, sign_s=0.0),),
    read_s=(0.0,),
    draw_s=(0.0,),
    driver_s=0.001,
)
"""A window of a model of 100 parameters takes a tenth of a second."""


def ask(tempers: list[Temper], *, hosts: int, validators: int = 2, windows: int = 20, **changed: Any) -> Any:
    peers = [
        Peer(f"peer-{index}", keypair_of(f"peer-{index}"), 0, 100, 1e-4, temper) for index, temper in enumerate(tempers)
    ]
    versions = {peer.version(1): peer for peer in peers}
    questions = Questions(windows=windows, request=10)
    placement = Placement(hosts=hosts, stack=1)
    plan = plan_epoch([p.wanted(v) for v, p in versions.items()], {}, hosts, capacity_bytes=1 << 30, most=1)
    pool = SimulatedPool(versions, changed.pop("latencies", EVEN), Random(1))
    network = SimpleNamespace(query=questions, placement=placement, deadlines=Deadlines(**changed))
    run: Any = SimpleNamespace(network=network, crew=SimpleNamespace(pool=pool, hosts=hosts), show=Quiet())
    text_WT = np.zeros((windows, questions.window_bytes), dtype=np.uint8)
    queries: Any = {f"validator-{index}": SimpleNamespace(text_WT=text_WT) for index in range(validators)}
    work = Work(1, queries=queries)
    work.scored = ask_hosts(run, work, plan, {}, [])
    return versions, work, pool.facts


def test_hosts_share_the_work_and_the_clock_is_theirs() -> None:
    _, _, alone = ask([Temper.SOUND] * 4, hosts=1)
    versions, work, facts = ask([Temper.SOUND] * 4, hosts=4)
    assert not work.scored.failures
    assert facts.calls == alone.calls == len(versions) * 4
    assert 16.0 <= alone.seconds < 16.1
    assert 4.0 <= facts.seconds < 4.1
    assert sum(facts.busy_s.values()) == pytest.approx(16.0)


def test_whoever_waits_waits_for_the_driver_where_it_is_slow() -> None:
    slow = Latencies(**{name: getattr(EVEN, name) for name in EVEN.__struct_fields__} | {"driver_s": 1.0})
    _, _, facts = ask([Temper.SOUND] * 4, hosts=4, latencies=slow)
    assert facts.seconds > 15
    assert facts.lag_s >= 2
    assert facts.driver_s == facts.calls


def test_what_is_wrong_with_a_peer_costs_the_peer_alone() -> None:
    tempers = [Temper.SOUND, Temper.SLOW, Temper.HANGING, Temper.POISON, Temper.BROKEN, Temper.SOUND]
    versions, work, facts = ask(tempers, hosts=3, query_s=10_000.0)
    reasons = {versions[version].temper: failure.reason for version, failure in work.scored.failures.items()}
    assert reasons == {
        Temper.HANGING: Reason.LATE,
        Temper.POISON: Reason.DEAD,
        Temper.BROKEN: Reason.INVALID,
    }
    assert facts.kills >= 1
    assert facts.crashes >= 2
    assert facts.seconds >= 4 * SLOW


def test_the_time_for_everything_ends_it() -> None:
    _, work, facts = ask([Temper.SOUND] * 8, hosts=1, query_s=5.0)
    assert work.scored.failures
    assert facts.seconds <= 6.1


def test_each_validator_gets_the_answers_to_all_of_its_query_and_few_others() -> None:
    versions, work, _ = ask([Temper.SOUND] * 3, hosts=2, validators=3, windows=15)
    work.scored.payloads = {task: (task,) for task in work.scored.payloads}
    answers: dict[str, list[Any]] = answers_by_validator(work)
    for place, tasks in enumerate(answers.values()):
        assert {task.key for task in tasks} == set(versions)
        assert {task for task, queries in work.about.items() if place in queries} == set(tasks)
    assert sum(map(len, answers.values())) < len(answers) * len(work.scored.payloads)
    work.scored.payloads[Task(b"remote")] = (Task(b"remote"),)
    assert all(Task(b"remote") in tasks for tasks in answers_by_validator(work).values())


def test_a_small_network_closes_its_epochs_on_a_real_ledger(tmp_path: Path) -> None:
    with simulated(Size(peers=100, validators=4, windows=16), tmp_path, read_latencies(), seed=2) as network:
        first, second = network.epoch(1), network.epoch(2)
        assert network.ledger.replica.head.height == 6
        assert network.ledger.replica.state.neuron(20).published_epoch == 2
    verified = verify(tmp_path / "chain.db")
    assert (verified.epoch, verified.final_height) == (2, 6)
    assert verified.minted_rao == 2 * 360 * 10**9
    assert {"poison", "hanging", "broken", "slow", "sound"} <= set(first.answered)
    assert first.answered["sound"] == first.answered["slow"] == 1
    assert first.pay["poison"] == first.pay["hanging"] == first.pay["broken"] == 0
    assert first.pay["slow"] == pytest.approx(1, abs=0.1)
    assert len(second.answered) < len(first.answered), "newcomers took the places of who earned nothing"
    assert second.size_bytes["open block"] > 100 * 100


def test_the_same_seed_gives_the_same_peers_and_events() -> None:
    once, again = (
        [(peer.keypair.public, peer.shape, peer.bits, peer.temper) for peer in make_peers(200, Random(3))]
        for _ in range(2)
    )
    assert once == again
    tempers = [Temper.SOUND, Temper.POISON, Temper.SLOW]
    assert ask(tempers, hosts=2)[2].seconds == ask(tempers, hosts=2)[2].seconds


def test_exponents_are_of_steps_that_take_time_between_sizes_that_differ_in_one() -> None:
    runs = [
        {"size": {"peers": peers, "validators": validators}, "cpu_s": {"seal": peers * validators, "view": 1e-5}}
        for peers, validators in ((100, 4), (1000, 4), (1000, 16))
    ]
    assert exponent(1, 100, 10) == 2
    assert exponents_of(runs) == {
        "peers": {"seal": {"100 to 1,000, 4 validators": 1.0}},
        "validators": {"seal": {"4 to 16, 1,000 peers": 1.0}},
    }
