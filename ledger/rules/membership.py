"""Membership: who holds a uid, what it costs, and who makes room.

Invariants: a hotkey belongs to one coldkey for ever; uids are filled from 0 without gaps; replacing a neuron takes its
uid, bonds, votes and place in cohorts, never its stake.
"""

from collections import deque
from functools import lru_cache

from msgspec.structs import replace

from ledger.entries import NEVER, Neuron, Owner, Slot
from ledger.errors import Refusal
from ledger.extrinsics import Register
from ledger.parameters import Parameters
from ledger.rules.cohorts import leave_cohorts
from ledger.rules.funds import debit, record_burn, validate_covers
from ledger.state import State, uid_key
from ledger.units import format_tao


def apply_register(state: State, signer: bytes, call: Register) -> None:
    """Give the hotkey a uid: a new one, else that of the neuron that makes room. The price is burned, and rises."""
    validate_register(state, signer, call)
    scalars = state.globals
    uid = _choose_uid(state)
    if uid == scalars.neuron_count:
        state.scalars.put(b"", replace(scalars, neuron_count=uid + 1))
    else:
        _remove_neuron(state, state.neuron(uid))
    debit(state, signer, scalars.price_rao)
    record_burn(state, scalars.price_rao)
    state.scalars.put(b"", replace(state.globals, price_rao=compute_bumped_price(scalars.price_rao, state.parameters)))
    state.owners.put(call.hotkey, Owner(coldkey=signer, origin=state.origin(call.hotkey)))
    state.slots.put(call.hotkey, Slot(uid=uid))
    state.neuron_rows.put(
        uid_key(uid),
        Neuron(
            uid=uid,
            name=call.name,
            hotkey=call.hotkey,
            coldkey=signer,
            registered_at=scalars.height,
            registered_epoch=scalars.epoch + 1,
            last_update=0,
            revealed_epoch=NEVER,
            permit=False,
        ),
    )


def validate_register(state: State, signer: bytes, call: Register) -> None:
    """Refusal if the hotkey is taken or the signer can't or won't pay."""
    if state.slots.get(call.hotkey) is not None:
        raise Refusal("already_registered", "this hotkey already has a uid")
    owner = state.owners.get(call.hotkey)
    if owner is not None and owner.coldkey != signer:
        raise Refusal("not_owner", "this hotkey was registered by another coldkey before")
    if state.current_hotkey(call.hotkey) != call.hotkey:
        raise Refusal("hotkey_retired", "this hotkey was swapped for another, which keeps its stake; register that one")
    price_rao = state.globals.price_rao
    if price_rao > call.max_price_rao:
        raise Refusal(
            "price_too_high",
            f"registration costs {format_tao(price_rao)} TAO now, the signer accepts {format_tao(call.max_price_rao)}",
        )
    validate_covers(state, signer, price_rao)


def compute_bumped_price(price_rao: int, parameters: Parameters) -> int:
    """The price after one registration, within its bounds."""
    numerator, denominator = parameters.registration_bump
    return _bounded(price_rao * numerator // denominator, parameters)


def compute_decayed_price(price_rao: int, blocks: int, parameters: Parameters) -> int:
    """The price after so many notional blocks without registration: halved each half-life, within its bounds."""
    halvings, rest = divmod(blocks, parameters.registration_half_life)
    factor_q32 = _decay_factor_q32(parameters.registration_half_life, rest)
    return _bounded((price_rao >> min(halvings, 64)) * factor_q32 >> 32, parameters)


def choose_replaced(neurons: list[Neuron], epoch: int, parameters: Parameters) -> Neuron | None:
    """Who makes room: of those past immunity the one with the lowest emission, then the oldest registration, then the
    lowest uid.
    """
    mortal = [neuron for neuron in neurons if epoch - neuron.registered_epoch >= _immune_epochs(parameters)]
    return min(mortal, key=_leaves_by, default=None)


def next_replaced(state: State) -> Neuron | None:
    """As `choose_replaced`, where newcomers are immune: the order is made once a block, since nothing in an open block
    changes it but a registration, after which a uid is not the neuron's any more.
    """
    scalars = state.globals
    if state.leaving is None or state.leaving[0] != scalars.height:
        mortal = scalars.epoch + 1 - _immune_epochs(state.parameters)
        order = sorted(_leaves_by(neuron) for neuron in state.neurons() if neuron.registered_epoch <= mortal)
        state.leaving = scalars.height, deque(order)
    _, order_left = state.leaving
    while order_left:
        neuron = state.neuron(order_left[0][-1])
        if _leaves_by(neuron) == order_left[0]:
            return neuron
        order_left.popleft()
    return None


def _leaves_by(neuron: Neuron) -> tuple[int, int, int]:
    return neuron.emission_rao, neuron.registered_at, neuron.uid


def _immune_epochs(parameters: Parameters) -> int:
    return -(-parameters.immunity // parameters.tempo)


def _choose_uid(state: State) -> int:
    scalars = state.globals
    if scalars.neuron_count < state.parameters.max_uids:
        return scalars.neuron_count
    if _immune_epochs(state.parameters):
        replaced = next_replaced(state)
    else:
        replaced = choose_replaced(state.neurons(), scalars.epoch + 1, state.parameters)
    if replaced is None:
        raise Refusal("no_slot", f"all {scalars.neuron_count} uids are taken by neurons that are still immune")
    return replaced.uid


def _remove_neuron(state: State, neuron: Neuron) -> None:
    """Free the uid. Others' bonds on it are cleared by the next consensus, which knows who is new."""
    state.slots.put(neuron.hotkey, None)
    for table in (state.bonds, state.commitment_rows, state.reveal_rows):
        table.put(uid_key(neuron.uid), None)
    leave_cohorts(state, neuron.uid)


def _bounded(price_rao: int, parameters: Parameters) -> int:
    return max(parameters.registration_price_min_rao, min(parameters.registration_price_max_rao, price_rao))


@lru_cache(maxsize=64)
def _decay_factor_q32(half_life: int, blocks: int) -> int:
    """2^(-blocks / half_life) in Q32, rounded down: the largest f with f^half_life ≤ 2^(32·half_life - blocks), found
    bit by bit.
    """
    factor = 0
    for bit in range(32, -1, -1):
        trial = factor | 1 << bit
        if trial**half_life <= 1 << (32 * half_life - blocks):
            factor = trial
    return factor
