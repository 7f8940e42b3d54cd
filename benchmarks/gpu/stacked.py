"""Many peers on one device: stacked, against the same models one after another, at several lengths and stack sizes.

What bounds it: of a model of ten million parameters a batch of a few thousand tokens takes a GPU less time than the
launch of its kernels, some hundred of 5 to 10 µs; a stack of G models launches them once. Where each model has so many
tokens that its products alone fill the device, a stack wins nothing. `CUDA graphs` replays launches instead: of each
model alone, and of the stack.

Run: `python -m benchmarks.gpu.stacked [--device cuda] [--tiny] [--out FOLDER] [--seconds N]`.
"""

import numpy as np

from benchmarks.gpu.forward import graphed
from benchmarks.gpu.run import Run, main
from benchmarks.gpu.texts import byte_windows
from models.bench.cost import forward_cost, size_of
from models.bench.line import Setting
from models.bench.samples import sample_works
from models.bench.score import load_to_measure
from models.bench.timing import spread_of, time_once
from models.host.hosted import Hosted
from models.host.score import score_spans
from models.host.stacked import stack

PRESET, PEERS, PAIRS = "byte-10m", 64, 9
SHAPES = ((128, 4), (1024, 4), (512, 4), (128, 16), (1024, 16))
"""Length, and rows of each model: what a request asks of a peer."""
STACKS = (64, 32, 16, 8)
TINY_PRESET, TINY_SHAPES, TINY_STACKS = "byte-1m", ((16, 2),), (3,)
AIM_RATIO = 5.0
MOST_GRAPHS = 8
"""Models that are captured one by one: each has memory of its own for every shape."""


def measure(run: Run) -> None:
    """The largest stack first; its weights are the models' own memory, so that both ways read the same numbers."""
    preset, shapes, stacks = (TINY_PRESET, TINY_SHAPES, TINY_STACKS) if run.tiny else (PRESET, SHAPES, STACKS)
    if run.device.type == "cpu":
        stacks = tuple(min(count, 8) for count in stacks[-1:])
    every = [load_to_measure(preset, run.device, run.dtype, seed) for seed in range(max(stacks))]
    for count in stacks:
        with run.part(f"{count} models"):
            run.need(10)
            members = every[:count]
            together = stack(members)
            for length, rows in shapes:
                with run.part(f"{count} models, {rows} rows of {length}"):
                    run.need(5)
                    compare(run, preset, members, together, length, rows)
    ratios = [(line.ratio.median, str(line.setting)) for line in run.lines if line.ratio is not None]
    run.note("the best is {:.1f} times one after another: {}".format(*max(ratios)) + f" (aim {AIM_RATIO:.0f})")


def compare(run: Run, preset: str, members: list[Hosted], together: Hosted, length: int, rows: int) -> None:
    """One after another, stacked, and both as graphs; and how far their answers are apart."""
    token_C, spans = byte_windows([length] * rows)
    count, tokens = len(members), length * rows
    cost = forward_cost(size_of(members[0].model), rows, length, run.dtype.itemsize, models=count)
    setting: Setting = {"model": preset, "models": count, "length": length, "rows": rows}

    def alone(models: list[Hosted]) -> np.ndarray:
        return np.concatenate([score_spans(model, token_C, spans, tokens) for model in models])

    ways = {
        "one after another": lambda: alone(members),
        "stacked": lambda: score_spans(together, token_C, spans, count * tokens),
    }
    if run.device.type == "cuda":
        graph, graphs = graphed(together), [graphed(member) for member in members]
        ways["stacked, CUDA graphs"] = lambda: score_spans(graph, token_C, spans, count * tokens)
        if count <= MOST_GRAPHS:
            ways["one after another, CUDA graphs"] = lambda: alone(graphs)
    plain_GC, told = alone(members), []
    for work in ways.values():
        first_s = time_once(work, run.device)
        apart = np.abs(work() - plain_GC)
        told.append((f"first call {first_s:.1f} s", f"apart by {apart.mean():.1e} nats, at most {apart.max():.1e}"))
    every = sample_works(list(ways.values()), run.device, repeats=2 if run.tiny else PAIRS, warm_up=1)
    for way, samples, messages in zip(ways, every, told, strict=True):
        pairs = zip(every[0].seconds, samples.seconds, strict=True)
        ratio = None if samples is every[0] else spread_of([one / other for one, other in pairs])
        named = setting | {"way": way}
        run.add(run.line(named, "tokens", count * tokens, samples, cost, run.dtype, ratio=ratio, messages=messages))


if __name__ == "__main__":
    main("gpu_stacked", measure, __doc__)
