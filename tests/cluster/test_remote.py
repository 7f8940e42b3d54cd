"""A network on Ray with remote peers: who answers according to a model is paid, who misbehaves is not, and the epoch
goes on.
"""

import sysconfig
from pathlib import Path

import pytest

import taoray
from benchmarks.remote_world import Conductor, found_home, join, running_hostile, running_peer, train_remote
from cluster.config import load_network
from cluster.driver import run_network
from cluster.home import Home
from ledger.wallet import Wallet
from models.train.settings import TrainSettings

pytestmark = pytest.mark.cluster

LIBRARY = Path(sysconfig.get_path("stdlib"))
OVERRIDES = [
    f"data.paths={[str(LIBRARY / name) for name in ('asyncio', 'email', 'idlelib', 'unittest')]}",
    "query.panel=next_byte",
    "query.windows=512",
    "query.window_bytes=65",
    "query.request=2048",
    "remote.allow_private=true",
    "remote.deadline_s=8.0",
]
LESSONS = TrainSettings(steps=50, batch=16, page_bytes=128, learning_rate=5e-3)
SCORE = {
    "stalls": ("late", "did not answer within"),
    "lies": ("ok", ""),
    "honest": ("ok", ""),
}


def test_remote_peers_earn_by_what_they_say(tiny_toml: Path, tmp_path: Path) -> None:
    network, home = load_network(tiny_toml, OVERRIDES), Home(tmp_path / "home")
    genesis = found_home(network, home)
    for name in ("rex", "mallory"):
        Wallet.create(home.wallets, name)
    models = [train_remote(network, home, tmp_path / str(seed), seed=seed, lessons=LESSONS) for seed in (1, 2)]
    file = tmp_path / "behaviour"
    file.write_text("honest")
    with (
        running_peer(models[0], home, genesis, "rex") as rex,
        running_peer(models[1], home, genesis, "mallory") as upstream,
        running_hostile(file, upstream, home, "mallory") as mallory,
    ):
        join(home, "mallory", mallory)
        join(home, "rex", rex)
        show = Conductor(file, [*SCORE])
        run_network(network, home, epochs=len(SCORE), show=show)
    for record, (behaviour, (status, reason)) in zip(show.records, SCORE.items(), strict=True):
        neurons = {neuron.name: neuron for neuron in record.neurons}
        assert (neurons["rex"].kind, neurons["rex"].status) == ("remote", "ok"), neurons["rex"].reason
        assert neurons["rex"].incentive > 0.02
        assert neurons["mallory"].status == status, f"{behaviour}: {neurons['mallory'].reason}"
        assert reason in neurons["mallory"].reason
        assert {neurons[name].status for name in ("vera", "ada", "grace", "still")} == {"ok"}
        if behaviour == "honest":
            assert neurons["mallory"].incentive > 0.02
        else:
            assert (neurons["mallory"].incentive, neurons["mallory"].emission_rao) == (0, 0)
            assert not neurons["mallory"].account_bits
    assert taoray.verify(home.folder).height == 3 * len(SCORE)
    assert all(not audited.differs for epoch in (1, len(SCORE)) for audited in taoray.audit(home.folder, epoch))
