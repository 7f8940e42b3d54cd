"""The query phase: validators' windows joined into batches, asked of every version, answered by reference.

Invariants:
* a batch is for the versions of one stack and may hold windows of several validators; each version's answer to each
  is signed apart;
* a stack that fails for any reason is asked again version by version, so none costs another its answer;
* versions without an answer are named with the reason, and nobody waits for them.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import ray

from actors.dispatch import Task
from actors.host import Part, ScoreRequest
from actors.keeper import View
from actors.pool import Round
from actors.seam import Handle, Reference
from cluster.config import OPERATOR
from cluster.observe.facts import Asked, count_asked
from cluster.place.plan import HostPlan
from cluster.place.request import windows_per_call
from cluster.remotes import ask_remotes, collect_remotes
from cluster.run import Run, Work
from cluster.voting import ask_voters


def draw(run: Run, work: Work) -> None:
    """Each validator draws its windows from its own seed. One that does not answer is left out of this epoch."""
    work.queries, failures = ask_voters(run, run.crew.validators, lambda name, handle: handle.draw.remote(work.epoch))
    for name, why in failures.items():
        run.show.note(f"{name} asks nothing in epoch {work.epoch}: {why}")


def ask_versions(run: Run, work: Work, view: View) -> None:
    """Have every version answer for every window."""
    references = [ray.put(work.queries[name]) for name in sorted(work.queries)]
    asking = ask_remotes(run, view, references)
    hosted = [row.manifest for row in view.rows if not row.remote]
    work.asked = tuple(row.manifest for row in view.rows) if references else ()
    plan = run.packing.plan(hosted, run.crew.hosts)
    work.scored = ask_hosts(run, work, plan, signers(view, run.wallets), references)
    names = {neuron.uid: neuron.name for neuron in view.neurons}
    publishers = {row.manifest: names.get(row.uid, "") for row in view.rows}
    try:
        said = run.packing.learn(work.epoch, plan, work.scored.receipts.values(), work.scored.failures, publishers)
        for host, sentence in said.items():
            run.show.note(f"{host}: {sentence}")
    except OSError as error:
        run.show.note(f"the placement was not recorded: {error}")
    collect_remotes(run, work, asking)
    for row in view.rows:
        if row.manifest in work.scored.failures:
            failure = work.scored.failures[row.manifest]
            run.show.note(f"{names.get(row.uid, 'a member')} is {failure.reason}: {failure.sentence}")


def ask_hosts(
    run: Run,
    work: Work,
    plan: Mapping[str, HostPlan],
    wallets: Mapping[bytes, str],
    queries: Sequence[Reference],
) -> Round:
    """Ask stack by stack, and then version by version what the stacks that failed left open. Which queries a task is
    about is in `work.about`.
    """
    deadlines = run.network.deadlines
    end = time.monotonic() + deadlines.query_s
    windows = [len(work.queries[name].text_WT) for name in sorted(work.queries)]
    query, placement = run.network.query, run.network.placement
    parameters = {
        version: stack.parameters // len(stack.versions)
        for own in plan.values()
        for stack in own.stacks
        for version in stack.versions
    }

    def each(stack: tuple[bytes, ...]) -> int:
        return windows_per_call(query, placement, [parameters[version] for version in stack])

    def ask(how: str, stacks: Mapping[str, Sequence[tuple[bytes, ...]]]) -> Round:
        every = [stack for own in stacks.values() for stack in own]
        requests = make_requests(every, wallets, windows, each)
        work.requests |= requests
        for task, request in requests.items():
            work.about[task] = tuple(dict.fromkeys(part.query for part in request.parts))

        def send(host: Handle, task: Task) -> Sequence[Reference]:
            call = host.score.options(num_returns=2)
            answered: list[Reference] = call.remote(requests[task], *queries)
            return answered

        versions = sum(len(stack) for stack in every)
        run.show.step(f"{how} {versions} version{'s' if versions > 1 else ''}", len(requests))
        return run.crew.pool.run(
            list(requests),
            send,
            homes={host: frozenset(stack_key(stack) for stack in own) for host, own in stacks.items()},
            task_deadline_s=deadlines.task_s,
            deadline_s=max(0.0, end - time.monotonic()),
            progress=run.show.advance,
        )

    first = ask("asking", {host: [stack.versions for stack in own.stacks] for host, own in plan.items()})
    stacks = {stack_key(stack.versions): stack.versions for own in plan.values() for stack in own.stacks}
    broken = {version for key in first.failures for version in stacks[key] if len(stacks[key]) > 1}
    failures = {key: failure for key, failure in first.failures.items() if len(stacks[key]) == 1}
    if not broken:
        return first
    singly = {host: [(v,) for stack in own.stacks for v in stack.versions if v in broken] for host, own in plan.items()}
    second = ask("one by one:", singly)
    failures |= second.failures
    spans = [*first.spans, *second.spans]
    return Round(first.receipts | second.receipts, first.payloads | second.payloads, failures, spans)


def answers_by_validator(work: Work) -> dict[str, list[Reference]]:
    """For each validator that asks, the answers of those calls that were about its own query, among others perhaps."""
    names = sorted(work.queries)
    answers: dict[str, list[Reference]] = {name: [] for name in names}
    for task, payload in work.scored.payloads.items():
        for query in work.about.get(task, range(len(names))):
            answers[names[query]].append(payload[0])
    return answers


def asked_in(work: Work) -> Asked | None:
    """How the questions of this epoch ended; None where an earlier driver asked them."""
    if work.asked is None:
        return None
    receipts = work.scored.receipts
    remote = {task.key for task in work.scored.payloads if task not in receipts}
    windows = sum(len(query.text_WT) for query in work.queries.values())
    return count_asked(work.asked, windows, receipts.values(), remote, work.scored.failures)


def stack_key(versions: Sequence[bytes]) -> bytes:
    """The name of a stack among the pool's tasks: a version's own where it is alone."""
    return versions[0] if len(versions) == 1 else hashlib.blake2b(b"".join(versions), digest_size=32).digest()


def join_parts(windows: Sequence[int], batch: int) -> list[tuple[Part, ...]]:
    """Cut several queries' windows into batches, filled across the queries.

    Args:
        windows: how many each query has.
        batch: the most windows in one batch.
    """
    batches: list[tuple[Part, ...]] = []
    open_batch: list[Part] = []
    room = batch
    for query, count in enumerate(windows):
        first = 0
        while first < count:
            last = min(count, first + room)
            open_batch.append(Part(query, first, last))
            room -= last - first
            first = last
            if room == 0:
                batches.append(tuple(open_batch))
                open_batch, room = [], batch
    return [*batches, tuple(open_batch)] if open_batch else batches


def make_requests(
    stacks: Iterable[tuple[bytes, ...]],
    wallets: Mapping[bytes, str],
    windows: Sequence[int],
    each: Callable[[tuple[bytes, ...]], int],
) -> dict[Task, ScoreRequest]:
    """What is asked of each stack, in batches.

    Args:
        wallets: who signs for a version.
        windows: how many each query has.
        each: how many windows a stack's versions are asked about in one batch.
    """
    return {
        Task(stack_key(versions), index): ScoreRequest(
            versions=versions, wallets=tuple(wallets.get(version, OPERATOR) for version in versions), parts=parts
        )
        for versions in stacks
        for index, parts in enumerate(join_parts(windows, each(versions)))
    }


def signers(view: View, wallets: Mapping[bytes, str]) -> dict[bytes, str]:
    """The wallet that signs for each version: its publisher's where it is here, else the operator's."""
    hotkeys = {neuron.uid: neuron.hotkey for neuron in view.neurons}
    return {row.manifest: wallets.get(hotkeys.get(row.uid, b""), OPERATOR) for row in view.rows if not row.remote}
