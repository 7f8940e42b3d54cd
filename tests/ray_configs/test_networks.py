"""The networks that are shipped: what the larger ones promise in their comments and in docs/cluster.md."""

from pathlib import Path

import pytest

from cluster.config import load_network
from models.host.architectures import parameter_count

FOLDER = Path(__file__).parents[2] / "ray_configs"


@pytest.mark.parametrize(("name", "millions"), [("gpu_node", (23, 26)), ("multi_node", (6, 6.6))])
def test_the_models_are_as_large_as_it_says(name: str, millions: tuple[float, float]) -> None:
    network = load_network(FOLDER / f"{name}.toml")
    shapes = [entry.architecture for entry in (*network.peers, *network.cohorts) if entry.architecture]
    assert shapes
    for shape in shapes:
        assert millions[0] * 1e6 <= parameter_count(shape) <= millions[1] * 1e6


def test_over_several_nodes_the_ledger_is_apart_and_what_is_shared_is_below_one_folder() -> None:
    network = load_network(FOLDER / "multi_node.toml")
    assert network.storage.ledger.startswith("$TAORAY_DISK/")
    for place in (network.storage.depot, network.storage.exports):
        assert place.startswith("file:///mnt/taoray/")
    assert not network.network.development
    assert network.deadlines.finality_s >= 120
