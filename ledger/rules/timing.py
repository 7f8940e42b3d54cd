"""Timing: what is meant for one block of one epoch is worth nothing after it.

Invariants: a call is late from the block on that follows its own; what is late can never be applied, so a queue may
drop it.
"""

from ledger.blocks import Kind
from ledger.errors import Refusal
from ledger.extrinsics import Call, CommitWeights, Contribute, RevealWeights
from ledger.state import State


def validate_in_time(state: State, kind: Kind, call: Call) -> None:
    """Refusal `late_contribution`, `late_commitment` or `late_reveal` if the block that takes such calls is past in the
    call's epoch.
    """
    epoch = state.block_epoch
    match call:
        case Contribute() if call.epoch < epoch or (call.epoch == epoch and kind != "open"):
            raise Refusal(
                "late_contribution", f"the open block of epoch {call.epoch} is past; contribute to the next round"
            )
        case CommitWeights() if call.epoch < epoch or (call.epoch == epoch and kind == "close"):
            raise Refusal(
                "late_commitment", f"the commit block of epoch {call.epoch} is past; commit in the next epoch"
            )
        case RevealWeights() if call.epoch < epoch:
            raise Refusal("late_reveal", f"epoch {call.epoch} is closed, its votes are counted; this is epoch {epoch}")
