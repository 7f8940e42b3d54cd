"""A network that chooses yuma3 with liquid alpha: bonds live in its blocks, and a replay derives them again."""

from collections.abc import Callable

import pytest

from ledger.errors import GenesisError
from ledger.parameters import Parameters, validate_parameters
from ledger.state import uid_key
from ledger.store.replay import verify

LIQUID = Parameters(profile="yuma3", liquid_alpha=True, alpha_low=(1, 10), alpha_high=(3, 10))


def test_pair_bonds_grow_epoch_by_epoch_and_stake_is_applied_at_dividends(
    make_network: Callable[..., object],
) -> None:
    network = make_network(parameters=LIQUID)
    bonds = []
    for _ in range(3):
        network.run_epoch()
        state = network.chain.state
        rows = [state.bonds.get(uid_key(uid)) for uid in network.validators]
        # All vote alike, so their bonds are alike, whatever their stakes.
        assert len({row.values for row in rows}) == 1
        bonds.append(sum(rows[0].values))
    assert 0 < bonds[0] < bonds[1] < bonds[2] < 2**31
    neurons = [network.chain.state.neuron(uid) for uid in network.validators]
    assert verify(network.chain.path).height == network.chain.head.height
    assert [neuron.dividends_rao for neuron in neurons] == sorted((n.dividends_rao for n in neurons), reverse=True)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"liquid_alpha": True}, "liquid_alpha"),
        ({"bonds_penalty": (2, 1)}, "bonds_penalty"),
        ({"alpha_low": (1, 1)}, "alpha_low"),
        ({"alpha_steepness": (-1, 1)}, "alpha_steepness"),
    ],
)
def test_a_genesis_with_bonds_out_of_bounds_is_refused(fields: dict[str, object], named: str) -> None:
    with pytest.raises(GenesisError, match=named):
        validate_parameters(Parameters(**fields))
