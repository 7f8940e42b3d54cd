"""Scoring: how many tokens a second a model reads and tells the log-probability of, and how near that is to the floor.

Invariants: what is measured is what a host does, from tokens in memory to log-probabilities in memory; models that are
stacked answer beside the same models one after another, in turns.

What bounds it: of N weights that a token is multiplied with, L layers of width W and a context of T tokens, a token
needs 2·N + 2·L·W·(T + 1) operations (the output's matrix among the weights, the masked half of attention left out); a
batch reads all weights once. So a batch of B tokens is bound by operations where B·(2·N + …) / (operations a second) is
more than N·(bytes of a weight) / (bytes a second): from about 50 to 300 tokens on, on most devices.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.bench.ceilings import Ceilings
from models.bench.cost import Cost, ModelSize, forward_cost, size_of
from models.bench.line import Line, Setting, make_line
from models.bench.presets import PRESETS, build_preset
from models.bench.samples import Samples, sample_works, write_trace
from models.bench.timing import spread_of, time_once
from models.bench.words import bound_sentence
from models.errors import FieldError, MemoryFull, ModelsError
from models.faults import first_line, is_exhaustion
from models.host.batches import Span, cut_spans
from models.host.hosted import Hosted, host_model, load_hosted
from models.host.reader import ByteReader
from models.host.score import CPU_BATCH_TOKENS, MOST_BATCH_TOKENS, score_spans, score_together
from models.host.stacked import StackError, stack
from models.text.data import Data
from models.text.documents import list_sources, read_documents

Tell = Callable[[str], None]

REPETITION_S = {"cpu": 0.2, "cuda": 1.0}
"""A repetition has as many tokens as the device could do in this time at most, where nobody says how many."""
MOST_TOKENS = 1 << 20
"""Of all models in a repetition: they lie in memory as numbers of eight bytes, with their places."""
SAMPLE_BYTES = 1 << 16
"""Of text, by which it is told how many bytes a token has."""
ALONE, STACKED = "one after another", "stacked"


@dataclass(frozen=True)
class Text:
    """What is read in a repetition: windows of text, where the model has a tokenizer, or tokens drawn at random."""

    texts: tuple[bytes, ...]
    token_C: npt.NDArray[np.int32]
    spans: list[Span]

    @property
    def tokens(self) -> int:
        """How many are told the log-probability of."""
        return sum(span.last - span.target + 1 for span in self.spans)

    def read_by(self, models: Sequence[Hosted], batch_tokens: int | None) -> None:
        """Each of the models reads it as in a host."""
        for hosted in models:
            if self.texts:
                score_together(hosted, self.texts, batch_tokens=batch_tokens)
            else:
                score_spans(hosted, self.token_C, self.spans, batch_tokens)

    def cost(self, size: ModelSize, rows: int, element_bytes: int, models: int) -> Cost:
        """Of all batches of so many rows, by so many models."""
        lengths = Counter(span.length for span in self.spans)
        operations = sum(forward_cost(size, count, length, 0).operations for length, count in lengths.items())
        weights = forward_cost(size, 1, 1, element_bytes).bytes * -(-len(self.spans) // rows)
        return Cost(operations, weights) * models


@dataclass(frozen=True)
class Axes:
    """What is measured. batch: rows in a forward pass, 0 for as many as suit; tokens: of a repetition, 0 likewise."""

    dtypes: Sequence[torch.dtype]
    batches: Sequence[int]
    lengths: Sequence[int]
    peers: Sequence[int]
    tokens: int
    repeats: int


def measure_score(
    model: str,
    *,
    device: torch.device,
    axes: Axes,
    ceilings: Mapping[str, Ceilings],
    tell: Tell,
    trace: Path | None = None,
) -> list[Line]:
    """A line for every dtype, number of peers, length and batch; of several peers one more for them in a stack.

    Args:
        model: a preset's name or a model's folder. A folder reads text with its own tokenizer.
        ceilings: by dtype.
        tell: hears what bounds each setting before it is measured, and which could not be.
        trace: where the Chrome trace of one repetition of the first setting is written.

    Raises ModelsError where nothing could be measured, FieldError where a length is too long, ModelRefused where a
    folder is no model.
    """
    lines: list[Line] = []
    bench: _Bench | None = None
    failed = ""
    for dtype in axes.dtypes:
        for count in axes.peers:
            try:
                bench = _Bench.of(model, device, dtype, count, ceilings[_name(dtype)])
                bench.check_lengths(axes.lengths)
                for length, batch in product(axes.lengths, axes.batches):
                    lines += bench.measure(length, batch, axes, tell, None if lines else trace)
            except (MemoryFull, MemoryError, OSError, RuntimeError) as error:
                if not isinstance(error, MemoryFull) and not is_exhaustion(error):
                    raise
                failed = f"{count} × {Path(model).name} in {_name(dtype)}: {first_line(error)}"
                tell(failed)
            finally:
                # The next models are not loaded beside these.
                bench = None
    if not lines:
        raise ModelsError(f"nothing was measured ({failed}): take fewer peers, a smaller model or shorter rows")
    return lines


def load_to_measure(model: str, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Hosted:
    """A preset, weights from the seed, or the model of a folder. Raises ModelsError."""
    if model not in PRESETS and Path(model).is_dir():
        return load_hosted(Path(model), str(device), dtype)
    built: Any = build_preset(model, device, dtype, seed)
    return host_model(built, ByteReader())


@dataclass(frozen=True)
class _Bench:
    """Some models in memory, ready to be measured. folder: they are a folder's, and read text."""

    device: torch.device
    dtype: torch.dtype
    ceilings: Ceilings
    size: ModelSize
    models: list[Hosted]
    stacked: Hosted | None
    folder: bool
    why_alone: str = ""

    @classmethod
    def of(cls, model: str, device: torch.device, dtype: torch.dtype, count: int, ceilings: Ceilings) -> "_Bench":
        """Load so many, and stack them where that can be done."""
        models = [load_to_measure(model, device, dtype, seed) for seed in range(count)]
        made = cls(device, dtype, ceilings, size_of(models[0].model), models, None, model not in PRESETS)
        if count == 1:
            return made
        try:
            return replace(made, stacked=stack(models))
        except StackError as error:
            return replace(made, why_alone=f"they cannot be stacked: {error}")

    def check_lengths(self, lengths: Sequence[int]) -> None:
        """Raise FieldError where a length is more than the models read."""
        most = self.models[0].context_tokens
        if too_long := [length for length in lengths if length > most]:
            raise FieldError("length", f"is {too_long[0]}, and this model reads {most} tokens at most")

    def measure(self, length: int, batch: int, axes: Axes, tell: Tell, trace: Path | None) -> list[Line]:
        """The lines of one length and batch."""
        count, hosted = len(self.models), self.models[0]
        text = self._text(length, max(batch, 1), axes.tokens)
        likely = CPU_BATCH_TOKENS if self.device.type == "cpu" else MOST_BATCH_TOKENS
        rows = min(batch or max(1, likely // length), len(text.spans))
        setting: Setting = {"dtype": _name(self.dtype), "length": length, "batch": rows, "peers": count}
        tell(bound_sentence(setting, text.cost(self.size, rows, self.dtype.itemsize, count), self.ceilings))
        given = batch * length or None
        works = [lambda: text.read_by(self.models, given)]
        if self.stacked is not None:
            together = [self.stacked]
            works.append(lambda: text.read_by(together, given and given * count))
        samples = sample_works(works, self.device, repeats=axes.repeats)
        if trace is not None:
            write_trace(works[-1], self.device, trace)
        ways = [hosted] if self.stacked is None else [hosted, self.stacked]
        return [self._line(text, way, batch, setting, own, samples[0]) for way, own in zip(ways, samples, strict=True)]

    def _line(self, text: Text, way: Hosted, batch: int, setting: Setting, own: Samples, first: Samples) -> Line:
        count, length = len(self.models), int(setting["length"])
        rows, messages = batch, [self.why_alone] if self.why_alone else []
        if not batch:
            rows, why = self._found(way, length)
            messages.insert(0, f"batches of {min(rows, len(text.spans))} rows for each model: {why}")
        rows = max(1, min(rows, len(text.spans), way.most_tokens // count // length))
        if way.note:
            messages.append(way.note)
        if count > 1:
            setting = setting | {"way": STACKED if way is self.stacked else ALONE}
        if self.folder:
            messages.append(self._tokenization(text, own))
        ratio = None
        if way is self.stacked:
            ratio = spread_of([one / both for one, both in zip(first.seconds, own.seconds, strict=True)])
        return make_line(
            setting | {"batch": rows},
            "tokens",
            text.tokens * count,
            own.seconds,
            text.cost(self.size, rows, self.dtype.itemsize, count),
            self.ceilings,
            ratio=ratio,
            memory_bytes=own.memory_bytes,
            energy_j=own.energy_j,
            messages=messages,
        )

    def _found(self, way: Hosted, length: int) -> tuple[int, str]:
        """How many rows of each model a batch has that nobody asked for, and why."""
        tokens, why = way.batch_tokens, "as many as half of the free memory holds"
        if tokens is None:
            tokens, why = CPU_BATCH_TOKENS, f"{CPU_BATCH_TOKENS:,} tokens stay in a processor's caches"
        elif tokens >= MOST_BATCH_TOKENS:
            why = f"more than {MOST_BATCH_TOKENS:,} tokens are no quicker"
        return max(1, tokens // way.count // length), why

    def _tokenization(self, text: Text, own: Samples) -> str:
        reader = self.models[0].reader
        read_s = [time_once(lambda: reader.read(text.texts), torch.device("cpu")) for _ in range(3)]
        share = median(read_s) / median(own.seconds)
        return f"tokenization is {share:.1%} of it, {sum(map(len, text.texts)) / text.tokens:.2f} bytes a token"

    def _text(self, length: int, batch: int, tokens: int) -> Text:
        """As many rows as are asked for, or as take some time; whole batches."""
        count, hosted = len(self.models), self.models[0]
        if not tokens:
            floor_s = max(forward_cost(self.size, 1, length, 0).floors_s(self.ceilings)) * count
            fitting = REPETITION_S["cuda" if self.device.type == "cuda" else "cpu"] / floor_s * length
            tokens = min(int(fitting), MOST_TOKENS // count)
        rows = max(1, tokens // length // batch) * batch
        if self.folder:
            texts = read_standard_library(hosted, rows, length)
            reading, context = hosted.reader.read(texts), hosted.context_tokens
            return Text(texts, reading.token_C, cut_spans(reading.start_W, context, max(1, context // 2)))
        drawn = np.random.default_rng(0).integers(0, self.size.vocabulary, rows * (length + 1), dtype=np.int32)
        start_W = np.arange(rows + 1, dtype=np.int64) * (length + 1)
        return Text((), drawn, cut_spans(start_W, length, length))


def read_standard_library(hosted: Hosted, windows: int, length: int) -> tuple[bytes, ...]:
    """Windows of the interpreter's standard library that have about `length` tokens each, one after another."""
    content, wanted, width = bytearray(), SAMPLE_BYTES, 0
    while not width or len(content) < wanted:
        for document in read_documents(list_sources(Data()), Data(), Counter()):
            content += document.content
            if not width and len(content) >= SAMPLE_BYTES:
                sample = bytes(content[:SAMPLE_BYTES])
                width = max(2, length * len(sample) // len(hosted.reader.read([sample]).token_C))
                wanted = windows * width
            if len(content) >= wanted:
                break
    return tuple(bytes(content[first * width : (first + 1) * width]) for first in range(windows))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
