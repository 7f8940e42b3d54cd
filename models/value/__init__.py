"""Value: how many bits each model version adds to what the collective already knew, and what that earns.

Invariants: everything is in bits per byte of held-out text; every weight is fitted on one fold of documents and used on
the other; information is credited once; from values to votes all arithmetic is in integers. The measures are offered
here, and torch comes with the first of them that is asked for: accounts, rounds and evidence are read without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.value.measures import InOrder as InOrder
    from models.value.measures import Measure as Measure
    from models.value.measures import NewBits as NewBits
    from models.value.measures import fisher as fisher
    from models.value.measures import in_order as in_order
    from models.value.measures import leave_one_out as leave_one_out
    from models.value.measures import nearest as nearest
    from models.value.measures import new_bits as new_bits
    from models.value.measures import shares as shares
    from models.value.shapley import exact_shapley as exact_shapley
    from models.value.shapley import permutation_shapley as permutation_shapley

_MODULE = {
    "InOrder": "models.value.measures",
    "Measure": "models.value.measures",
    "NewBits": "models.value.measures",
    "fisher": "models.value.measures",
    "in_order": "models.value.measures",
    "leave_one_out": "models.value.measures",
    "nearest": "models.value.measures",
    "new_bits": "models.value.measures",
    "shares": "models.value.measures",
    "exact_shapley": "models.value.shapley",
    "permutation_shapley": "models.value.shapley",
}
__all__ = [
    "InOrder",
    "Measure",
    "NewBits",
    "exact_shapley",
    "fisher",
    "in_order",
    "leave_one_out",
    "nearest",
    "new_bits",
    "permutation_shapley",
    "shares",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE[name]), name)
