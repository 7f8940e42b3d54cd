"""Answers that were lost with the node they lay on: asked for again, so that no vote is missing because of them.

Invariants:
* answers stay where they were made until validators fetch them, so the node of a host takes along what it answered;
* who could value is not asked again, who could not is asked again with all that could be brought back;
* what cannot be brought back costs its versions the epoch, with the reason, and nobody else.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial

import ray
from ray.exceptions import RayError

from actors.ballot import Finding
from actors.dispatch import Failure, Reason, Task
from actors.round_wire import WeighAnswer
from actors.seam import Handle, Reference
from cluster.place.plan import host_names
from cluster.questions import answers_by_validator
from cluster.run import Run, Work
from cluster.voting import ask_voters

AGAIN = 2
"""How often validators are asked once more: as many nodes may be lost in the meantime."""


def value_answers(
    run: Run, work: Work, weighed: Mapping[str, list[WeighAnswer]]
) -> tuple[dict[str, Finding], dict[str, str]]:
    """Have each validator that asked value what was answered.

    Returns:
        what they found by name, and for who found nothing why.
    """
    left = {name: run.crew.validators[name] for name in work.queries}
    findings: dict[str, Finding] = {}
    for attempt in range(1 + AGAIN):
        send = partial(_send, work, answers_by_validator(work), weighed)
        found, failures = ask_voters(run, left, send)
        findings |= found
        if not failures or attempt == AGAIN or not recover(run, work):
            break
        left = {name: run.crew.validators[name] for name in failures}
    return findings, failures


def _send(
    work: Work,
    answers: Mapping[str, Sequence[Reference]],
    weighed: Mapping[str, list[WeighAnswer]],
    name: str,
    handle: Handle,
) -> Reference:
    lost = {key: f"{failure.reason}: {failure.sentence}" for key, failure in work.scored.failures.items()}
    return handle.value.remote(work.epoch, lost, *answers[name], rounds=weighed.get(name, []))


def recover(run: Run, work: Work) -> bool:
    """Ask again for the answers that are gone; whether there were any."""
    lost = _find_lost(work.scored.payloads, run.network.deadlines.validator_s)
    if not lost:
        return False
    hosted = [task for task in lost if task in work.requests]
    for task in lost:
        del work.scored.payloads[task]
        if task not in work.requests:
            work.scored.failures[task.key] = Failure(Reason.DEAD, "its answers were lost with the network's own node")
    run.show.note(f"the answers to {len(lost)} questions were lost with their node")
    if hosted:
        _ask_again(run, work, hosted)
    return True


def _ask_again(run: Run, work: Work, tasks: Sequence[Task]) -> None:
    queries = [ray.put(work.queries[name]) for name in sorted(work.queries)]

    def send(host: Handle, task: Task) -> Sequence[Reference]:
        answered: list[Reference] = host.score.options(num_returns=2).remote(work.requests[task], *queries)
        return answered

    run.show.step("asking again", len(tasks))
    again = run.crew.pool.run(
        tasks,
        send,
        homes={host: frozenset() for host in host_names(run.crew.hosts)},
        task_deadline_s=run.network.deadlines.task_s,
        deadline_s=run.network.deadlines.query_s,
        progress=run.show.advance,
    )
    work.scored.payloads |= again.payloads
    work.scored.receipts |= again.receipts
    work.scored.spans += again.spans
    for task in tasks:
        if task.key in again.failures:
            work.scored.receipts.pop(task, None)
            for version in work.requests[task].versions:
                work.scored.failures[version] = again.failures[task.key]


def _find_lost(payloads: Mapping[Task, Sequence[Reference]], deadline_s: float) -> list[Task]:
    """Whose answers cannot be fetched any more. They are fetched, one after the other, for until somebody asks for an
    object that is gone Ray tells where it was.
    """
    end = time.monotonic() + deadline_s
    lost = []
    for task, payload in payloads.items():
        try:
            for reference in payload:
                ray.get(reference, timeout=max(1.0, end - time.monotonic()))
        except RayError:
            lost.append(task)
    return lost
