"""Tokens a second against lm-evaluation-harness's Hugging Face back end: same model, same text, same windows.

What bounds it: the model's products, which both do in the same library. lm-eval computes log-probabilities of the whole
vocabulary at every padded position of a batch, 128,256 numbers each, and reads them again for the likeliest token; and
waits for the device twice a window. Both are timed from text to sums; lm-eval at the quickest of several batch sizes.
In 16 bits lm-eval also takes logarithms and sums of a window in 16 bits, which is most of what both are apart then.
Where lm-eval is not installed, what its back end does is done by `lm_eval_backend`, and the record says so.

Run: `python -m benchmarks.gpu.against_lm_eval [--device cuda] [--tiny] [--out FOLDER] [--seconds N]`.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from benchmarks.gpu.lm_eval_backend import Backend
from benchmarks.gpu.run import Run, main
from benchmarks.gpu.texts import END, library_bytes, train_tokenizer, with_tokenizer
from models.bench.cost import Cost, forward_cost, size_of
from models.bench.score import load_to_measure
from models.bench.timing import time_once
from models.host.batches import cut_spans
from models.host.hosted import Hosted
from models.host.score import score_windows

CASES = {"long documents": (8, 20_000, 30_000), "short documents": (192, 100, 3_000)}
"""Documents, and their least and most bytes."""
TINY_CASES = {"short documents": (3, 50, 200)}
PRESETS = {"cuda": ("llama-1b", 2048), "cpu": ("llama-0.1b", 512), "tiny": ("byte-1m", 64)}
"""Which model, and the tokens of a window."""
BATCHES = (1, 4, 16)
AIM_RATIO, AIM_BITS = 3.0, 1e-3

Ask = Callable[[list[str], int], list[float]]


def measure(run: Run) -> None:
    """Both kinds of text."""
    preset, length = PRESETS["tiny" if run.tiny else run.device.type]
    tokenizer = train_tokenizer(256 if run.tiny else 16_384, 1 << (13 if run.tiny else 21))
    hosted = load_to_measure(preset, run.device, run.dtype)
    with_tokenizer(hosted, tokenizer)
    hosted.context_tokens = length
    harness, name = open_harness(hosted, tokenizer, length)
    run.note(f"against {name}")
    cases = TINY_CASES if run.tiny else CASES if run.device.type == "cuda" else {"short documents": (24, 100, 3_000)}
    for case, (documents, least, most) in cases.items():
        with run.part(case):
            run.need(20)
            compare(run, preset, case, hosted, harness, documents_of(documents, least, most))


def open_harness(hosted: Hosted, tokenizer: Tokenizer, length: int) -> tuple[Ask, str]:
    """lm-eval itself where it is installed, else what it does; and what that is called in the record."""
    try:
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM
    except ImportError:
        own = Backend(hosted.model, tokenizer, tokenizer.token_to_id(END), length)
        return own.loglikelihood_rolling, "the work of lm-eval 0.4.13's Hugging Face back end, done here"
    from transformers import PreTrainedTokenizerFast

    logging.disable(logging.WARNING)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)
    harness: Any = HFLM(pretrained=hosted.model, tokenizer=wrapped, max_length=length, batch_size=1)

    def ask(texts: list[str], batch: int) -> list[float]:
        harness.batch_size_per_gpu = batch
        requests = [Instance("loglikelihood_rolling", {}, (text,), index) for index, text in enumerate(texts)]
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            found: list[float] = harness.loglikelihood_rolling(requests, disable_tqdm=True)
        return found

    return ask, f"lm-eval {version('lm_eval')}"


def documents_of(count: int, least: int, most: int) -> list[str]:
    """Pieces of the standard library, of lengths drawn once; ASCII, so that no character is cut."""
    lengths = np.random.default_rng(0).integers(least, most, count)
    text = library_bytes(4 * int(lengths.sum())).decode("ascii", "ignore")
    ends = np.cumsum(lengths)
    return [text[int(end - length) : int(end)] for length, end in zip(lengths, ends, strict=True)]


def compare(run: Run, preset: str, case: str, hosted: Hosted, harness: Ask, texts: list[str]) -> None:
    """One line: the product against the harness at its quickest batch size, and how far their sums are apart."""
    data = [text.encode() for text in texts]
    tried: dict[int, float] = {}
    for batch in BATCHES[: 2 if run.tiny else None]:
        with run.part(f"lm-eval, batch {batch}"):
            harness(texts[: 2 * batch], batch)
            tried[batch] = time_once(lambda b=batch: harness(texts, b), run.device)  # type: ignore[misc]
    best = min(tried, key=lambda batch: tried[batch])
    reading = hosted.reader.read(data)
    spans = cut_spans(reading.start_W, hosted.context_tokens, hosted.context_tokens)
    size, tokens = size_of(hosted.model), sum(span.length for span in spans)
    cost = Cost(sum(forward_cost(size, 1, span.length, 0).operations for span in spans), 0.0)
    here, there = sums(hosted, data), np.array(harness(texts, best))
    apart = np.abs(here - there) / np.array([len(text) for text in data]) / log(2)
    whole = abs(here.sum() - there.sum()) / sum(map(len, data)) / log(2)
    run.against(
        {"model": preset, "text": case, "lm-eval's batch": best},
        "tokens",
        tokens,
        lambda: harness(texts, best),
        lambda: sums(hosted, data),
        cost,
        run.dtype,
        pairs=2 if run.tiny else 9,
        messages=[
            f"apart by {whole:.1e} bits a byte, of a document by at most {apart.max():.1e} (aim {AIM_BITS})",
            "lm-eval by batch: " + ", ".join(f"{own}: {tokens / taken:,.0f} tokens/s" for own, taken in tried.items()),
            f"aim on a GPU: {AIM_RATIO:.0f} times",
        ],
    )


def sums(hosted: Hosted, data: Sequence[bytes]) -> npt.NDArray[np.float64]:
    """The log-likelihood of each text, in lm-eval's disjoint windows."""
    scores = score_windows(hosted, data, stride=hosted.context_tokens)
    return np.add.reduceat(scores.log_probability_C.astype(np.float64), scores.start_W[:-1])


if __name__ == "__main__":
    main("gpu_against_lm_eval", measure, __doc__)
