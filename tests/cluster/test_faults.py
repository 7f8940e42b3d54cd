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


class KillsOneOfEach(Quiet):
    """Kills a host's process as soon as the first epoch's questions are asked, the keeper's between two of its blocks,
    and in the second epoch another host's, and a validator's that is to value.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.records: list[EpochRecord] = []
        self.killed: list[str] = []

    def step(self, sentence: str, total: int = 0) -> None:
        """Kill when a step begins."""
        epoch = 1 + len(self.records)
        if sentence.startswith("asking") and "version" in sentence:
            self._kill(f"host-{epoch % 2}")
        if sentence == "committing the votes" and epoch == 1:
            self._kill("keeper")
        if sentence == "valuing the answers" and epoch == 2:
            self._kill("viola")

    def epoch(self, record: EpochRecord) -> None:
        """Keep the record."""
        self.records.append(record)

    def _kill(self, name: str) -> None:
        actor = ray.get_actor(name, namespace=self.namespace)
        os.kill(ray.get(actor.ping.remote(), timeout=60), signal.SIGKILL)
        self.killed.append(name)


def test_killed_processes_cost_no_epoch(tiny_toml: Path, small_text: str, tmp_path: Path) -> None:
    network, home = load_network(tiny_toml, [small_text]), Home(tmp_path)
    show = KillsOneOfEach(found(network, home).hash.hex())
    run_network(network, home, epochs=2, show=show)
    assert show.killed == ["host-1", "keeper", "host-0", "viola"]
    assert [record.epoch for record in show.records] == [1, 2]
    for record in show.records:
        assert record.final
        assert record.minted_rao == 360 * 10**9
        for neuron in record.neurons:
            assert neuron.status == "ok" or neuron.reason, "who did not answer is marked with the reason"
    voted = {neuron.name: neuron.status for neuron in show.records[-1].neurons}
    assert [voted[name] for name in ("vera", "victor", "viola")] == ["ok", "ok", "ok"]
    assert taoray.verify(tmp_path).height == 6


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
