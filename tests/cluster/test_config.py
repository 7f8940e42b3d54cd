"""Configuration: what is right is read, and what is wrong is named by its field."""

from pathlib import Path

import pytest

import ray_configs
from cluster.config import load_network
from cluster.errors import ConfigurationError


def test_default_network_has_what_it_promises() -> None:
    network = load_network()
    assert len(network.peers) == 7
    assert len({peer.architecture.kind for peer in network.peers if peer.architecture}) >= 4
    assert network.placement.hosts >= 2
    total = sum(validator.stake_tao for validator in network.validators)
    assert len(network.validators) == 4
    assert all(validator.stake_tao <= 0.3 * total for validator in network.validators)
    assert {peer.behaviour for peer in network.peers} == {"train", "still", "copy"}


def test_networks_that_are_shipped_are_right() -> None:
    for path in Path(ray_configs.__file__).parent.glob("*.toml"):
        network = load_network(path)
        assert network.network.name == path.stem
        for cohort in network.cohorts:
            members = [peer.behaviour for peer in network.peers if peer.cohort == cohort.name]
            assert members.count("train") > len(members) / 2, "most members are honest"


def test_overrides_reach_every_kind_of_field(tiny_toml: Path) -> None:
    network = load_network(
        tiny_toml,
        ["query.windows=30", "data.paths=['/tmp/a', '/tmp/b']", "network.name=other", "peers.3.noise=0.5"],
    )
    assert network.query.windows == 30
    assert network.data.paths == ("/tmp/a", "/tmp/b")
    assert network.network.name == "other"
    assert network.peers[3].noise == 0.5


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("query.windows='many'", "query.windows"),
        ("query.windows=-3", "query.windows"),
        ("query.colour='red'", "query"),
        ("nonsense.field=1", "the file"),
        ("network.name='No Spaces'", "network.name"),
        ("peers.0.architecture.kind='perceptron'", "peers[0].architecture.kind"),
        ("peers.0.architecture.heads=5", "peers[0].architecture.heads"),
        ("peers.0.name='grace'", "peers.name"),
        ("peers.0.name='vera'", "peers.name"),
        ("peers.0.name='operator'", "peers.name"),
        ("peers.3.copies='nobody'", "peers[3].copies"),
        ("peers.3.copies='echo'", "peers[3].copies"),
        ("peers.0.copies='grace'", "peers[0].copies"),
        ("peers.9.noise=1", "peers.9.noise"),
        ("query.window_bytes=4097", "query.window_bytes"),
        ("ledger.tempo=0", "ledger.tempo"),
        ("ledger.max_uids=3", "ledger.max_uids"),
        ("validators=[]", "validators"),
        ("placement.device='tpu'", "placement.device"),
        ("placement.gpus_per_host=1.5", "placement.gpus_per_host"),
        ("training.processes=3", "training.processes"),
        ("query", "--set query"),
    ],
)
def test_mistakes_are_named_by_their_field(tiny_toml: Path, override: str, field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_network(tiny_toml, [override])
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


COHORT_TOML = Path(__file__).parent / "cohort.toml"


def test_a_cohort_is_named_by_its_members() -> None:
    network = load_network(COHORT_TOML)
    assert [peer.name for peer in network.peers if peer.cohort == "choir"] == ["ada", "ben", "cleo", "flip"]
    assert network.cohorts[0].architecture.hidden == 32
    assert network.peers[-1].architecture is not None


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("peers.0.cohort='crowd'", "peers[0].cohort"),
        ("peers.0.cohort=''", "peers[0].architecture"),
        ("peers.4.cohort='choir'", "peers[4].architecture"),
        ("peers.4.behaviour='flip'", "peers[4].behaviour"),
        ("peers.0.behaviour='copy'", "peers[0].behaviour"),
        ("cohorts.0.name='ada'", "cohorts.name"),
        ("cohorts.0.architecture.heads=5", "cohorts[0].architecture.heads"),
        ("cohorts.0.architecture.context=64", "query.window_bytes"),
        ("cohorts.0.windows=25", "cohorts[0].windows"),
        ("cohorts.0.check_pages=129", "cohorts[0].check_pages"),
        ("cohorts.0.outer.momentum=0.9", "cohorts[0].outer.momentum"),
        ("cohorts.0.outer.keep=4097", "cohorts[0].outer.keep"),
        ("cohorts.0.outer.speed=1", "cohorts[0].outer"),
    ],
)
def test_mistakes_about_cohorts_are_named_by_their_field(override: str, field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_network(COHORT_TOML, [override])
    assert caught.value.field == field


def test_files_that_are_no_toml_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[network\n")
    for path in (broken, tmp_path / "absent.toml", tmp_path):
        with pytest.raises(ConfigurationError) as caught:
            load_network(path)
        assert str(path) in str(caught.value)
