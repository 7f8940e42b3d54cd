"""An epoch as a flat list of named steps, and where to go on in it.

Invariants:
* the list is the order of things; nothing else calls a step;
* the ledger's last block says which steps are behind us, so a driver that starts anew repeats what it must and
  nothing more.
"""

from enum import StrEnum


class Step(StrEnum):
    """The steps of an epoch, in their order."""

    ENLIST = "enlist"
    TRAIN = "train"
    OPEN = "open"
    QUERY = "query"
    VALUE = "value"
    COMMIT = "commit"
    CLOSE = "close"


STEPS = tuple(Step)

_DONE_BY = {"genesis": 0, "close": 0, "open": 3, "commit": 6}
"""How many steps are behind an epoch whose last block is of this kind; after a close block the next epoch begins."""


def steps_left(kind: str) -> tuple[Step, ...]:
    """The steps to take after a block of this kind."""
    return STEPS[_DONE_BY[kind] :]


def epoch_after(epoch: int, kind: str) -> int:
    """The epoch that the next block belongs to."""
    return epoch + 1 if kind in ("genesis", "close") else epoch
