"""Where values are computed: on a GPU where one is wanted, else on a CPU; they are the same up to rounding.

Invariants: no value is lost to a GPU: where it is full or fails that is told, and a CPU does the work in its stead;
torch comes with a GPU, not before.
"""

from collections.abc import Callable
from typing import TypeVar

from models.faults import first_line, is_device_fault, is_exhaustion
from models.host.allocator import keep_freed_memory

Valued = TypeVar("Valued")


def value_on(wanted: str, value: Callable[[str], Valued], *, gpus: float = 0.0) -> tuple[Valued, str]:
    """What `value` returns for a device of torch's, and a note for a person: why from a CPU after all, or empty.

    wanted: cpu, cuda, or auto: a GPU where one is there. gpus: reserved for this process, as Ray counts.
    """
    keep_freed_memory()  # a fifth of the time on a CPU: pieces come and go with every pass
    if wanted != "cpu":
        from models.host.device import open_device

        try:
            return value(open_device(wanted, gpus)), ""
        except Exception as error:
            if not (is_device_fault(error) or is_exhaustion(error)):
                raise
            note = f"values come from the CPU: {first_line(error)}"
        return value("cpu"), note
    return value("cpu"), ""
