"""The genesis: what can start a network, and the field that is named when it can't."""

import msgspec
import pytest
from msgspec.structs import replace

from ledger.epoch.emission import CAP_RAO
from ledger.errors import GenesisError
from ledger.genesis import Genesis, GenesisNeuron, decode_genesis, encode_genesis, validate_genesis
from ledger.parameters import Parameters
from ledger.sealing import seal_genesis
from ledger.units import format_tao, parse_tao

HOT, COLD = b"\1" * 32, b"\2" * 32
GOOD = Genesis(
    network="test",
    keeper=b"\3" * 32,
    balances=((COLD, 1000),),
    stakes=((HOT, COLD, 5000),),
    neurons=(GenesisNeuron(hotkey=HOT, coldkey=COLD, name="first", permit=True),),
)


def test_block_0_follows_from_the_genesis():
    state, block, sealed = seal_genesis(GOOD)
    assert (block.height, block.header.parent, block.header.state_root) == (0, GOOD.hash, sealed.root)
    assert state.supply()[:4] == (1000, 5000, 6000, 6000)
    assert [(member.hotkey, member.stake_rao) for member in state.finality_set] == [(HOT, 5000)]
    assert seal_genesis(decode_genesis(encode_genesis(GOOD)))[1] == block


def test_every_field_is_in_the_hash():
    changed = [
        replace(GOOD, network="other"),
        replace(GOOD, development=True),
        replace(GOOD, keeper=HOT),
        replace(GOOD, parameters=Parameters(tempo=10)),
        replace(GOOD, balances=((COLD, 1001),)),
    ]
    assert len({genesis.hash for genesis in [GOOD, *changed]}) == 6


def _parameters(**fields) -> Genesis:
    return replace(GOOD, parameters=Parameters(**fields))


@pytest.mark.parametrize(
    ("genesis", "field"),
    [
        (replace(GOOD, protocol=1), "protocol"),
        (replace(GOOD, network=""), "genesis"),
        (replace(GOOD, network="clears\x1b[2J"), "genesis"),
        (replace(GOOD, keeper=b"short"), "genesis"),
        (replace(GOOD, balances=((COLD, 2**70),)), "genesis"),
        (replace(GOOD, balances=((COLD, 499),)), "balances"),
        (replace(GOOD, balances=((COLD, 1000), (COLD, 1000))), "balances[1]"),
        (replace(GOOD, balances=((COLD, CAP_RAO),)), "balances"),
        (replace(GOOD, stakes=((HOT, COLD, 0),)), "stakes"),
        (replace(GOOD, neurons=GOOD.neurons * 2), "neurons[1]"),
        (replace(GOOD, neurons=(replace(GOOD.neurons[0], permit=False),)), "neurons"),
        (replace(GOOD, stakes=()), "neurons"),
        (_parameters(max_uids=0), "genesis"),
        (_parameters(registration_half_life=2**20), "genesis"),
        (_parameters(kappa=(3, 2)), "parameters.kappa"),
        (_parameters(kappa=(0, 2)), "parameters.kappa"),
        (_parameters(take=(1, 0)), "parameters.take"),
        (_parameters(take=(19, 100)), "parameters.take"),
        (_parameters(take_min=(2, 10)), "parameters.take"),
        (_parameters(take_max=(3, 2)), "parameters.take_max"),
        (_parameters(registration_bump=(1, 2)), "parameters.registration_bump"),
        (_parameters(registration_price_rao=1), "parameters.registration_price_rao"),
        (_parameters(max_block_bytes=1024), "parameters.max_extrinsic_bytes"),
    ],
)
def test_what_cannot_start_a_network_is_named(genesis, field):
    with pytest.raises(GenesisError) as error:
        validate_genesis(genesis)
    assert error.value.field == field


def test_a_genesis_of_an_older_version_is_told_from_a_damaged_one():
    fields = msgspec.msgpack.decode(encode_genesis(GOOD)) | {"protocol": 1}
    del fields["parameters"]["take_max"]
    with pytest.raises(GenesisError, match="speaks protocol 4, the genesis 1"):
        decode_genesis(msgspec.msgpack.encode(fields))


def test_amounts_are_written_and_read_exactly():
    assert format_tao(1_234_567_890) == "1.234567890"
    assert format_tao(-1) == "-0.000000001"
    assert [parse_tao(text) for text in ("1", " 0.000000001 ", "21000000")] == [10**9, 1, CAP_RAO]
    for text in ("", "1.", "-1", "1e9", "0.0000000001", "１"):
        with pytest.raises(ValueError, match="amount of TAO"):
            parse_tao(text)
