"""Scoring through the actors against a bare PyTorch loop over the same batches, with as many threads in all.

What bounds it: both sides run the same model over the same bytes, so the actors can at best have what one process gains
or loses by splitting its work over threads. What they add is a call a part (about a millisecond, hidden by a second
part that waits at each scorer), the text of a part read from the object store, and a file of scores written a part;
what they lose is the time in which one scorer has run out of parts and another has not.

The bare loop has the model and all batches in memory as tensors, takes the log-softmax of the logits and gathers.
Models are loaded on both sides before time is taken. Run: `python benchmarks/scoring_actors.py [--pairs 9]`.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "token")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np  # noqa: E402
import ray  # noqa: E402
import torch  # noqa: E402
from record import summarize, time_pairs, write_record  # noqa: E402

from actors.dispatch import Task  # noqa: E402
from actors.pool import Pool  # noqa: E402
from cluster.show import Quiet  # noqa: E402
from cluster.study.scoring import Desk, ask_scorers, start_scorers  # noqa: E402
from cluster.study.settings import Study  # noqa: E402
from models.host.architectures import Architecture, build_model, parameter_count  # noqa: E402
from models.host.folders import save_model  # noqa: E402

ARCHITECTURES = {
    "small": Architecture("llama", hidden=104, layers=2, heads=4, context=513),
    "larger": Architecture("llama", hidden=256, layers=4, heads=4, context=513),
}
WINDOWS, WINDOW_BYTES, PART_WINDOWS, BATCH = 64, 513, 8, 4
AIM_RATIO = 0.95


def main() -> None:
    """Measure each model with one scorer and with one a core, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    pairs = parser.parse_args().pairs
    cores = os.cpu_count() or 1
    text_WT = np.random.default_rng(0).integers(32, 127, (WINDOWS, WINDOW_BYTES), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder, _ray(cores):
        measured = {
            f"{name}, {scorers} scorers": measure(Path(folder), name, scorers, text_WT, pairs)
            for name in ARCHITECTURES
            for scorers in sorted({1, cores})
        }
    configuration = {
        "pairs": pairs,
        "windows": WINDOWS,
        "window_bytes": WINDOW_BYTES,
        "part_windows": PART_WINDOWS,
        "batch_windows": BATCH,
        "parameters": {name: parameter_count(kind) for name, kind in ARCHITECTURES.items()},
        "threads": "one a scorer; the bare loop has as many in all",
        "aim": {"ratio": AIM_RATIO},
    }
    path = write_record("scoring_actors", configuration, measured)
    for name, row in measured.items():
        ratio = row["ratio"]
        print(
            f"{name}: {row['actors_bytes_per_s']['median']:,.0f} bytes/s, {ratio['median']:.3f} of the bare loop "
            f"({ratio['least']:.3f} to {ratio['most']:.3f})",
            file=sys.stderr,
        )
    print(path, file=sys.stderr)


def measure(folder: Path, name: str, scorers: int, text_WT: "np.ndarray[Any, Any]", pairs: int) -> dict[str, Any]:
    """One model with so many scorers: both sides in turns, and the ratio of their throughputs in each pair."""
    model = build_model(ARCHITECTURES[name], seed=1)
    place = folder / name
    if not place.exists():
        save_model(model, place)
    torch.set_num_threads(scorers)
    batches = [torch.from_numpy(batch.astype(np.int64)) for batch in np.split(text_WT, WINDOWS // BATCH)]
    texts = [text_T.tobytes() for text_T in text_WT]
    settings = Study(
        windows=WINDOWS,
        window_bytes=WINDOW_BYTES,
        part_windows=PART_WINDOWS,
        loaded=scorers,
        threads=1,
        device="cpu",
        batch_tokens=BATCH * WINDOW_BYTES,
    )
    desk = Desk.of(folder / f"scores-{name}-{scorers}", WINDOWS, PART_WINDOWS)
    desk.folder.mkdir()
    pool = start_scorers(settings, WINDOWS)
    try:
        bare_s, actors_s = time_pairs(
            lambda: score_bare(model, batches), lambda: score_actors(pool, place, texts, desk, settings), pairs
        )
    finally:
        for handle in pool.hosts.values():
            ray.kill(handle)
    return {
        "bare_bytes_per_s": summarize([text_WT.size / seconds for seconds in bare_s]),
        "actors_bytes_per_s": summarize([text_WT.size / seconds for seconds in actors_s]),
        "ratio": summarize([bare / actors for bare, actors in zip(bare_s, actors_s, strict=True)]),
    }


def score_bare(model: Any, batches: list[torch.Tensor]) -> list[torch.Tensor]:
    """Log-probabilities of every byte from the second on."""
    with torch.inference_mode():
        return [
            model(input_ids=text[:, :-1], use_cache=False).logits.log_softmax(2).gather(2, text[:, 1:, None]).squeeze(2)
            for text in batches
        ]


def score_actors(pool: Pool, folder: Path, texts: list[bytes], desk: Desk, settings: Study) -> None:
    """The same through the scorers, into files that are removed again."""
    key = folder.name.encode()
    tasks = [Task(key, index) for index in range(len(desk.parts))]
    errors = ask_scorers(pool, tasks, {key: folder}, texts, desk, settings, Quiet())
    if errors or desk.missing(key):
        raise RuntimeError(f"not everything was scored: {errors}")
    for part in desk.parts:
        desk.of_part(key, part).unlink()


@contextmanager
def _ray(cores: int) -> Iterator[None]:
    ray.init("local", include_dashboard=False, num_cpus=cores, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
