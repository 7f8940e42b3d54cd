"""Peers' jobs, sent to the hosts of the pool.

Invariants: a job that fails or comes too late costs its peer this epoch, nobody else; the reason is told.
"""

from collections.abc import Mapping, Sequence

from actors.dispatch import Task
from actors.host import JobReceipt
from actors.miner import Job
from actors.seam import Handle, Reference
from cluster.place.plan import plan_hosts
from cluster.run import Run
from models.host.architectures import parameter_count


def send_jobs(run: Run, jobs: Mapping[str, Job]) -> dict[str, JobReceipt]:
    """Have the hosts do the jobs, each about as much; returns the receipts by peer."""

    def send(host: Handle, task: Task) -> Sequence[Reference]:
        return (host.work.remote(jobs[task.key.decode()]),)

    sizes = {name: parameter_count(job.architecture) if job.architecture else 1 for name, job in jobs.items()}
    plan = plan_hosts(sizes, run.network.placement.hosts)
    done = run.crew.pool.run(
        [Task(name.encode()) for name in jobs],
        send,
        homes={host: frozenset(name.encode() for name in names) for host, names in plan.items()},
        task_deadline_s=run.network.deadlines.train_s,
        deadline_s=run.network.deadlines.train_s,
        progress=run.show.advance,
    )
    for name, failure in done.failures.items():
        run.show.note(f"{name.decode()} is {failure.reason}: {failure.sentence}")
    return {task.key.decode(): receipt for task, receipt in done.receipts.items()}
