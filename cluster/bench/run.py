"""A benchmark from its settings to its report: the device, its ceilings, what bounds the work, and the work.

Invariants: settings are checked, and the device is found, before anything is measured; the process has as many threads
as before when it is over.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch

from cluster.bench.epoch import measure_epoch
from cluster.bench.ledger import measure_ledger
from cluster.bench.settings import Bench, EpochBench, LedgerBench, ScoreBench, TrainBench, ValueBench
from cluster.errors import ClusterError, ConfigurationError
from cluster.show import Progress
from models.bench.ceilings import Ceilings, measure_ceilings
from models.bench.compress import measure_compress
from models.bench.cost import size_of
from models.bench.line import Line
from models.bench.presets import PRESETS, build_preset
from models.bench.report import Report, make_report
from models.bench.score import Axes, measure_score
from models.bench.train import measure_train
from models.bench.value import measure_value
from models.bench.words import quantity
from models.errors import FieldError
from models.host.allocator import keep_freed_memory
from models.host.folders import CONFIG_FILE, is_adapter, read_config

USUAL_MODEL = {"cpu": "byte-1m", "cuda": "llama-1b"}
USUAL_PEER = {"cpu": "byte-1m", "cuda": "byte-10m"}
"""Of an epoch: several of them lie in a store, and answer over bytes."""
USUAL_DTYPE = {"cpu": "float32", "cuda": "bfloat16"}
SCORED_LENGTH = {"cpu": 512, "cuda": 2048}
TRAINED_LENGTH = {"cpu": 256, "cuda": 2048}
VALUED_EVENTS = {"cpu": 1 << 16, "cuda": 1 << 20}
BUSY = "an MFU is above 100%: the device was busy with something else when its ceilings were measured; measure again"
UPDATE_DTYPE, VALUE_DTYPE = "float32", "float64"
"""Of updates, and in which values are computed."""


def run_bench(work: str, model: str | None, settings: Bench, *, show: Progress, trace: Path | None = None) -> Report:
    """Measure one work.

    Args:
        work: of which the settings are.
        model: a preset's name or a model's folder; None: what suits the device.
        trace: where a Chrome trace of one repetition of the first setting is written.

    Raises:
        ConfigurationError: there is no such device or model, or a field is wrong for the model.
        ModelsError, ClusterError: nothing could be measured, for the reason that it says.
    """
    device = find_device(settings.device if not isinstance(settings, LedgerBench) else "cpu")
    name = find_model(work, model, settings, device)
    if trace is not None and isinstance(settings, LedgerBench):
        raise ConfigurationError("trace", "is of a device's work, and the ledger has none; leave --trace out")
    bench = _Running(device, name, show, trace)
    keep_freed_memory()
    with _threads(settings.threads if isinstance(settings, ScoreBench | TrainBench | ValueBench) else 0):
        try:
            lines, resolved = bench.measure(settings)
            if isinstance(resolved, ScoreBench | TrainBench | ValueBench):
                resolved = msgspec.structs.replace(resolved, threads=torch.get_num_threads())
        except FieldError as error:
            raise ConfigurationError(error.field, error.sentence) from error
        except OSError as error:
            raise ClusterError(f"the measurement cannot be made or its trace be written: {error}") from error
    return make_report(
        work,
        Path(name).name,
        device,
        ceilings=list(bench.ceilings.values()),
        configuration=msgspec.to_builtins(resolved),
        lines=lines,
        messages=[BUSY] if any((line.mfu or 0.0) > 1 for line in lines) else [],
    )


def find_device(asked: str) -> torch.device:
    """The device that a setting means. Raises ConfigurationError where it is not there."""
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise ConfigurationError("device", "is 'cuda', and PyTorch sees no GPU here; expected 'auto' or 'cpu'")
    return torch.device("cuda" if there and asked != "cpu" else "cpu")


def find_model(work: str, model: str | None, settings: Bench, device: torch.device) -> str:
    """The preset or folder to measure with; empty where the work has no model. Raises ConfigurationError."""
    if isinstance(settings, ValueBench | LedgerBench):
        if model is not None:
            raise ConfigurationError("model", f"is {model!r}, and {work} measures no model; leave --model out")
        return ""
    name = model or (USUAL_PEER if isinstance(settings, EpochBench) else USUAL_MODEL)[device.type]
    folder = Path(name)
    if name not in PRESETS and not (is_adapter(folder) or (folder / CONFIG_FILE).exists()):
        raise ConfigurationError("model", f"is {name!r}, expected a model's folder or one of {', '.join(PRESETS)}")
    return name


class _Running:
    """One benchmark: its device, and the ceilings that were measured for it, by dtype."""

    def __init__(self, device: torch.device, model: str, show: Progress, trace: Path | None) -> None:
        self.device = device
        self.model = model
        self.ceilings: dict[str, Ceilings] = {}
        self._show = show
        self._trace = trace

    def measure(self, settings: Bench) -> tuple[list[Line], Bench]:
        """The lines, and the settings with nothing left open."""
        match settings:
            case ScoreBench():
                return self._score(settings)
            case TrainBench():
                return self._train(settings)
            case ValueBench():
                return self._value(settings)
            case EpochBench():
                return self._epoch(settings)
            case LedgerBench():
                return self._ledger(settings)

    def _score(self, settings: ScoreBench) -> tuple[list[Line], Bench]:
        settings = msgspec.structs.replace(
            settings,
            device=self.device.type,
            dtype=settings.dtype or (USUAL_DTYPE[self.device.type],),
            length=settings.length or (SCORED_LENGTH[self.device.type],),
        )
        self._measure_ceilings(settings.dtype)
        axes = Axes(
            dtypes=_dtypes(settings.dtype),
            batches=settings.batch,
            lengths=settings.length,
            peers=settings.peers,
            tokens=settings.tokens,
            repeats=settings.repeats,
        )
        self._show.step(f"scoring with {Path(self.model).name}")
        return measure_score(self.model, axes=axes, **self._common()), settings

    def _train(self, settings: TrainBench) -> tuple[list[Line], Bench]:
        settings = msgspec.structs.replace(
            settings,
            device=self.device.type,
            dtype=settings.dtype or (USUAL_DTYPE[self.device.type],),
            length=settings.length or (TRAINED_LENGTH[self.device.type],),
            update_parameters=settings.update_parameters or (parameters_of(self.model),),
        )
        self._measure_ceilings((*settings.dtype, UPDATE_DTYPE))
        self._show.step(f"training {Path(self.model).name}")
        steps = measure_train(
            self.model,
            dtypes=_dtypes(settings.dtype),
            batches=settings.batch,
            lengths=settings.length,
            checkpointing=settings.checkpointing,
            repeats=settings.repeats,
            **self._common(),
        )
        self._show.step("compressing updates")
        compressed = measure_compress(
            parameters=settings.update_parameters,
            repeats=settings.repeats,
            device=self.device,
            ceilings=self.ceilings,
            tell=self._show.note,
        )
        return [*steps, *compressed], settings

    def _value(self, settings: ValueBench) -> tuple[list[Line], Bench]:
        settings = msgspec.structs.replace(
            settings, device=self.device.type, events=settings.events or (VALUED_EVENTS[self.device.type],)
        )
        self._measure_ceilings((VALUE_DTYPE,))
        self._show.step("valuing models")
        lines = measure_value(
            models=settings.models,
            events=settings.events,
            repeats=settings.repeats,
            **self._common(),
        )
        return lines, settings

    def _epoch(self, settings: EpochBench) -> tuple[list[Line], Bench]:
        settings = msgspec.structs.replace(settings, device=self.device.type)
        self._measure_ceilings((USUAL_DTYPE[self.device.type],))
        self._show.step(f"an epoch's query phase with {settings.peers} × {Path(self.model).name}")
        lines = measure_epoch(
            preset=self.model,
            peers=settings.peers,
            windows=settings.windows,
            window_bytes=settings.window_bytes,
            panels=settings.panel,
            hosts=settings.hosts,
            threads=settings.threads,
            repeats=settings.repeats,
            **self._common() | {"device": self.device.type},
        )
        return lines, settings

    def _ledger(self, settings: LedgerBench) -> tuple[list[Line], Bench]:
        self._show.step("building blocks")
        return measure_ledger(transfers=settings.transfers, repeats=settings.repeats, tell=self._show.note), settings

    def _common(self) -> dict[str, Any]:
        return {"device": self.device, "ceilings": self.ceilings, "tell": self._show.note, "trace": self._trace}

    def _measure_ceilings(self, dtypes: Sequence[str]) -> None:
        """Measure what the device does at most, and say it."""
        for name in dict.fromkeys(dtypes):
            self._show.step(f"measuring what the device does at most in {name}")
            found = measure_ceilings(self.device, *_dtypes((name,)))
            self.ceilings[name] = found
            rate, copied = quantity(found.operations_s, "FLOP/s"), quantity(found.bytes_s, "B/s")
            self._show.note(
                f"the device does at most {rate} in {name} (products of {found.matrix:,} × {found.matrix:,} numbers), "
                f"and moves {copied} (copies of {quantity(found.copied_bytes, 'B')}, read and written)"
            )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def parameters_of(model: str) -> int:
    """How many parameters a preset or a folder's model has, built without memory."""
    if model in PRESETS:
        return size_of(build_preset(model, torch.device("meta"), torch.float32)).parameters
    from transformers import AutoConfig, AutoModelForCausalLM

    read_config(Path(model))
    auto: Any = AutoModelForCausalLM
    with torch.device("meta"):
        return size_of(auto.from_config(AutoConfig.from_pretrained(model, local_files_only=True))).parameters


def _dtypes(names: Sequence[str]) -> list[torch.dtype]:
    return [getattr(torch, name) for name in names]


@contextmanager
def _threads(wanted: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
