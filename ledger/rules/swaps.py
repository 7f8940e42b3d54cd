"""Swaps: a fresh hotkey takes the place of another.

Invariants: only the keys change hands: uid, registration, votes, bonds, stake, take, identity, offences and limits stay
what they were, at the same cost for one staker and a million; a hotkey that was swapped away never comes back. Swaps
are applied in open blocks alone, in which no commitment is pending; the old hotkey votes on the blocks of that epoch,
whose finality set was fixed before, and the new one from the next close block on.
"""

from msgspec.structs import replace

from ledger.entries import Line, Owner, Slot
from ledger.errors import Refusal
from ledger.extrinsics import SwapHotkey
from ledger.rules.limits import count_call
from ledger.rules.presence import validate_owned
from ledger.state import State, uid_key


def apply_swap_hotkey(state: State, signer: bytes, call: SwapHotkey) -> None:
    """Put the new hotkey where the old one was."""
    neuron = validate_owned(state, signer, call.old)
    if state.owners.get(call.new) is not None or state.pools.get(call.new) is not None:
        raise Refusal("hotkey_known", "the new hotkey has an owner or stake already; take a fresh one")
    count_call(state, call.old, "swap_hotkey")
    origin = state.origin(call.old)
    state.owners.put(call.new, Owner(coldkey=signer, origin=origin))
    state.lines.put(origin, Line(hotkey=call.new))
    state.slots.put(call.old, None)
    state.slots.put(call.new, Slot(uid=neuron.uid))
    state.neuron_rows.put(uid_key(neuron.uid), replace(neuron, hotkey=call.new))
