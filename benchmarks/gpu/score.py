"""Scoring: what of the device's matrix product it reaches, and whether compiling, graphs or packing would help.

What bounds it: at 2,048 tokens operations, 2.6 GFLOP a token of a billion parameters, a tenth of them attention's. What
a way through the model can save: passes over hidden states and logits between the products (compiling), launches of
kernels where a model is small (graphs), padding (packing: the product's batches pad at most a sixteenth).

Bits per byte are compared with those of the same weights in float32, on text of the standard library, for a model of
random weights and for one that has learnt from that text.

Run: `python -m benchmarks.gpu.score [--device cuda] [--tiny] [--out FOLDER] [--seconds N]`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.gpu.forward import Packs, body_compiled, by_cudnn, graphed, head_compiled, maskless
from benchmarks.gpu.norms import fused_norms
from benchmarks.gpu.run import Run, main
from benchmarks.gpu.texts import byte_pages, byte_windows
from models.bench.cost import Cost, forward_cost, size_of
from models.bench.score import Axes, load_to_measure, measure_score
from models.host.batches import Span
from models.host.hosted import Hosted
from models.host.score import score_spans
from models.train.local import train_steps
from models.train.settings import TrainSettings

AIM_MFU, AIM_BITS = 0.60, 2e-3


@dataclass(frozen=True)
class Sizes:
    """What is measured. rows, length: of a batch of the large and of the small model; ragged: windows, and a batch."""

    large: str = "llama-1b"
    small: str = "byte-10m"
    batches: Sequence[int] = (1, 2, 4, 8, 16, 32)
    length: int = 2048
    compared: int = 4
    rows: int = 8
    small_rows: int = 64
    small_length: int = 128
    ragged: int = 128
    steps: int = 200
    pairs: int = 9
    repeats: int = 5


TINY = Sizes("byte-1m", "byte-1m", (1, 2), 16, 2, 2, 2, 8, 6, 2, 2, 2)
CPU = Sizes("llama-0.1b", "byte-10m", (1, 4), 256, 2, 2, 16, 128, 16, 60, 5)


def measure(run: Run) -> None:
    """All of it, the first aim first."""
    sizes = TINY if run.tiny else CPU if run.device.type == "cpu" else Sizes()
    with run.part("batches"):
        sweep(run, sizes)
    with run.part("bits per byte of random weights"):
        agree(run, load_to_measure(sizes.large, run.device, torch.float32), sizes, sizes.large)
    with run.part("bits per byte of a trained model"):
        agree(run, trained(run, sizes), sizes, f"{sizes.small} trained for {sizes.steps} steps")
    with run.part("packed"):
        run.need(20)
        packed(run, sizes)
    small = (sizes.small, sizes.small_rows, sizes.small_length)
    for name, rows, length in ((sizes.large, sizes.rows, sizes.length), small):
        with run.part(f"ways of {name}"):
            run.need(25)
            ways(run, load_to_measure(name, run.device, run.dtype), name, rows, length, sizes)


def sweep(run: Run, sizes: Sizes) -> None:
    """The product's own way, by batch; 0: the batch that it finds."""
    dtype = str(run.dtype).removeprefix("torch.")
    for batches in (sizes.batches, (0,)):
        axes = Axes([run.dtype], batches, [sizes.length], [1], max(sizes.batches) * sizes.length, sizes.repeats)
        run.add(
            *measure_score(
                sizes.large, device=run.device, axes=axes, ceilings={dtype: run.ceiling(run.dtype)}, tell=run.tell
            )
        )
    best = max(run.lines, key=lambda line: line.units_s)
    run.note(f"best MFU {best.mfu:.1%} at a batch of {best.setting['batch']} (aim on an H200: {AIM_MFU:.0%})")


def agree(run: Run, hosted: Hosted, sizes: Sizes, name: str) -> None:
    """Bits a byte in 16 bits against float32, of one text; a token is a byte."""
    token_C, spans = byte_windows([min(sizes.length, hosted.context_tokens)] * sizes.compared)
    exact = bits(score_spans(hosted, token_C, spans), spans)
    # Weights alone, as they are loaded in 16 bits: positions are computed from numbers that stay in float32.
    for parameter in hosted.model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    found = bits(score_spans(hosted, token_C, spans), spans)
    run.note(
        f"{name}: {found:.5f} bits a byte in bfloat16, {exact:.5f} in float32, {found - exact:+.1e} (aim {AIM_BITS})"
    )


