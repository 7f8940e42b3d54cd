"""The query phase: validators' windows joined into batches, asked of every version, answered by reference.

Invariants:
* a batch is for one version and may hold windows of several validators; each part is answered and signed apart;
* versions without an answer are named with the reason, and nobody waits for them.
"""

from collections.abc import Mapping, Sequence

import ray

from actors.dispatch import Task
from actors.host import Part, ScoreRequest
from actors.keeper import View
from actors.rows import Row
from actors.seam import Handle, Reference
from cluster.calls import ask_each
from cluster.config import OPERATOR
from cluster.remotes import ask_remotes, collect_remotes
from cluster.run import Run, Work


def draw(run: Run, work: Work) -> None:
    """Each validator draws its windows from its own seed. One that does not answer is left out of this epoch."""
    work.queries, failures = ask_each(
        run.crew.validators,
        lambda name, handle: handle.draw.remote(work.epoch),
        deadline_s=run.network.deadlines.validator_s,
    )
    for name, why in failures.items():
        run.show.note(f"{name} asks nothing in epoch {work.epoch}: {why}")


def ask_versions(run: Run, work: Work, view: View) -> None:
    """Have every version answer for every window."""
    names = sorted(work.queries)
    parts = join_parts([len(work.queries[name].text_WT) for name in names], run.network.query.request)
    requests = make_requests(view, parts, run.wallets)
    references = [ray.put(work.queries[name]) for name in names]

    def send(host: Handle, task: Task) -> Sequence[Reference]:
        call = host.score.options(num_returns=2)
        answered: list[Reference] = call.remote(requests[task], *references)
        return answered

    asking = ask_remotes(run, view, references)
    run.show.step(f"asking {len(view.rows)} versions", len(requests))
    deadlines = run.network.deadlines
    work.scored = run.crew.pool.run(
        list(requests),
        send,
        homes=_homes(run, view.rows, view),
        task_deadline_s=deadlines.task_s,
        deadline_s=deadlines.query_s,
        progress=run.show.advance,
    )
    collect_remotes(run, work, asking)
    names_by_uid = {neuron.uid: neuron.name for neuron in view.neurons}
    for row in view.rows:
        if row.manifest in work.scored.failures:
            failure = work.scored.failures[row.manifest]
            run.show.note(f"{names_by_uid.get(row.uid, 'a member')} is {failure.reason}: {failure.sentence}")


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
    view: View, parts: Sequence[tuple[Part, ...]], wallets: Mapping[bytes, str]
) -> dict[Task, ScoreRequest]:
    """One request a version and batch, signed by the publisher's wallet where it is here, else by the operator's."""
    hotkeys = {neuron.uid: neuron.hotkey for neuron in view.neurons}
    return {
        Task(row.manifest, index): ScoreRequest(
            version=row.manifest,
            wallet=wallets.get(hotkeys.get(row.uid, b""), OPERATOR),
            parts=joined,
        )
        for row in view.rows
        if not row.remote
        for index, joined in enumerate(parts)
    }


def _homes(run: Run, rows: Sequence[Row], view: View) -> dict[str, frozenset[bytes]]:
    """Present versions live where their peer lives; versions that only the collective keeps live nowhere."""
    names = {neuron.uid: neuron.name for neuron in view.neurons}
    present = {names[row.uid]: row.manifest for row in rows if row.present and not row.remote}
    return {
        host: frozenset(present[peer] for peer in peers if peer in present) for host, peers in run.crew.plan.items()
    }
