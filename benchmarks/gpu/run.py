"""A run of one script: its options, the device's ceilings, and a record that is whole after every line.

Invariants: what one measurement fails of is a message in the record, and the next one is measured; the record on disk
has every line that is there, so that a run that is ended loses nothing.
"""

import argparse
import gc
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import torch

from models.bench.ceilings import Ceilings, measure_ceilings
from models.bench.cost import Cost
from models.bench.line import Line, make_line
from models.bench.report import Report, make_report, write_report
from models.bench.samples import Samples, sample_works
from models.bench.timing import Spread, spread_of, time_once
from models.bench.words import quantity
from models.faults import is_device_fault

RESULTS = Path(__file__).parents[1] / "results"
SECONDS = 540.0
"""For everything, so that ten minutes are enough."""
NOT_COMPILED = "nothing is compiled: there is no C compiler, or for a CPU no C++ compiler"
LONG_S = 1.0
"""A first call that takes longer is a price."""
TINY_MATRIX, TINY_COPY_BYTES = 128, 1 << 20

Setting = Mapping[str, str | int | float | bool]
Work = Callable[[], Any]


@dataclass
class Run:
    """What a script is told, and what it has measured so far.

    tiny: shapes of a test. out: the record's folder. ends: when there is no more time, by `time.monotonic`.
    """

    name: str
    device: torch.device
    tiny: bool
    out: Path
    ends: float
    ceilings: dict[str, Ceilings] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def dtype(self) -> torch.dtype:
        """What the product scores with: bfloat16 on a GPU, float32 on a CPU."""
        return torch.float32 if self.device.type == "cpu" else torch.bfloat16

    @property
    def left_s(self) -> float:
        """Seconds until there is no more time."""
        return self.ends - time.monotonic()

    @property
    def compiles(self) -> bool:
        """Whether torch.compile is tried: it needs more time than a test has, and a compiler."""
        if self.tiny:
            return False
        wanted = ("c++", "g++", "clang++") if self.device.type == "cpu" else ("cc", "gcc", "clang")
        found = any(shutil.which(name) for name in wanted)
        if not found and NOT_COMPILED not in self.messages:
            self.note(NOT_COMPILED)
        return found

    @cached_property
    def path(self) -> Path:
        """Where the record is: by the script's name and the device's."""
        device = "cpu" if self.device.type == "cpu" else torch.cuda.get_device_name(self.device)
        return self.out / f"{self.name}_{re.sub(r'[^a-z0-9]+', '_', device.lower()).strip('_')}.json"

    @cached_property
    def _begun(self) -> Report:
        """The record before anything is measured: to ask the machine and git takes longer than a small line."""
        told = {"tiny": self.tiny, "device": self.device.type, "threads": torch.get_num_threads()}
        return make_report(self.name, "", self.device, ceilings=(), configuration=told, lines=())

    def ceiling(self, dtype: torch.dtype) -> Ceilings:
        """The device's, measured when it is first asked for."""
        name = str(dtype).removeprefix("torch.")
        if name not in self.ceilings:
            sizes = {"matrix": TINY_MATRIX, "copied_bytes": TINY_COPY_BYTES} if self.tiny else {}
            self.ceilings[name] = found = measure_ceilings(self.device, dtype, **sizes)
            told = f"{quantity(found.operations_s, 'FLOP/s')}, {quantity(found.bytes_s, 'B/s')}"
            self.tell(f"ceilings in {name}: {told}")
        return self.ceilings[name]

    def add(self, *lines: Line) -> None:
        """Lines that are measured; the record is written."""
        for line in lines:
            self.lines.append(line)
            self.tell(row(line))
        self.write()

    def note(self, message: str) -> None:
        """A sentence for the record, and to be read now."""
        self.messages.append(message)
        self.tell(message)
        self.write()

    def tell(self, message: str) -> None:
        """A sentence to be read now."""
        print(f"[{self.name}] {message}", file=sys.stderr, flush=True)

    def write(self) -> None:
        """The record as it is now."""
        lines, messages, ceilings = tuple(self.lines), tuple(self.messages), tuple(self.ceilings.values())
        report = msgspec.structs.replace(self._begun, lines=lines, messages=messages, ceilings=ceilings)
        # Whole or not at all: a run that has used its time is killed.
        write_report(report, self.path.with_suffix(".part")).replace(self.path)

    def need(self, seconds: float) -> None:
        """Raise TimeoutError where there is less time left."""
        if self.left_s < seconds:
            raise TimeoutError(f"not measured, for {max(0, self.left_s):.0f} s were left")

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A measurement that may fail, or need more time than there is: then it is a message."""
        try:
            yield
        except Exception as error:
            # Whatever one variant meets on a device that it was not tried on, the others are still worth their time.
            self.note(f"{name}: {failure(error)}")
            if is_device_fault(error):
                raise
        free(self.device)

    def timed(
        self, setting: Setting, unit: str, units: int, work: Work, cost: Cost, dtype: torch.dtype, *, repeats: int
    ) -> None:
        """The line of one piece of work by itself."""
        self.add(self.line(setting, unit, units, sample_works([work], self.device, repeats=repeats)[0], cost, dtype))

    def against(
        self, setting: Setting, unit: str, units: int, plain: Work, variant: Work, cost: Cost, dtype: torch.dtype, *,
        pairs: int, first_s: float | None = None, messages: Sequence[str] = (),
    ) -> float:  # fmt: skip
        """The line of a variant, in turns with what the product does: its ratio is of throughputs, by pair.

        Its first call, in which it is compiled or captured, is timed by itself and told; `first_s`: it has been.
        Returns the median ratio.
        """
        first_s = time_once(variant, self.device) if first_s is None else first_s
        one, other = sample_works([plain, variant], self.device, repeats=pairs, warm_up=1)
        ratio = spread_of([a / b for a, b in zip(one.seconds, other.seconds, strict=True)])
        told = [f"first call {first_s:.1f} s", *messages]
        if first_s > LONG_S and ratio.median > 1:
            paid_s = first_s / (1 - 1 / ratio.median)
            told.insert(1, f"which is paid back after {paid_s:,.0f} s of the product's work")
        self.add(self.line(setting, unit, units, other, cost, dtype, ratio=ratio, messages=told))
        return ratio.median

    def line(
        self, setting: Setting, unit: str, units: int, samples: Samples, cost: Cost, dtype: torch.dtype, *,
        ratio: Spread | None = None, messages: Sequence[str] = (),
    ) -> Line:  # fmt: skip
        """What samples of a piece of work say."""
        return make_line(
            setting,
            unit,
            units,
            samples.seconds,
            cost,
            self.ceiling(dtype),
            ratio=ratio,
            memory_bytes=samples.memory_bytes,
            energy_j=samples.energy_j,
            messages=messages,
        )


def free(device: torch.device) -> None:
    """Give back what nobody holds any more, to a GPU."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def failure(error: BaseException) -> str:
    """The first line of what went wrong."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:300]


def row(line: Line) -> str:
    """A line as it is printed."""
    parts = [", ".join(f"{name} {value}" for name, value in line.setting.items())]
    parts.append(f"{quantity(line.units_s, line.unit)}/s")
    if line.mfu:
        parts.append(f"MFU {line.mfu:.1%}")
    if line.bandwidth:
        parts.append(f"bandwidth {line.bandwidth:.1%}")
    if line.ratio is not None:
        low, high = line.ratio.quartiles
        parts.append(f"{line.ratio.median:.3f} times ({low:.3f} to {high:.3f})")
    if line.memory_bytes:
        parts.append(quantity(line.memory_bytes, "B"))
    return "; ".join([*parts, *line.messages])


def compact(line: Line) -> str:
    """A line in few characters."""
    setting = " ".join(str(value) for value in line.setting.values())
    shares = [f"{share:.1%}" for share in (line.mfu, line.bandwidth) if share]
    ratio = [] if line.ratio is None else [f"×{line.ratio.median:.2f} ({line.ratio.least:.2f}-{line.ratio.most:.2f})"]
    memory = [quantity(line.memory_bytes, "B")] if line.memory_bytes else []
    return " | ".join([setting, f"{quantity(line.units_s, '')}/s", *shares, *ratio, *memory, *line.messages[:1]])


def main(name: str, measure: Callable[[Run], None], about: str | None) -> None:
    """Run one script: exit code 1 where something could not be measured, and the record says what."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true", help="shapes of a test")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the record's folder")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="what is not begun by then is left out")
    told = parser.parse_args()
    run = Run(name, torch.device(told.device), told.tiny, told.out, time.monotonic() + told.seconds)
    with run.part(name):
        measure(run)
    run.write()
    print(f"{run.path.name}: {len(run.lines)} lines")
    for text in [*map(row, run.lines), *run.messages]:
        print(f"  {text}")
    raise SystemExit(0 if run.lines else 1)
