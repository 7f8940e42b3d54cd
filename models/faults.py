"""Faults of a device: memory that is full, and a device that is gone.

Invariants: an error is told apart by what it is and says, whatever library raised it; a full memory is met by less work
and the process goes on; after any other fault of a GPU every call in its process fails, and only a new one can go on.
"""

from models.errors import DeviceLost, MemoryFull

FULL = ("allocate memory", "not enough memory", "out of memory", "start new thread", "_ALLOC_FAILED")
"""How a lack of memory or threads is worded: by Python, PyTorch, CUDA ("CUDA error: out of memory") and cuBLAS."""
LOST = ("CUDA error", "CUDA driver", "CUDA GPUs", "CUDA-capable", "CUDA enabled", "cudaGetDeviceCount", "cuDNN error")
"""How it is worded that there is no GPU, or that it, or a kernel on it, failed."""


def is_exhaustion(error: BaseException) -> bool:
    """Whether an error says that memory or threads ran out: a machine's limit, and no fault of a folder's form."""
    return any(
        isinstance(part, MemoryError | MemoryFull)
        or (isinstance(part, RuntimeError | OSError) and any(wording in str(part) for wording in FULL))
        for part in _chain(error)
    )


def is_device_fault(error: BaseException) -> bool:
    """Whether an error says that the GPU is gone, or that its context in this process is of no more use."""
    if is_exhaustion(error):
        return False
    return any(
        isinstance(part, DeviceLost)
        or type(part).__name__ == "AcceleratorError"
        or (isinstance(part, RuntimeError | AssertionError) and any(wording in str(part) for wording in LOST))
        for part in _chain(error)
    )


def first_line(error: BaseException) -> str:
    """What an error says, without the advice that follows."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def memory_of(device_type: str) -> str:
    """Whose memory it is, for a sentence."""
    return "this machine's memory" if device_type == "cpu" else "the GPU's memory"


def _chain(error: BaseException) -> list[BaseException]:
    return [part for part in (error, error.__cause__, error.__context__) if part is not None]