def trained(run: Run, sizes: Sizes) -> Hosted:
    """The small model after some steps on text."""
    hosted = load_to_measure(sizes.small, run.device, torch.float32)
    settings = TrainSettings(steps=sizes.steps, batch=4 if run.tiny else 32, page_bytes=sizes.small_length + 1)
    train_steps(hosted.model, None, byte_pages(settings.pages, settings.page_bytes), settings, steps_done=0)
    return hosted


def bits(log_probability_GC: npt.NDArray[np.float32], spans: Sequence[Span]) -> float:
    """The mean over all tokens that are told."""
    told = sum(span.last - span.target + 1 for span in spans)
    return float(-log_probability_GC.astype(np.float64).sum() / told / log(2))


def ways(run: Run, hosted: Hosted, name: str, rows: int, length: int, sizes: Sizes) -> None:
    """Each other way in turns with the product's, on two batches of full rows."""
    made: dict[str, Callable[[Hosted], Hosted]] = {}
    if run.device.type == "cuda":
        made |= {"fused norms": fused_norms, "CUDA graphs": graphed, "no mask": maskless, "cuDNN attention": by_cudnn}
    if run.compiles:
        made["both compiled"] = lambda hosted: head_compiled(body_compiled(hosted))
        made |= {"body compiled": body_compiled, "head compiled": head_compiled}
    if run.compiles and run.device.type == "cuda":
        made["both compiled, CUDA graphs"] = lambda hosted: graphed(head_compiled(body_compiled(hosted)))
    token_C, spans = byte_windows([length] * (2 * rows))
    cost = forward_cost(size_of(hosted.model), rows, length, run.dtype.itemsize) * 2
    plain_GC = score_spans(hosted, token_C, spans, rows * length)
    for way, make in made.items():
        with run.part(f"{name}, {way}"):
            run.need(20)
            # What was compiled for another model's shapes would be made again for any shape.
            torch.compiler.reset()
            compare(run, name, way, hosted, make(hosted), token_C, spans, rows, cost, plain_GC, sizes.pairs)


def compare(
    run: Run, name: str, way: str, plain: Hosted, variant: Hosted, token_C: npt.NDArray[np.int32], spans: list[Span],
    rows: int, cost: Cost, plain_GC: npt.NDArray[np.float32], pairs: int,
) -> None:  # fmt: skip
    """One line."""
    length, tokens = spans[0].length, sum(span.length for span in spans)
    run.against(
        {"model": name, "way": way, "batch": rows, "length": length},
        "tokens",
        tokens,
        lambda: score_spans(plain, token_C, spans, rows * length),
        lambda: score_spans(variant, token_C, spans, rows * length),
        cost,
        run.dtype,
        pairs=pairs,
    )
    apart = np.abs(score_spans(variant, token_C, spans, rows * length) - plain_GC)
    run.note(f"{name}, {way}: apart by {apart.mean() / log(2):.1e} bits a token, at most {apart.max() / log(2):.1e}")


def packed(run: Run, sizes: Sizes) -> None:
    """Windows of unlike lengths in rows without padding, against the product's batches."""
    hosted = load_to_measure(sizes.large, run.device, run.dtype)
    lengths = np.random.default_rng(0).integers(sizes.length // 16, sizes.length + 1, sizes.ragged).tolist()
    token_C, spans = byte_windows(lengths)
    packs, budget = Packs(hosted), sizes.rows * sizes.length
    size = size_of(hosted.model)
    cost = Cost(sum(forward_cost(size, 1, length, 0).operations for length in lengths), 0.0)
    cost += forward_cost(size, 1, 1, run.dtype.itemsize) * (sum(lengths) / budget)
    run.against(
        {"model": sizes.large, "way": "packed", "batch": sizes.rows, "length": f"{min(lengths)} to {max(lengths)}"},
        "tokens",
        sum(lengths),
        lambda: score_spans(hosted, token_C, spans, budget),
        lambda: packs.score(token_C, spans, budget),
        cost,
        run.dtype,
        pairs=sizes.pairs,
    )
    apart = np.abs(packs.score(token_C, spans, budget) - score_spans(hosted, token_C, spans, budget)[0])
    run.note(f"packed: apart by {apart.mean() / log(2):.1e} bits a token, at most {apart.max() / log(2):.1e}")


if __name__ == "__main__":
    main("gpu_score", measure, __doc__)
