"""Scoring the models of an evaluation on Ray: parts of the text to as many scorers as there is room for.

Invariants: every wait has a deadline; a part that is scored is in a file at once and is never scored again; a model
that is refused, kills its scorer or is late loses its own value only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import ray

from actors.dispatch import QUARANTINE, Task
from actors.pool import Pool
from actors.score_file import ScoreFacts, join_files, read_scores, write_scores
from actors.scorer import PartRequest, Scorer, ScorerSettings
from actors.seam import Handle, Reference, start_actor
from cluster.calls import ask_each
from cluster.errors import ClusterError
from cluster.show import Progress
from cluster.study.candidates import Candidate
from cluster.study.settings import Study
from models.text.align import Scores


@dataclass(frozen=True)
class Part:
    """Windows `first` to `last` (exclusive)."""

    first: int
    last: int


@dataclass(frozen=True)
class Desk:
    """Where the files of scores lie, and which parts the windows are scored in."""

    folder: Path
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, folder: Path, windows: int, part_windows: int) -> "Desk":
        """The parts of so many windows."""
        cuts = range(0, windows, part_windows)
        return cls(folder, tuple(Part(first, min(windows, first + part_windows)) for first in cuts))

    def whole(self, key: bytes) -> Path:
        """The file of all of a model's scores."""
        return self.folder / f"{key.hex()}.arrow"

    def of_part(self, key: bytes, part: Part) -> Path:
        """The file of one part, until all are there."""
        return self.folder / f"{key.hex()}.{part.first}-{part.last}.arrow"

    def missing(self, key: bytes) -> list[int]:
        """The indices of the parts that are still to be scored."""
        if read_scores(self.whole(key)) is not None:
            return []
        return [i for i, part in enumerate(self.parts) if read_scores(self.of_part(key, part)) is None]

    def collect(self, key: bytes) -> tuple[Scores, ScoreFacts] | None:
        """All of a model's scores, as one file from now on; None while parts are missing."""
        found = read_scores(self.whole(key))
        if found is None:
            parts = [read_scores(self.of_part(key, part)) for part in self.parts]
            if any(part is None for part in parts):
                return None
            write_scores(self.whole(key), *join_files([part for part in parts if part is not None]))
            found = read_scores(self.whole(key))
        for left in self.folder.glob(f"{key.hex()}.*-*.arrow"):
            left.unlink(missing_ok=True)
        return found


def score_models(
    candidates: Sequence[Candidate],
    texts: Sequence[bytes],
    desk: Desk,
    settings: Study,
    show: Progress,
    *,
    scorer_class: type = Scorer,
) -> dict[bytes, str]:
    """Score what is missing, on the Ray cluster that this process has joined.

    Args:
        scorer_class: the plain class behind scorer actors.

    Returns:
        for each key whose model has no scores the reason.

    Raises:
        ClusterError: scorers did not start, or there is no such device.
    """
    folders = {candidate.key: candidate.folder for candidate in candidates if candidate.key}
    tasks = [Task(key, index) for key in folders for index in desk.missing(key)]
    if not tasks:
        return {}
    show.step("starting the scorers")
    scorers = start_scorers(settings, len(tasks), scorer_class)
    try:
        return ask_scorers(scorers, tasks, folders, texts, desk, settings, show)
    finally:
        for handle in scorers.hosts.values():
            ray.kill(handle)


def ask_scorers(
    scorers: Pool,
    tasks: Sequence[Task],
    folders: Mapping[bytes, Path],
    texts: Sequence[bytes],
    desk: Desk,
    settings: Study,
    show: Progress,
) -> dict[bytes, str]:
    """Have running scorers score these parts; returns the reason for each key whose model has no scores."""
    wanted = sorted({task.chunk for task in tasks})
    references = {chunk: ray.put(list(texts[desk.parts[chunk].first : desk.parts[chunk].last])) for chunk in wanted}

    def send(scorer: Handle, task: Task) -> Sequence[Reference]:
        file = desk.of_part(task.key, desk.parts[task.chunk])
        request = PartRequest(folder=str(folders[task.key]), file=str(file))
        return (scorer.score.remote(request, references[task.chunk]),)

    models = len({task.key for task in tasks})
    show.step(f"scoring {models} model{'s' if models > 1 else ''}", len(tasks))
    scored = scorers.run(
        tasks,
        send,
        homes=dict.fromkeys((name for name in scorers.hosts if name != QUARANTINE), frozenset()),
        task_deadline_s=settings.part_s,
        deadline_s=settings.total_s,
        progress=show.advance,
    )
    noted = {receipt.scorer: receipt.note for receipt in scored.receipts.values() if receipt.note}
    for scorer, note in sorted(noted.items()):
        show.note(f"{scorer}: {note}")
    errors = {key: f"{failure.reason}: {failure.sentence}" for key, failure in scored.failures.items()}
    errors |= {task.key: receipt.refusal for task, receipt in scored.receipts.items() if receipt.refusal}
    return errors


def start_scorers(settings: Study, tasks: int, scorer_class: type = Scorer) -> Pool:
    """As many scorers as there is room for, each known to answer.

    Raises:
        ClusterError: a scorer did not start within `start_s`, or GPUs are wanted and there are none.
    """
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray types none of it
    cores, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    if settings.device == "cuda" and not gpus:
        raise ClusterError('device is "cuda" and this Ray cluster has no GPU: use device=cpu, or another --address')
    device = "cuda" if gpus and settings.device != "cpu" else "cpu"
    count = max(1, min(settings.loaded, tasks, gpus if device == "cuda" else cores))
    scorer = ScorerSettings(
        device=device,
        threads=settings.threads or max(1, cores // count),
        batch_tokens=settings.batch_tokens or None,
    )

    def start(name: str) -> Handle:
        # The quarantine reserves no GPU, for the scorers may have them all; it sees them nevertheless.
        reserved = device == "cuda" and name != QUARANTINE
        own = msgspec.structs.replace(scorer, name=name)
        return start_actor(scorer_class, own, name=name, gpus=float(reserved), threads=scorer.threads)

    handles = {f"scorer-{index}": start(f"scorer-{index}") for index in range(count)}
    _, failures = ask_each(handles, lambda name, handle: handle.ping.remote(), deadline_s=settings.start_s)
    if failures:
        for handle in handles.values():
            ray.kill(handle)
        reasons = "; ".join(f"{name} ({why})" for name, why in sorted(failures.items()))
        raise ClusterError(f"did not start: {reasons}")
    return Pool(handles, lambda: start(QUARANTINE))
