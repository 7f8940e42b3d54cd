"""Does it help peers of unlike architectures to follow the collective?

Three byte models of three architectures learn in one network's manner: each epoch every one takes its steps on its own
pages and publishes, the collective's weights are fitted on held-out text, and with `distil_weight` λ above 0 its
distribution over shared pages is written down and followed in the next epoch. Everything is what hosts run
(`actors.teacher`, `cluster.teaching`, `actors.miner`), in this process.

What bounds it: a step with a lesson reads twice the text, so an arm with twice the own text and no lesson stands beside
it. All arms of a seed have the same first weights, the same own pages and the same held-out text. Measured at the end,
on text that neither training nor weights saw: bits per byte of each peer, and of the collective.

    python -m benchmarks.distillation [--quick] [--work FOLDER]
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from actors.miner import Job, make_version
from actors.teacher import write_lesson
from benchmarks.record import write_record
from cluster.teaching import digest_of, plan_lessons
from ledger.entries import Collective, CollectiveMember
from ledger.extrinsics import BASELINE_UID
from models.host.architectures import Architecture
from models.host.library import Library
from models.host.score import score_windows
from models.store import Store
from models.text.corpus import Corpus
from models.text.data import Data
from models.text.prepare import prepare_corpus
from models.text.windows import Windows, draw_windows
from models.train.settings import TrainSettings
from models.value.fit import fit_mixture

PEERS = {
    "llama": Architecture("llama", 64, 2, 4),
    "gpt2": Architecture("gpt2", 48, 2, 4),
    "gpt_neox": Architecture("gpt_neox", 64, 2, 4),
}
WHOLE = 2**31
"""The weights of a stratum sum to this, as on the ledger."""
NATS = math.log(2)


class Settings(msgspec.Struct, frozen=True):
    """What is run. `arms`: by name, what of the training differs."""

    arms: dict[str, dict[str, Any]]
    training: TrainSettings = TrainSettings()
    epochs: int = 6
    seeds: tuple[int, ...] = (1, 2, 3)
    windows: int = 144
    test_windows: int = 384


ARMS: dict[str, dict[str, Any]] = {
    "alone": {},
    "alone, twice the text": {"batch": 16},
    "λ = 0.5": {"distil_weight": 0.5},
    "λ = 2": {"distil_weight": 2.0},
}


@dataclass(frozen=True)
class World:
    """The text and the folder of one arm's run."""

    corpus: Corpus
    library: Library
    folder: Path
    seed: int

    def bits(self, versions: Sequence[bytes], windows: Windows) -> NDArray[np.float64]:
        """Bits per byte of every byte but the first of each window, float64 [N + 1, M]; the baseline's are first."""
        text = [own.tobytes() for own in windows.text_WT]
        rows = [self.corpus.baseline_log_probability()[windows.text_WT[:, 1:].ravel()]]
        rows += [score_windows(self.library.hosted(version), text).log_probability_C for version in versions]
        wanted = windows.text_WT[:, 1:].size
        return np.stack([row.reshape(len(text), -1)[:, -(wanted // len(text)) :].ravel() for row in rows]) / -NATS


def run_arm(settings: Settings, training: TrainSettings, world: World) -> dict[str, Any]:
    """All epochs of one arm with one seed; bits per byte at the end of each."""
    seed = world.seed
    fitting = draw_windows(world.corpus, f"fit {seed}".encode(), windows=settings.windows, window_bytes=129)
    testing = draw_windows(world.corpus, f"test {seed}".encode(), windows=settings.test_windows, window_bytes=129)
    versions = {name: _do(world, _job(world, name, "begin", None, training, 0, ())) for name in PEERS}
    history = []
    lessons: tuple[str, ...] = ()
    for epoch in range(1, settings.epochs + 1):
        versions = {
            name: _do(world, _job(world, name, "train", versions[name], training, epoch, lessons)) for name in PEERS
        }
        own = list(versions.values())
        weights_SN = fit_strata(world.bits(own, fitting), fitting)
        history.append(measure(world.bits(own, testing), testing, weights_SN))
        if training.distil_weight:
            lessons = _teach(world, collective_of(world.corpus, own, weights_SN), training, epoch)
    return {"epochs": history} | history[-1]


def fit_strata(bits_NM: NDArray[np.float64], windows: Windows) -> NDArray[np.float64]:
    """The mixture's weights [S, N] in each stratum."""
    stratum_M = np.repeat(windows.stratum_W, bits_NM.shape[1] // len(windows.stratum_W))
    strata = int(stratum_M.max()) + 1
    return np.stack([fit_mixture(-NATS * bits_NM[:, stratum_M == number]).weights_N for number in range(strata)])


def measure(bits_NM: NDArray[np.float64], windows: Windows, weights_SN: NDArray[np.float64]) -> dict[str, Any]:
    """Bits per byte of each peer and of the mixture."""
    stratum_M = np.repeat(windows.stratum_W, bits_NM.shape[1] // len(windows.stratum_W))
    mixed_M = -np.log2((weights_SN.T[:, stratum_M] * np.exp2(-bits_NM)).sum(0))
    peers = dict(zip(PEERS, (float(row.mean()) for row in bits_NM[1:]), strict=True))
    return {"peers": peers, "mean": fmean(peers.values()), "collective": float(mixed_M.mean())}


def collective_of(corpus: Corpus, versions: Sequence[bytes], weights_SN: NDArray[np.float64]) -> Collective:
    """The mixture as the ledger has it, the baseline first."""
    manifests = [bytes(32), *versions]
    uids = [BASELINE_UID, *range(len(versions))]
    whole_SN = (weights_SN * WHOLE).astype(np.int64)
    members = (
        CollectiveMember(uid=uid, manifest=manifest, weights=tuple(int(weight) for weight in whole_SN[:, column]))
        for column, (uid, manifest) in enumerate(zip(uids, manifests, strict=True))
    )
    return Collective(strata=corpus.strata[: len(whole_SN)], members=tuple(members))


def _teach(world: World, collective: Collective, training: TrainSettings, epoch: int) -> tuple[str, ...]:
    seed = f"lessons {world.seed} {epoch}".encode()
    paths = []
    for lesson in plan_lessons(collective, world.corpus, training, seed=seed):
        path = world.folder / "lessons" / digest_of(lesson).hex()
        write_lesson(lesson, path, world.library, world.corpus)
        paths.append(str(path))
    return tuple(paths)


def _job(
    world: World,
    name: str,
    work: Any,
    base: bytes | None,
    training: TrainSettings,
    epoch: int,
    lessons: tuple[str, ...],
) -> Job:
    return Job(
        peer=name,
        work=work,
        base=base,
        architecture=PEERS[name],
        seed=1000 * world.seed + list(PEERS).index(name),
        strata=(),
        page_seed=f"{name} {world.seed} {epoch}".encode(),
        settings=training,
        noise=0.0,
        teaching=lessons,
    )


def _do(world: World, job: Job) -> bytes:
    folder = world.folder / "peers" / job.peer
    return make_version(job, store=world.library.store, corpus=world.corpus, folder=folder, device="cpu").manifest


def run_all(settings: Settings, work: Path) -> dict[str, Any]:
    """Every arm with every seed, seed by seed; the arms of a seed are compared pairwise with the first."""
    corpus = prepare_corpus(
        Data(), work / "corpus", window_bytes=129, minimum_windows=settings.windows + settings.test_windows
    )
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in settings.arms}
    for seed in settings.seeds:
        for arm, changes in settings.arms.items():
            training = msgspec.structs.replace(settings.training, **changes)
            with tempfile.TemporaryDirectory(prefix="taoray-") as scratch:
                library = Library(Store(Path(scratch) / "store"), device="cpu", capacity_bytes=1 << 28)
                world = World(corpus, library, Path(scratch), seed)
                found[arm].append(run_arm(settings, training, world))
            last = found[arm][-1]
            peers = ", ".join(f"{name} {bits:.4f}" for name, bits in last["peers"].items())
            print(f"seed {seed}  {arm:<24} {peers}  collective {last['collective']:.4f}", file=sys.stderr)
    return {arm: summarize_arm(runs, found[next(iter(found))]) for arm, runs in found.items()}


def summarize_arm(runs: list[dict[str, Any]], first: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds; differences from the first arm, with their standard error over seeds."""
    summary: dict[str, Any] = {"runs": runs}
    for measure_name in ("mean", "collective"):
        own = [run[measure_name] for run in runs]
        apart = [run[measure_name] - other[measure_name] for run, other in zip(runs, first, strict=True)]
        error = stdev(apart) / math.sqrt(len(apart)) if len(apart) > 1 else 0.0
        summary[measure_name] = {"bits": fmean(own), "over_first": fmean(apart), "over_first_se": error}
    summary["peers"] = {name: fmean(run["peers"][name] for run in runs) for name in PEERS}
    return summary


def table(measured: dict[str, Any]) -> str:
    """The result for people, in Markdown."""
    lines = [
        f"| arm | {' | '.join(PEERS)} | mean of peers | against alone | collective | against alone |",
        f"|---|{'---|' * (len(PEERS) + 4)}",
    ]
    for arm, found in measured.items():
        peers = " | ".join(f"{found['peers'][name]:.3f}" for name in PEERS)
        cells = [
            f"{found[name]['bits']:.3f} | {found[name]['over_first']:+.4f} ± {found[name]['over_first_se']:.4f}"
            for name in ("mean", "collective")
        ]
        lines.append(f"| {arm} | {peers} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run, print the table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two epochs, one seed, three arms; no record")
    parser.add_argument("--work", type=Path, help="where the prepared text is kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings(arms=ARMS)
    if arguments.quick:
        arms = {name: ARMS[name] for name in list(ARMS)[:3]}
        settings = Settings(arms=arms, training=TrainSettings(steps=20), epochs=2, seeds=(1,), test_windows=96)
    with tempfile.TemporaryDirectory(prefix="taoray-") as scratch:
        measured = run_all(settings, arguments.work or Path(scratch))
    print(table(measured), file=sys.stderr)
    if not arguments.quick:
        write_record("distillation", msgspec.to_builtins(settings), measured)


if __name__ == "__main__":
    main()
