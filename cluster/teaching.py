"""Lessons: before peers train, hosts write down what the collective expects of shared pages, a stratum each.

Invariants:
* pages and mixture follow from the last close block, so a driver that is killed finds what was written, or has the
  same written again;
* a lesson that fails costs its stratum's pages in this epoch, nobody its training; the reason is told;
* where nothing is distilled, nothing is done.
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from actors.dispatch import Task
from actors.keeper import View
from actors.seam import Handle, Reference
from actors.teacher import Lesson
from cluster.place.plan import host_names
from cluster.run import Run, Work
from ledger.entries import Collective
from ledger.extrinsics import BASELINE_UID
from models.text.corpus import Corpus
from models.train.settings import TrainSettings
from models.value.accounts import divide_largest_remainder


def teach(run: Run, work: Work, view: View) -> tuple[str, ...]:
    """The files of this epoch's lessons, for peers that train; none where nothing is distilled, and while the
    collective has no member. What was taught in other epochs is removed.
    """
    settings = run.network.training
    if not settings.distil_weight:
        return ()
    folder = run.home.teaching / view.close_hash.hex()
    for other in run.home.teaching.glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    lessons = plan_lessons(view.collective, Corpus.open(run.home.text), settings, seed=view.close_hash)
    paths = {lesson: folder / f"{digest_of(lesson).hex()}.safetensors" for lesson in lessons}
    _have_written(run, view, {lesson: path for lesson, path in paths.items() if not path.exists()})
    return tuple(str(path) for path in paths.values() if path.exists())


def plan_lessons(collective: Collective, corpus: Corpus, settings: TrainSettings, *, seed: bytes) -> tuple[Lesson, ...]:
    """A lesson for each stratum in which a member carries weight; the strata share the pages by their training text."""
    voiced = [
        (stratum, index)
        for index, stratum in enumerate(collective.strata)
        if any(member.weights[index] for member in collective.members if member.uid != BASELINE_UID)
    ]
    sizes = {count.stratum: count.size_bytes for count in corpus.describe().counts if not count.held_out}
    pages = divide_largest_remainder(settings.distil_pages, [sizes.get(stratum, 0) for stratum, _ in voiced])
    return tuple(
        Lesson(
            stratum=stratum,
            page_seed=hashlib.blake2b(seed + stratum.encode(), digest_size=32, person=b"taoray/lessons").digest(),
            pages=count,
            page_bytes=settings.page_bytes,
            members=tuple(
                (member.manifest, member.weights[index])
                for member in collective.members
                if member.uid != BASELINE_UID and member.weights[index]
            ),
            baseline=sum(member.weights[index] for member in collective.members if member.uid == BASELINE_UID),
            top=settings.distil_top,
            floor=settings.distil_floor,
        )
        for (stratum, index), count in zip(voiced, pages, strict=True)
        if count
    )


def digest_of(lesson: Lesson) -> bytes:
    """What names a lesson's file, 16 bytes."""
    return hashlib.blake2b(msgspec.msgpack.encode(lesson), digest_size=16).digest()


def _have_written(run: Run, view: View, paths: dict[Lesson, Path]) -> None:
    """Have the hosts write lessons, the strata dealt out among them; what fails is told."""
    if not paths:
        return
    lessons = {digest_of(lesson): lesson for lesson in paths}

    def send(host: Handle, task: Task) -> Sequence[Reference]:
        lesson = lessons[task.key]
        return (host.teach.remote(lesson, str(paths[lesson])),)

    run.show.step(f"asking the collective about {sum(lesson.pages for lesson in paths)} shared pages", len(paths))
    hosts = host_names(run.crew.hosts)
    done = run.crew.pool.run(
        [Task(key) for key in lessons],
        send,
        homes={host: frozenset(list(lessons)[index :: len(hosts)]) for index, host in enumerate(hosts)},
        task_deadline_s=run.network.deadlines.train_s,
        deadline_s=run.network.deadlines.train_s,
        progress=run.show.advance,
    )
    for key, failure in done.failures.items():
        run.show.note(f"nothing is taught of {lessons[key].stratum}: {failure.reason}: {failure.sentence}")
    names = {row.manifest: neuron.name for row in view.rows for neuron in view.neurons if neuron.uid == row.uid}
    left_out = {key: why for receipt in done.receipts.values() for key, why in receipt.left_out.items()}
    for manifest, why in left_out.items():
        run.show.note(f"{names.get(manifest, 'a member')} does not teach: {why}")
