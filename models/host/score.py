"""Scoring: what a model says of any text, as exact log-probabilities between the offsets at which its tokens end.

Invariants: natural logarithms; what the model says is what is returned, NaN included, for validators judge; a row's
result does not depend on the rows beside it, within 1e-4 in float32; memory holds one batch's hidden states and the
logits of a few positions.

A text longer than a model's context is read in overlapping windows of tokens, each token being predicted from at least
half of the context (stride = context // 2). W texts, C tokens or cuts of all of them, G models that speak together.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from models.errors import MemoryFull
from models.faults import is_exhaustion, memory_of
from models.host.batches import Span, cut_spans, next_batch, pad, places
from models.host.device import free_bytes, send
from models.host.hosted import Hosted
from models.host.reader import Reading
from models.text.align import Scores, join_scores

CPU_BATCH_TOKENS = 2048
"""Quickest on a CPU, as measured: what a layer works on stays in its caches."""
DEVICE_BATCH_TOKENS = 8192
"""The first batch on an accelerator; from its use of memory the size of the next ones is found."""
MOST_BATCH_TOKENS = 1 << 17
"""Larger batches are no quicker."""
CPU_LEAST_TOKENS = 512
DEVICE_LEAST_OPERATIONS = 1 << 41
"""So small a batch is not cut for its padding. On an accelerator a model takes as long to launch whatever its batch:
what is over before the next is launched would only be launched more often."""
TOKEN_BYTES = 4
"""Of text, about. A tokenizer needed 1 to 2.7 µs for one on a CPU's core; at 10^15 operations a second a model of a
billion parameters scores one in 2."""
MEMORY_SHARE = 0.5
"""Of an accelerator's free memory, what a batch may fill: the rest is for logits and for what is cut in pieces."""

Result = TypeVar("Result")


def score_windows(
    hosted: Hosted, texts: Sequence[bytes], *, batch_tokens: int | None = None, stride: int | None = None
) -> Scores:
    """Natural log-probabilities of `texts` between the model's own cuts.

    `batch_tokens`: padded tokens in a batch, found for the device where None. `stride`: how many tokens a later window
    of a long text predicts, 1 to the context. Raises TextError where a tokenizer gets no UTF-8, ModelRefused
    (`lossy_tokenizer`) where its tokens do not spell the text.
    """
    return score_together(hosted, texts, batch_tokens=batch_tokens, stride=stride)[0]


