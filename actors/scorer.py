"""A scorer: has one model in memory at a time, and scores windows with it into files.

Invariants:
* what it writes depends on the model's files, the windows and the device alone, so that any scorer may go on;
* a model that cannot be hosted, or whose answers are no log-probabilities, is an answer too, and loaded only once;
* the model before is let go before the next is loaded.
"""

import gc
import os
import time
from pathlib import Path

import msgspec
import numpy as np
import torch

from actors.score_file import ScoreFacts, write_scores
from models.errors import ModelRefused
from models.host.hosted import Hosted, load_hosted
from models.host.score import score_windows
from models.text.align import Scores


class ScorerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a scorer may use. `device`: cpu or cuda; `batch_tokens` None: what suits the device."""

    device: str
    threads: int
    batch_tokens: int | None


class PartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Some windows for one model: its folder, and the file into which its scores go."""

    folder: str
    file: str


class PartReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a part. `refusal`: why the model has no scores, None where the file is written."""

    refusal: str | None = None


class Scorer:
    """The plain class behind a scorer actor."""

    def __init__(self, settings: ScorerSettings) -> None:
        torch.set_num_threads(settings.threads)
        self._settings = settings
        self._folder = ""
        self._model: Hosted | ModelRefused | None = None

    def ping(self) -> int:
        """The process id: the scorer is alive."""
        return os.getpid()

    def score(self, request: PartRequest, texts: list[bytes]) -> PartReceipt:
        """Score the windows and write the file. Raises OSError where it cannot be written."""
        model = self._hosted(request.folder)
        if isinstance(model, ModelRefused):
            return PartReceipt(refusal=str(model))
        began = time.perf_counter()
        try:
            scores = score_windows(model, texts, batch_tokens=self._settings.batch_tokens)
            check_scores(scores)
        except ModelRefused as refusal:
            return PartReceipt(refusal=str(refusal))
        facts = ScoreFacts(model.parameters, model.context_tokens, time.perf_counter() - began)
        write_scores(Path(request.file), scores, facts)
        return PartReceipt()

    def _hosted(self, folder: str) -> Hosted | ModelRefused:
        if self._model is None or folder != self._folder:
            self._folder, self._model = folder, None
            gc.collect()
            if self._settings.device == "cuda":
                torch.cuda.empty_cache()
            try:
                self._model = load_hosted(Path(folder), self._settings.device)
            except ModelRefused as refusal:
                self._model = refusal
        return self._model


def check_scores(scores: Scores) -> None:
    """Raise ModelRefused with code `scores` where an answer is NaN or above 0; −inf is an answer."""
    wrong = np.flatnonzero(~(scores.log_probability_C <= 0))
    if wrong.size:
        value = scores.log_probability_C[wrong[0]]
        raise ModelRefused(
            "scores", f"{wrong.size} of {len(scores.log_probability_C)} log-probabilities are NaN or above 0 ({value})"
        )
