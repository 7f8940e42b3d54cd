"""Presence: where a neuron answers, who its owner says it is, and what it asks of its stakers.

Invariants: a hotkey speaks for its endpoint, its coldkey for identity and take; take stays within the network's bounds,
and stakers see it in the open block of the epoch that it holds for.
"""

from msgspec.structs import replace

from ledger.entries import Delegate, Identity, Neuron
from ledger.errors import Refusal
from ledger.extrinsics import Serve, SetIdentity, SetTake
from ledger.parameters import ratio_at_most
from ledger.rules.limits import count_call
from ledger.rules.publications import validate_neuron
from ledger.state import State, uid_key
from ledger.units import U16_MAX


def apply_serve(state: State, signer: bytes, call: Serve) -> None:
    """Set or clear the neuron's endpoint; whoever takes over the uid starts without one."""
    neuron = validate_neuron(state, signer)
    count_call(state, signer, "serve")
    state.neuron_rows.put(uid_key(neuron.uid), replace(neuron, endpoint=call.endpoint))


def apply_set_identity(state: State, signer: bytes, call: SetIdentity) -> None:
    """Keep what the coldkey says about the hotkey, in place of what it said before."""
    validate_owned(state, signer, call.hotkey)
    count_call(state, call.hotkey, "set_identity")
    shown = Identity(name=call.name, url=call.url, description=call.description)
    state.identities.put(state.origin(call.hotkey), shown)


def apply_set_take(state: State, signer: bytes, call: SetTake) -> None:
    """Set what the hotkey keeps, from the epoch on that this block opens."""
    validate_owned(state, signer, call.hotkey)
    validate_take(state, call)
    count_call(state, call.hotkey, "set_take")
    state.delegates.put(state.origin(call.hotkey), Delegate(take=call.take, set_epoch=state.block_epoch))


def validate_take(state: State, call: SetTake) -> None:
    """Refusal `take_out_of_bounds`, or `take_raised_early` for a raise before the last one stood its interval."""
    parameters, asked = state.parameters, (call.take, U16_MAX)
    if not (ratio_at_most(parameters.take_min, asked) and ratio_at_most(asked, parameters.take_max)):
        (least, of_least), (most, of_most) = parameters.take_min, parameters.take_max
        raise Refusal(
            "take_out_of_bounds",
            f"{call.take}/{U16_MAX} is not within {least}/{of_least} and {most}/{of_most}",
        )
    set_before = state.delegates.get(state.origin(call.hotkey))
    if set_before is None or ratio_at_most(asked, state.take(call.hotkey)):
        return
    stood = (state.block_epoch - set_before.set_epoch) * parameters.tempo
    if stood < parameters.take_raise_interval:
        raise Refusal(
            "take_raised_early",
            f"the take has stood for {stood} notional blocks, it can be raised after {parameters.take_raise_interval}",
        )


def validate_owned(state: State, coldkey: bytes, hotkey: bytes) -> Neuron:
    """The hotkey's neuron; Refusal `not_registered` if it has none, `not_owner` if it is not this coldkey's."""
    neuron = state.neuron_by_hotkey(hotkey)
    if neuron is None:
        raise Refusal("not_registered", "the hotkey has no uid; register it first")
    if neuron.coldkey != coldkey:
        raise Refusal("not_owner", f"uid {neuron.uid} belongs to another coldkey; sign with its own")
    return neuron
