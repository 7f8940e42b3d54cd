"""Remote peers in an epoch: asked by the gateway while the hosts answer, and collected when those are done.

Invariants:
* an epoch waits for remote peers until `remote.deadline_s` after they were asked, and not at all where the hosts took
  as long;
* whatever becomes of the gateway, every remote peer that was to be asked ends with an answer or a reason.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from actors.dispatch import Failure, Reason, Task
from actors.gateway import Target
from actors.keeper import View
from actors.seam import Handle, Reference
from cluster.run import Run, Work

MARGIN = 0.05
"""The part of the deadline that is kept for passing on what was answered."""

LONGEST_MARGIN_S = 1.0

GRACE_S = 2.0
"""How long beyond the deadline a gateway that is stuck is waited for before it is started anew."""


@dataclass(frozen=True)
class Asking:
    """Questions that are under way.

    Attributes:
        gateway: that asks.
        targets: who is asked.
        receipt: brings for each of them a failure, or None.
        answers: for each of them its answers.
        due: by when the receipt should be there, on the monotonic clock.
    """

    gateway: Handle
    targets: tuple[Target, ...]
    receipt: Reference
    answers: tuple[Reference, ...]
    due: float


def find_targets(view: View) -> tuple[Target, ...]:
    """The remote peers that the open epoch asks, in the order of its rows."""
    endpoints = {neuron.hotkey: neuron.endpoint for neuron in view.neurons}
    return tuple(
        Target(row.manifest, endpoint)
        for row in view.rows
        if row.remote and (endpoint := endpoints.get(row.manifest)) is not None
    )


def ask_remotes(run: Run, view: View, queries: Sequence[Reference]) -> Asking | None:
    """Begin to ask all remote peers all queries; None where there is nobody or nothing to ask."""
    targets = find_targets(view)
    if run.crew.gateway is None or not targets or not queries:
        return None
    deadline_s = run.network.remote.deadline_s
    own_s = deadline_s - min(MARGIN * deadline_s, LONGEST_MARGIN_S)
    call = run.crew.gateway.ask.options(num_returns=1 + len(targets))
    receipt, *answers = call.remote(targets, own_s, *queries)
    return Asking(run.crew.gateway, targets, receipt, tuple(answers), time.monotonic() + deadline_s)


def collect_remotes(run: Run, work: Work, asking: Asking | None) -> None:
    """Add what the remote peers answered, or why they did not, to what the hosts brought."""
    if asking is None:
        return
    run.show.step(f"waiting for {len(asking.targets)} remote peers")
    try:
        left_s = max(0.0, asking.due - time.monotonic())
        outcomes: list[Failure | None] = ray.get(asking.receipt, timeout=left_s + GRACE_S)
    except RayError as error:
        if isinstance(error, GetTimeoutError):
            ray.kill(asking.gateway, no_restart=False)
            # Its call's end says that the process is gone: what is asked from now on is asked of the next one.
            ray.wait([asking.receipt], timeout=GRACE_S)
        what = "died" if isinstance(error, RayActorError) else f"failed with {type(error).__name__}"
        outcomes = [Failure(Reason.DEAD, f"the network's own gateway {what}")] * len(asking.targets)
    for target, answers, outcome in zip(asking.targets, asking.answers, outcomes, strict=True):
        if outcome is None:
            work.scored.payloads[Task(target.hotkey)] = (answers,)
        else:
            work.scored.failures[target.hotkey] = outcome
