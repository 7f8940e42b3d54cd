"""How small, how quick and how safe is what members of a cohort send?

Size: updates of real training, of a model of ten million parameters and of one of half a million, against float32.
The rule gives 64 · 14 bits for 4096 · 32, 146 times less; short chunks round down, headers and codebooks cost.

Speed: encoding and decoding ten million parameters, together, with one thread and with two. What bounds it: the choice
of the largest 64 of each 4096, which reads every number once and is seven tenths of the time.

Safety: payloads changed at random, half of them with a checksum that agrees again, so that what is behind it is
reached. Each is refused with its code, or is an update within the layout; anything else ends the run with the payload
that did it. Memory is watched while they are decoded, for some of them by every allocation.

Run: `python benchmarks/compression.py [--mutants 100000] [--seed 1] [--quick]`.
"""

import argparse
import math
import random
import resource
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.record import summarize, write_record  # noqa: E402
from models.errors import UpdateRefused  # noqa: E402
from models.host.architectures import Architecture, build_model  # noqa: E402
from models.train.cohort import CHUNK, OuterSettings  # noqa: E402
from models.train.compression import compress, decode  # noqa: E402
from models.train.layout import Layout, layout_of, read_vector  # noqa: E402
from models.train.local import train_steps  # noqa: E402
from models.train.payload import CHECKSUM_BYTES, HEADER, seal  # noqa: E402
from models.train.settings import TrainSettings  # noqa: E402
from models.train.update import LARGEST  # noqa: E402

ARCHITECTURES = {
    "ten million": Architecture("llama", hidden=320, layers=8, heads=5, context=128),
    "half a million": Architecture("llama", hidden=104, layers=3, heads=4, context=128),
}
AIM_RATIO, AIM_S = 140, 0.2
BYTES_PER_COORDINATE = 160
"""Of memory that decoding may take; it takes about half."""
TRACED = 50
"""Of so many mutants one is decoded with every allocation counted, which makes it much slower."""

OUTER = OuterSettings()
DENSE = OuterSettings(keep=CHUNK)
HOSTILE = Layout(("a", "b", "c", "d"), ((3, CHUNK), (700,), (), (5, 900)))
"""What mutants are made for: whole chunks, short ones, a single number."""


