"""Limits: how often a hotkey may make a call in the blocks of one epoch.

Invariants: only applied calls count; a hotkey's line has one count, so that neither a swap nor a new registration
starts it anew.
"""

from typing import Literal

from msgspec.structs import replace

from ledger.entries import Usage
from ledger.errors import Refusal
from ledger.state import State

Limited = Literal["publish", "checkpoint", "contribute", "serve", "set_identity", "set_take", "swap_hotkey"]


def count_call(state: State, hotkey: bytes, call: Limited) -> None:
    """Count one call of a hotkey; Refusal `rate_limited` if the epoch has seen as many as the network allows."""
    origin, epoch = state.origin(hotkey), state.block_epoch
    usage = state.usages.get(origin)
    if usage is None or usage.epoch != epoch:
        usage = Usage(epoch=epoch)
    most, used = getattr(state.parameters, f"{call}_limit"), getattr(usage, call)
    if used >= most:
        raise Refusal("rate_limited", f"a hotkey has {most} {call} in an epoch; sign again for epoch {epoch + 1}")
    state.usages.put(origin, replace(usage, **{call: used + 1}))
