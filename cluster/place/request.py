"""How many windows a host is asked about in one call: enough that it never waits, few enough that it is never late.

Invariants: pure; the same versions, windows and placement give the same calls, so what hosts answer does not depend on
how quick they were.

A call costs about two milliseconds beside what it asks for, and ends with a batch that is not full, so each version
wants several batches' worth of tokens in it. What one call holds is lost with its host, is waited for at the end while
other hosts have nothing left, and has to come within a deadline.
"""

from collections.abc import Sequence

from cluster.config import Placement, Questions

CALL_OPERATIONS = {"cpu": 1e11, "cuda": 1e14}
"""Of one call: some seconds of one core, a fraction of a second of a GPU."""
LEAST_TOKENS = {"cpu": 4096, "cuda": 16384}
"""Of each version in a call, where there are so many: two batches, as `models.host.score` makes them."""
MOST_TOKENS = 1 << 22
"""Of all versions in a call, however small they are: their answers are 32 MiB."""


def windows_per_call(query: Questions, placement: Placement, parameters: Sequence[int]) -> int:
    """Windows that each version of a stack is asked about in one call.

    Args:
        parameters: of each version in the stack.
    """
    versions = len(parameters)
    if query.request:
        return max(1, query.request // versions)
    device = "cuda" if computes_on_gpu(placement) else "cpu"
    operations = 2 * max(1, sum(parameters)) * query.window_bytes
    tokens = max(CALL_OPERATIONS[device] / operations * query.window_bytes, LEAST_TOKENS[device])
    return max(1, int(min(tokens, MOST_TOKENS / versions)) // query.window_bytes)


def computes_on_gpu(placement: Placement) -> bool:
    """Whether hosts compute on GPUs, as far as the configuration tells."""
    return placement.device == "cuda" or (placement.device == "auto" and placement.gpus_per_host > 0)