def trained_update(architecture: Architecture, steps: int) -> tuple[np.ndarray, Layout]:
    """The pseudo-gradient of some steps of AdamW on the text of this folder, and its layout."""
    text = b"".join(path.read_bytes() for path in sorted((ROOT / "models").rglob("*.py")))
    pages_PT = np.frombuffer(text, np.uint8)[: len(text) // 128 * 128].reshape(-1, 128)
    model = build_model(architecture, 1)
    before_P = read_vector(model)
    settings = TrainSettings(steps=steps, batch=2, page_bytes=128)
    train_steps(model, None, pages_PT, settings, steps_done=0)
    return before_P - read_vector(model), layout_of(model)


def measure_size(update_P: np.ndarray, layout: Layout) -> dict[str, Any]:
    """Bytes of the payload, how often they go into float32, and how much of what is sent the 2 bits keep."""
    payload = compress(update_P, layout, OUTER)
    update = decode(payload, layout, OUTER)
    sent_N = update_P[update.position_N].astype(np.float64)
    return {
        "parameters": layout.size,
        "payload_bytes": len(payload),
        "ratio": 4 * layout.size / len(payload),
        "share_of_energy_sent": float((sent_N**2).sum() / (update_P.astype(np.float64) ** 2).sum()),
        "quantisation_error": float(((sent_N - update.value_N) ** 2).sum() / (sent_N**2).sum()),
    }


def measure_speed(update_P: np.ndarray, layout: Layout, repeats: int) -> dict[str, Any]:
    """Seconds of encoding, of decoding and of both, with one thread and with two, in turns; and the processor's.

    The processor's seconds of one thread are what both take on a core that nobody else uses.
    """
    samples: dict[tuple[int, str], list[float]] = {}
    for repeat in range(repeats + 1):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            started, started_cpu = time.perf_counter(), time.process_time()
            payload = compress(update_P, layout, OUTER)
            encoded = time.perf_counter()
            decode(payload, layout, OUTER)
            ended, ended_cpu = time.perf_counter(), time.process_time()
            if repeat:
                taken = {"encode_s": encoded - started, "decode_s": ended - encoded, "both_s": ended - started}
                taken["processor_s"] = ended_cpu - started_cpu
                for name, seconds in taken.items():
                    samples.setdefault((threads, name), []).append(seconds)
    torch.set_num_threads(1)
    return {
        f"threads_{threads}": {name: summarize(found) for (used, name), found in samples.items() if used == threads}
        for threads in (1, 2)
    }


def body_of(payload: bytes) -> bytearray:
    return bytearray(payload[HEADER.size : -CHECKSUM_BYTES])


def flipped(rng: random.Random, payload: bytes, outer: OuterSettings) -> bytes:
    data = bytearray(payload)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def truncated(rng: random.Random, payload: bytes, outer: OuterSettings) -> bytes:
    return payload[: rng.randrange(len(payload))]


def extended(rng: random.Random, payload: bytes, outer: OuterSettings) -> bytes:
    return payload + rng.randbytes(rng.choice((1, 2, 8, 1000, 1 << 20)))


def spliced(rng: random.Random, payload: bytes, outer: OuterSettings) -> bytes:
    first, second = sorted(rng.sample(range(len(payload)), 2))
    return payload[:first] + payload[second:] + payload[first:second]


def noise(rng: random.Random, payload: bytes, outer: OuterSettings) -> bytes:
    return payload[: rng.choice((0, 4, HEADER.size))] + rng.randbytes(len(payload) - HEADER.size)


def headed(rng: random.Random, payload: bytes, outer: OuterSettings) -> bytes:
    data = bytearray(payload)
    data[rng.randrange(HEADER.size)] = rng.randrange(256)
    return bytes(data)


def sealed_flips(rng: random.Random, payload: bytes, outer: OuterSettings) -> bytes:
    body = body_of(payload)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    return seal(bytes(body), HOSTILE, outer.keep)


def sealed_noise(rng: random.Random, payload: bytes, outer: OuterSettings) -> bytes:
    return seal(rng.randbytes(len(payload) - HEADER.size - CHECKSUM_BYTES), HOSTILE, outer.keep)


def sealed_books(rng: random.Random, payload: bytes, outer: OuterSettings) -> bytes:
    body = body_of(payload)
    odd = rng.choice((b"\x80\x7f", b"\x80\xff", b"\xc0\x7f", b"\x01\x00", b"\x00\x80", b"\x7f\x7f", b"\x80\x47"))
    places = rng.sample(range(0, 8 * len(HOSTILE.names), 2), rng.choice((1, 2, 16)))
    for place in places:
        body[place : place + 2] = odd
    return seal(bytes(body), HOSTILE, outer.keep)


def sealed_ones(rng: random.Random, payload: bytes, outer: OuterSettings) -> bytes:
    body = body_of(payload)
    first, last = sorted(rng.sample(range(len(body) + 1), 2))
    body[first:last] = rng.choice((b"\xff", b"\x00")) * (last - first)
    return seal(bytes(body), HOSTILE, outer.keep)


def resized(rng: random.Random, payload: bytes, outer: OuterSettings) -> bytes:
    body = bytes(body_of(payload))
    return seal(body[: rng.randrange(len(body))] + rng.randbytes(rng.randrange(3)), HOSTILE, outer.keep)


Mutation = Callable[[random.Random, bytes, OuterSettings], bytes]
MUTATIONS: tuple[Mutation, ...] = (
    flipped, truncated, extended, spliced, noise, headed,
    sealed_flips, sealed_noise, sealed_books, sealed_ones, resized,
)  # fmt: skip


def check_update(payload: bytes, outer: OuterSettings) -> str:
    """Decode it: the code of its refusal, or `decoded`; AssertionError for an update that is out of bounds."""
    try:
        update = decode(payload, HOSTILE, outer)
    except UpdateRefused as refused:
        return refused.code
    assert update.value_N.dtype == np.float32
    assert np.isfinite(update.value_N).all()
    assert (np.abs(update.value_N) <= LARGEST).all()
    if update.position_N is None:
        assert update.value_N.shape == (HOSTILE.size,)
    else:
        assert update.position_N.shape == update.value_N.shape
        assert 0 <= update.position_N[0] <= update.position_N[-1] < HOSTILE.size
        assert (np.diff(update.position_N) > 0).all()
    assert math.isclose(update.norm, np.linalg.norm(update.value_N.astype(np.float64)), rel_tol=1e-9, abs_tol=1e-30)
    return "decoded"


def throw_mutants(mutants: int, seed: int) -> dict[str, Any]:
    """Decode so many; how they ended, and the memory that it took."""
    rng = random.Random(seed)
    numbers_P = np.random.default_rng(seed).standard_t(3, HOSTILE.size).astype(np.float32)
    samples = [(compress(numbers_P, HOSTILE, outer), outer) for outer in (OUTER, OUTER, OuterSettings(keep=7), DENSE)]
    ends: Counter[str] = Counter()
    largest = 0
    before_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for index in range(mutants):
        mutation = MUTATIONS[index % len(MUTATIONS)]
        payload, outer = rng.choice(samples)
        mutant = mutation(rng, payload, outer)
        traced = index % TRACED == 0
        try:
            if traced:
                tracemalloc.start()
            end = check_update(mutant, outer)
            if traced:
                largest = max(largest, tracemalloc.get_traced_memory()[1])
        except BaseException:
            print(f"{mutation.__name__}, keep {outer.keep}: {mutant.hex()}", file=sys.stderr)
            raise
        finally:
            if traced:
                tracemalloc.stop()
        ends[end] += 1
    assert largest <= BYTES_PER_COORDINATE * HOSTILE.size, f"{largest} bytes for {HOSTILE.size} coordinates"
    return {
        "mutants": mutants,
        "ends": dict(sorted(ends.items())),
        "largest_decoding_bytes": largest,
        "bytes_per_parameter": largest / HOSTILE.size,
        "process_grew_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before_bytes,
    }


def main() -> None:
    """Measure, compare with the aims, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="the small model alone, 2,000 mutants, no record")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mutants = min(arguments.mutants, 2000) if arguments.quick else arguments.mutants
    hostile = throw_mutants(mutants, arguments.seed)
    names = ["half a million"] if arguments.quick else list(ARCHITECTURES)
    updates = {name: trained_update(ARCHITECTURES[name], 3) for name in names}
    size = {name: measure_size(*updates[name]) for name in names}
    speed = measure_speed(*updates[names[0]], repeats=3 if arguments.quick else 21)
    for name, line in size.items():
        print(f"{name}: {line['parameters']:,} parameters, {line['ratio']:.1f} times smaller", file=sys.stderr)
    for threads, line in speed.items():
        print(
            f"{threads}: encode and decode {line['both_s']['median']:.3f} s, of the processor "
            f"{line['processor_s']['median']:.3f} s",
            file=sys.stderr,
        )
    print(f"{mutants:,} mutants: {hostile['ends']}", file=sys.stderr)
    assert all(line["ratio"] >= AIM_RATIO for line in size.values()), size
    if arguments.quick:
        return
    took_s = speed["threads_1"]["processor_s"]["median"]
    assert took_s <= AIM_S, f"encoding and decoding took {took_s:.3f} s of a core, the aim is {AIM_S} s"
    write_record(
        "compression",
        {"keep": OUTER.keep, "seed": arguments.seed, "aims": {"ratio": AIM_RATIO, "processor_s": AIM_S}},
        {"size": size, "speed": speed, "hostile": hostile},
    )


if __name__ == "__main__":
    main()
