"""A scorer: has one model in memory at a time, and scores windows with it into files.

Invariants:
* what it writes depends on the model's files, the windows and the device alone, so that any scorer may go on;
* a model that cannot be hosted, or whose answers are no log-probabilities, is an answer too, and loaded only once;
* the model before is let go before the next is loaded;
* where memory is full it works in smaller batches and its receipts say so; once its GPU has failed it says so to
  whatever is asked, until another process takes its place.
"""

import gc
import os
import time
from pathlib import Path

import msgspec
import numpy as np
import torch

from actors.score_file import ScoreFacts, write_scores
from models.errors import MemoryFull, ModelRefused
from models.faults import is_exhaustion, memory_of
from models.host.allocator import keep_freed_memory
from models.host.device import Watched
from models.host.hosted import Hosted, load_hosted
from models.host.score import score_windows
from models.text.align import Scores


class ScorerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a scorer may use. `device`: cpu or cuda; `batch_tokens` None: what suits the device."""

    device: str
    threads: int
    batch_tokens: int | None
    name: str = ""


class PartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Some windows for one model: its folder, and the file into which its scores go."""

    folder: str
    file: str


class PartReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a part. `refusal`: why the model has no scores, None where the file is written; `scorer`: who
    scored, `note`: what a person should know of its memory.
    """

    refusal: str | None = None
    scorer: str = ""
    note: str = ""


class Scorer:
    """The plain class behind a scorer actor."""

    def __init__(self, settings: ScorerSettings) -> None:
        torch.set_num_threads(settings.threads)
        keep_freed_memory()
        self._settings = settings
        self._folder = ""
        self._watched = Watched(settings.device)
        self._model: Hosted | ModelRefused | MemoryFull | None = None

    def ping(self) -> int:
        """The process id: the scorer is alive. Raises DeviceLost where its GPU is not."""
        self._watched.check()
        return os.getpid()

    def score(self, request: PartRequest, texts: list[bytes]) -> PartReceipt:
        """Score the windows and write the file.

        Raises:
            OSError: it cannot be written.
            DeviceLost: the GPU is gone, or failed.
        """
        with self._watched.watching():
            model = self._hosted(request.folder)
            if not isinstance(model, Hosted):
                return PartReceipt(refusal=str(model))
            began = time.perf_counter()
            try:
                scores = score_windows(model, texts, batch_tokens=self._settings.batch_tokens)
                check_scores(scores)
            except (ModelRefused, MemoryFull) as refusal:
                return PartReceipt(refusal=str(refusal))
        facts = ScoreFacts(model.parameters, model.context_tokens, time.perf_counter() - began)
        write_scores(Path(request.file), scores, facts)
        return PartReceipt(scorer=self._settings.name, note=model.note)

    def _hosted(self, folder: str) -> Hosted | ModelRefused | MemoryFull:
        if self._model is None or folder != self._folder:
            self._folder, self._model = folder, None
            gc.collect()
            if self._watched.device == "cuda":
                torch.cuda.empty_cache()
            self._model = self._load(Path(folder))
        return self._model

    def _load(self, folder: Path) -> Hosted | ModelRefused | MemoryFull:
        try:
            return load_hosted(folder, self._watched.device)
        except ModelRefused as refusal:
            return refusal
        except (RuntimeError, MemoryError, OSError) as error:
            if not is_exhaustion(error):
                raise
        return MemoryFull(f"{memory_of(self._watched.device)} is full: the model does not fit, alone in its scorer")


def check_scores(scores: Scores) -> None:
    """Raise ModelRefused with code `scores` where an answer is NaN or above 0; −inf is an answer."""
    wrong = np.flatnonzero(~(scores.log_probability_C <= 0))
    if wrong.size:
        value = scores.log_probability_C[wrong[0]]
        raise ModelRefused(
            "scores", f"{wrong.size} of {len(scores.log_probability_C)} log-probabilities are NaN or above 0 ({value})"
        )