def score_together(
    hosted: Hosted, texts: Sequence[bytes], *, batch_tokens: int | None = None, stride: int | None = None
) -> list[Scores]:
    """As `score_windows`, of each of the models that speak."""
    stride = min(max(1, stride or hosted.context_tokens // 2), hosted.context_tokens)
    parts = []
    for reading in read_ahead(hosted, texts):
        spans = cut_spans(reading.start_W, hosted.context_tokens, stride)
        rows_GC = score_spans(hosted, reading.token_C, spans, batch_tokens)
        parts.append([reading.scores(row_C) for row_C in rows_GC])
    return [join_scores(own) for own in zip(*parts, strict=True)]


def read_ahead(hosted: Hosted, texts: Sequence[bytes]) -> Iterator[Reading]:
    """The texts as tokens: on an accelerator in parts, each of which is read while the one before is scored."""
    cuts = cut_parts([len(text) for text in texts], part_bytes(hosted))
    if len(cuts) == 1:
        yield hosted.reader.read(texts)
        return
    with ThreadPoolExecutor(1) as ahead:
        waiting: Future[Reading] | None = None
        for first, last in cuts:
            following = ahead.submit(hosted.reader.read, texts[first:last], first)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def cut_parts(lengths: Sequence[int], most_bytes: float) -> list[tuple[int, int]]:
    """First and last (exclusive) texts of parts that each hold about so many bytes; one part where there is no text."""
    part_W = (np.cumsum(lengths) - lengths) // most_bytes if len(lengths) else np.zeros(0)
    cuts = [0, *(np.flatnonzero(np.diff(part_W)) + 1).tolist(), len(lengths)]
    return list(pairwise(cuts))


def part_bytes(hosted: Hosted) -> float:
    """How much text is as much as a batch holds; on a CPU all: what reads ahead would take it from what scores."""
    if hosted.model.device.type == "cpu":
        return math.inf
    tokens = max(hosted.batch_tokens or DEVICE_BATCH_TOKENS, least_tokens(hosted))
    return TOKEN_BYTES * max(1, tokens // hosted.count)


def score_spans(
    hosted: Hosted, token_C: npt.NDArray[np.int32], spans: list[Span], batch_tokens: int | None = None
) -> npt.NDArray[np.float32]:
    """Natural log-probability float32 [G, C] of each token that a span predicts, 0 for the others."""
    log_probability_GC = np.zeros((hosted.count, len(token_C)), np.float32)
    device = hosted.model.device
    target_C = send(token_C.astype(np.int64), device)

    def score_batch(batch: list[Span]) -> tuple[npt.NDArray[np.int64], torch.Tensor]:
        token_BT = pad(token_C, batch)
        place, target = places(batch, token_BT.shape[1])
        hidden_GPH = hosted.head.hidden(send(token_BT, device))
        if len(place) < hidden_GPH.shape[1]:
            hidden_GPH = hidden_GPH[:, send(place, device)]
        return target, hosted.head.log_probability(hidden_GPH, target_C[send(target, device)])

    # Results stay where they were computed until all are: copying each would make the device wait for it.
    scored = over_batches(hosted, spans, score_batch, batch_tokens)
    if scored:
        target_P = np.concatenate([target for target, _ in scored])
        log_probability_GC[:, target_P] = torch.cat([values_GP for _, values_GP in scored], 1).cpu().numpy()
    return log_probability_GC


def over_batches(
    hosted: Hosted, spans: list[Span], work: Callable[[list[Span]], Result], batch_tokens: int | None
) -> list[Result]:
    """`work` on batches of spans of like length, in no order, each in memory that is there.

    Where memory is full the batch is halved, and no later one of this model is larger; its `note` says so. Raises
    MemoryFull where one span alone does not fit.
    """
    device = hosted.model.device
    spans = sorted(spans, key=lambda span: -span.length)
    lengths = [span.length for span in spans]
    results: list[Result] = []
    first = 0
    untried = CPU_BATCH_TOKENS if device.type == "cpu" else DEVICE_BATCH_TOKENS
    with hosted.speaking(), torch.inference_mode():
        while first < len(spans):
            budget = min(batch_tokens or hosted.batch_tokens or untried, hosted.most_tokens)
            last = next_batch(lengths, first, budget // hosted.count, least_tokens(hosted) // hosted.count)
            tokens = hosted.count * lengths[first] * (last - first)
            try:
                results.append(measured(hosted, lambda: work(spans[first:last]), tokens))  # noqa: B023
            except (RuntimeError, MemoryError) as error:
                if not is_exhaustion(error):
                    raise
            else:
                first = last
                continue
            # Not while the error is handled: it holds the frames that it went through, and these their tensors.
            if device.type == "cuda":
                torch.cuda.empty_cache()
            if last - first == 1:
                beside = f"beside {hosted.count} models" if hosted.count > 1 else "beside the model"
                raise MemoryFull(f"{memory_of(device.type)} is full: a text of {tokens:,} tokens does not fit {beside}")
            hosted.limit_batch(tokens // 2)
    return results


def least_tokens(hosted: Hosted) -> int:
    """Up to how many tokens, those of all models, a batch may have any padding."""
    if hosted.model.device.type == "cpu":
        return CPU_LEAST_TOKENS
    return DEVICE_LEAST_OPERATIONS // (2 * hosted.parameters)


def measured(hosted: Hosted, work: Callable[[], Result], tokens: int) -> Result:
    """The result of a batch; on a GPU the first one's use of memory decides how large the next ones are."""
    device = hosted.model.device
    if device.type != "cuda" or hosted.batch_tokens is not None:
        return work()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = work()
    per_token = max(1, torch.cuda.max_memory_allocated(device) - before) / tokens
    fitting = int(free_bytes(device) * MEMORY_SHARE / per_token)
    hosted.batch_tokens = min(max(fitting, CPU_BATCH_TOKENS), MOST_BATCH_TOKENS)
    return result
