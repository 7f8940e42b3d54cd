"""Who makes room for one newcomer after the other: as by looking at all neurons each time."""

from random import Random

import pytest
from msgspec.structs import replace

from ledger.errors import Refusal
from ledger.execution import create_state
from ledger.extrinsics import Register
from ledger.genesis import Genesis, GenesisNeuron
from ledger.keys import Keypair
from ledger.parameters import Parameters
from ledger.rules.membership import apply_register, choose_replaced, next_replaced
from ledger.state import State, uid_key
from ledger.units import RAO_PER_TAO

COLDKEY = Keypair.from_seed(b"c" * 32).public
UIDS = 24


def make_state(seed: int) -> State:
    """All uids are taken, by neurons of which some are immune and many earn the same."""
    random = Random(seed)
    price_rao = RAO_PER_TAO // 1000
    state = create_state(
        Genesis(
            network="room",
            keeper=bytes(32),
            parameters=Parameters(
                max_uids=UIDS, immunity=720, registration_price_rao=price_rao, registration_price_max_rao=price_rao
            ),
            balances=((COLDKEY, 10**6 * RAO_PER_TAO),),
            neurons=tuple(
                GenesisNeuron(hotkey=bytes([uid + 1]) * 32, coldkey=COLDKEY, name=f"neuron {uid}")
                for uid in range(UIDS)
            ),
        )
    )
    state.scalars.put(b"", replace(state.globals, height=30, epoch=9))
    for neuron in state.neurons():
        state.neuron_rows.put(
            uid_key(neuron.uid),
            replace(
                neuron,
                incentive_rao=random.randrange(4),
                registered_at=random.randrange(29),
                registered_epoch=random.choice((1, 3, 9)),
            ),
        )
    state.accept(state.seal())
    return state


@pytest.mark.parametrize("seed", range(8))
def test_newcomers_take_the_places_that_looking_at_everybody_would_give_them(seed: int) -> None:
    state, random = make_state(seed), Random(seed)
    for turn in range(2 * UIDS):
        expected = choose_replaced(state.neurons(), state.globals.epoch + 1, state.parameters)
        assert next_replaced(state) == expected
        mark = state.mark()
        call = Register(hotkey=turn.to_bytes(32, "big"), name="newcomer", max_price_rao=RAO_PER_TAO)
        if expected is None:
            with pytest.raises(Refusal, match="no_slot"):
                apply_register(state, COLDKEY, call)
        else:
            apply_register(state, COLDKEY, call)
            assert state.neuron(expected.uid).name == "newcomer"
        if random.random() < 0.3:
            state.undo(mark)
        elif random.random() < 0.1:
            state.undo()
    state.undo()
    assert next_replaced(state) == choose_replaced(state.neurons(), state.globals.epoch + 1, state.parameters)


def test_the_order_is_made_anew_in_the_next_block() -> None:
    state = make_state(1)
    first = next_replaced(state)
    assert first is not None
    state.neuron_rows.put(uid_key(first.uid), replace(first, incentive_rao=10**9))
    state.scalars.put(b"", replace(state.globals, height=31))
    assert next_replaced(state) == choose_replaced(state.neurons(), state.globals.epoch + 1, state.parameters) != first
