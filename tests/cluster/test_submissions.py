"""Submissions to a network that runs on Ray: peers join, are trained, renewed and withdrawn without a restart, and
after a kill -9 ledger, store and running peers agree.
"""

from pathlib import Path

import pytest

import taoray
from benchmarks.submissions_world import Driver, check_agreement
from cluster.home import Home
from cluster.report import NeuronRecord
from models.store import Store
from tests.models.intake.architectures import make
from tests.models.intake.building import adapted

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


def neuron(home: Path, epoch: int, name: str) -> NeuronRecord:
    """A neuron as the record of an epoch has it."""
    record = next(record for record in taoray.epochs(home) if record.epoch == epoch)
    return next(neuron for neuron in record.neurons if neuron.name == name)


def manifest_of(home: Path, name: str) -> str | None:
    found: str | None = next(row["manifest"] for row in taoray.metagraph(home).to_pylist() if row["name"] == name)
    return found


def test_a_running_network_takes_models_in_and_lets_them_go(tmp_path: Path) -> None:
    home = tmp_path / "home"
    driver = Driver(home, training__steps="8", training__page_bytes="128")
    driver.start()
    try:
        driver.wait_for_epoch(1)
        first = taoray.submit(make("qwen3", tmp_path / "qwen3"), home=home, train=True)
        assert (first.state, first.running) == ("registered", True)
        assert first.manifest is not None
        adapted(base_model_name_or_path=first.manifest)(make("qwen3", tmp_path / "tune"))
        tune = taoray.submit(tmp_path / "tune", home=home)
        driver.wait_for_epoch(tune.valued_epoch)
        for made, kind in ((first, "hosted"), (tune, "adapter")):
            valued = neuron(home, made.valued_epoch, made.name)
            assert (valued.uid, valued.status, valued.kind, made.kind) == (made.uid, "ok", kind, kind)
            assert valued.bits_per_byte is not None
            assert valued.new_bits is not None, "it is valued, not only measured"
        driver.wait_for(lambda: manifest_of(home, "qwen3") != first.manifest)

        gone = taoray.withdraw("qwen3", home=home, wait_s=0)
        third = taoray.submit(make("mamba", tmp_path / "mamba"), home=home, wait_s=0)
        assert (gone.state, third.state) == ("queued", "queued")
        driver.kill()
        driver.start()
        driver.wait_for_epoch(taoray.status(home).epoch + 2)
        assert manifest_of(home, "qwen3") is None, "training ended with the withdrawal"
        assert taoray.epochs(home)[-1].neurons[first.uid or 0].bits_per_byte is None
        assert manifest_of(home, "mamba") == third.manifest
    finally:
        driver.stop()
    ending = Driver(home, training__steps="8", training__page_bytes="128", storage__keep_unused_s="0")
    ending.start(epochs=1)
    assert ending.finish() == 0
    agreed = check_agreement(home)
    assert agreed["peers_asked"] == 5, "three of the network's own, tune and mamba"
    assert bytes.fromhex(first.manifest) in Store(Home(home).store), "the adapter's base"
