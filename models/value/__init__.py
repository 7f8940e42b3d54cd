"""Value: how many bits each model version adds to what the collective already knew, and what that earns.

Invariants: everything is in bits per byte of held-out text; every weight is fitted on one fold of documents and used on
the other; information is credited once; from values to votes all arithmetic is in integers. The measures are offered
here, and torch comes with the first of them that is asked for: accounts, rounds and evidence are read without it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.value.measures import InOrder as InOrder
    from models.value.measures import Measure as Measure
    from models.value.measures import in_order as in_order
    from models.value.measures import leave_one_out as leave_one_out
    from models.value.measures import nearest as nearest
    from models.value.measures import shares as shares

__all__ = ["InOrder", "Measure", "in_order", "leave_one_out", "nearest", "shares"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from models.value import measures

    return getattr(measures, name)
