"""Faults on a running network: killed hosts, and peers that crash, hang or answer nonsense."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

import taoray
from actors.host import Host, ScoreRequest
from actors.wire import Query, sign_answer
from cluster.config import load_network
from cluster.driver import run_network
from cluster.founding import found
from cluster.home import Home
from cluster.report import EpochRecord
from cluster.show import Quiet

pytestmark = pytest.mark.cluster


class KillsHosts(Quiet):
    """Kills a host's process as soon as an epoch's questions are asked."""

    def __init__(self) -> None:
        self.records: list[EpochRecord] = []
        self.killed: list[int] = []

    def step(self, sentence: str, total: int = 0) -> None:
        """Kill when the questions begin, another host each epoch."""
        if sentence.startswith("asking"):
            host = ray.get_actor(f"host-{len(self.killed) % 2}")
            process = ray.get(host.ping.remote(), timeout=30)
            os.kill(process, signal.SIGKILL)
            self.killed.append(process)

    def epoch(self, record: EpochRecord) -> None:
        """Keep the record."""
        self.records.append(record)


def test_killed_hosts_cost_no_epoch(tiny_toml: Path, small_text: str, tmp_path: Path) -> None:
    show = KillsHosts()
    run_network(load_network(tiny_toml, [small_text]), Home(tmp_path), epochs=3, show=show)
    assert len(set(show.killed)) == 3
    assert [record.epoch for record in show.records] == [1, 2, 3]
    for record in show.records:
        assert record.final
        assert record.minted_rao == 360 * 10**9
        for neuron in record.neurons:
            assert neuron.status == "ok" or neuron.reason, "who did not answer is marked with the reason"
    paid = {neuron.name for neuron in show.records[-1].neurons if neuron.incentive > 0}
    assert paid & {"ada", "grace"}


class KillsLedgerAndVoter(Quiet):
    """Kills the keeper between two blocks of the first epoch, and a validator that is to value in the second."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.records: list[EpochRecord] = []
        self.killed: list[str] = []

    def step(self, sentence: str, total: int = 0) -> None:
        """Kill at the second of two steps."""
        if sentence == "committing the votes" and not self.records:
            self._kill("keeper")
        if sentence == "valuing the answers" and len(self.records) == 1:
            self._kill("viola")

    def epoch(self, record: EpochRecord) -> None:
        """Keep the record."""
        self.records.append(record)

    def _kill(self, name: str) -> None:
        actor = ray.get_actor(name, namespace=self.namespace)
        os.kill(ray.get(actor.ping.remote(), timeout=30), signal.SIGKILL)
        self.killed.append(name)


def test_killed_keeper_and_validator_come_back(tiny_toml: Path, small_text: str, tmp_path: Path) -> None:
    network, home = load_network(tiny_toml, [small_text]), Home(tmp_path)
    show = KillsLedgerAndVoter(found(network, home).hash.hex())
    run_network(network, home, epochs=3, show=show)
    assert show.killed == ["keeper", "viola"]
    assert [record.epoch for record in show.records] == [1, 2, 3]
    assert all(record.final and record.minted_rao == 360 * 10**9 for record in show.records)
    voted = {neuron.name: neuron.status for neuron in show.records[-1].neurons}
    assert [voted[name] for name in ("vera", "victor", "viola")] == ["ok", "ok", "ok"]
    assert taoray.verify(tmp_path).height == 9


def _hostile_host() -> type:
    """A host that crashes for one peer's versions, hangs for another's, and lies for a third's."""

    class HostileHost(Host):
        def score(self, request: ScoreRequest, *queries: Query) -> Any:
            """Misbehave by the wallet that would sign."""
            if "grace" in request.wallets:
                os._exit(1)
            if "still" in request.wallets:
                time.sleep(3600)
            receipt, answers = super().score(request, *queries)
            if "echo" in request.wallets:
                echo = request.versions[request.wallets.index("echo")]
                answers = [
                    sign_answer(
                        self._hotkey("echo"),
                        query=answer.query,
                        version=answer.version,
                        first=answer.first,
                        said=replace(answer.said, log_probability_C=answer.said.log_probability_C + 0.5),
                    )
                    if answer.version == echo
                    else answer
                    for answer in answers
                ]
            return receipt, answers

    return HostileHost


def test_hostile_peers_cost_themselves_the_epoch_and_nobody_else(
    tiny_toml: Path, small_text: str, tmp_path: Path
) -> None:
    network = load_network(tiny_toml, [small_text, "deadlines.task_s=8.0"])
    outcome = run_network(network, Home(tmp_path), epochs=2, host_class=_hostile_host())
    for record in outcome.records:
        assert record.final
        status = {neuron.name: neuron.status for neuron in record.neurons}
        assert status == {
            "vera": "ok",
            "victor": "ok",
            "viola": "ok",
            "ada": "ok",
            "grace": "dead",
            "still": "late",
            "echo": "invalid",
        }
    reasons = {neuron.name: neuron.reason for neuron in outcome.records[-1].neurons}
    assert all(reasons[name] for name in ("grace", "still", "echo"))
    incentives = {neuron.name: neuron.incentive for neuron in outcome.records[-1].neurons}
    assert incentives["ada"] == pytest.approx(1)
