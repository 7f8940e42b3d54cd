"""Peers' jobs, sent to the hosts of the pool.

Invariants: a job that fails or comes too late costs its peer this epoch, nobody else; the reason is told.
"""

from collections.abc import Mapping, Sequence

from actors.dispatch import Task
from actors.host import JobReceipt
from actors.member import MemberJob, RoundReceipt
from actors.miner import Job
from actors.seam import Handle, Reference
from cluster.place.plan import plan_hosts
from cluster.run import Run, Work
from models.host.architectures import parameter_count


def send_jobs(run: Run, work: Work, jobs: Mapping[str, Job | MemberJob]) -> dict[str, JobReceipt | RoundReceipt]:
    """Have the hosts do the jobs, each about as much; returns the receipts by peer. Who has none is in
    `work.left_out`, with the reason.
    """

    def send(host: Handle, task: Task) -> Sequence[Reference]:
        job = jobs[task.key.decode()]
        return ((host.contribute if isinstance(job, MemberJob) else host.work).remote(job),)

    sizes = _sizes(run)
    plan = plan_hosts({name: sizes.get(name, 1) for name in jobs}, run.crew.hosts)
    done = run.crew.pool.run(
        [Task(name.encode()) for name in jobs],
        send,
        homes={host: frozenset(name.encode() for name in names) for host, names in plan.items()},
        task_deadline_s=run.network.deadlines.train_s,
        deadline_s=run.network.deadlines.train_s,
        progress=run.show.advance,
    )
    for key, failure in done.failures.items():
        work.left_out[key.decode()] = f"{failure.reason}: {failure.sentence}"
        run.show.note(f"{key.decode()} is {failure.reason}: {failure.sentence}")
    receipts = {task.key.decode(): receipt for task, receipt in done.receipts.items()}
    for name, receipt in receipts.items():
        for message in receipt.messages:
            run.show.note(f"{name}: {message}")
    return receipts


def _sizes(run: Run) -> dict[str, int]:
    """Parameters of the models of the configuration's cohorts and peers, by name."""
    cohorts = {cohort.name: parameter_count(cohort.architecture) for cohort in run.network.cohorts}
    peers = {
        peer.name: parameter_count(peer.architecture) if peer.architecture is not None else cohorts[peer.cohort]
        for peer in run.network.peers
    }
    return cohorts | peers
