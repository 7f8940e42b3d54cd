"""The settings of a benchmark, by its work: what `--set FIELD=VALUE` may say.

Invariants: frozen; every bound is in its type; a field that takes several values takes one as well, and is then not
swept; a wrong field is named before anything is measured. An empty list stands for what suits the device.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from cluster.errors import ConfigurationError
from cluster.overrides import named_error, override_field

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["float32", "bfloat16", "float16"]
Rows = Annotated[int, Meta(ge=1, le=1 << 16)]
Length = Annotated[int, Meta(ge=2, le=1 << 20)]
Repeats = Annotated[int, Meta(ge=1, le=10_000)]
Threads = Annotated[int, Meta(ge=0, le=1024)]
Many = Annotated[int, Meta(ge=1, le=1 << 32)]


class ScoreBench(Struct, frozen=True, forbid_unknown_fields=True):
    """Scoring.

    Attributes:
        device: what is measured; `auto` is the GPU where PyTorch sees one.
        dtype: of weights and products; by default float32 on a CPU, bfloat16 on a GPU.
        batch: rows of each model in a forward pass; 0: as many as suit the device.
        length: tokens of a row; by default 512 on a CPU, 2048 on a GPU.
        peers: models in memory; of several, one after another and stacked.
        tokens: in a repetition, of each model; 0: as many as take the device a while.
        threads: of a CPU; 0: as PyTorch chooses.
        repeats: of every setting, after a warm-up.
    """

    device: Device = "auto"
    dtype: tuple[Dtype, ...] = ()
    batch: tuple[Annotated[int, Meta(ge=0, le=1 << 16)], ...] = (0,)
    length: tuple[Length, ...] = ()
    peers: tuple[Annotated[int, Meta(ge=1, le=1024)], ...] = (1,)
    tokens: Annotated[int, Meta(ge=0, le=1 << 24)] = 0
    threads: Threads = 0
    repeats: Repeats = 9


class TrainBench(Struct, frozen=True, forbid_unknown_fields=True):
    """A training step, and the compression of an update.

    Attributes:
        device, threads, repeats: as of scoring.
        dtype: of products; weights, gradients and moments are float32.
        batch: rows of a step.
        length: tokens of a row; by default 256 on a CPU, 2048 on a GPU.
        checkpointing: whether activations are computed again for the backward pass.
        update_parameters: sizes of the updates that are compressed; by default the model's.
    """

    device: Device = "auto"
    dtype: tuple[Literal["float32", "bfloat16"], ...] = ()
    batch: tuple[Rows, ...] = (8,)
    length: tuple[Length, ...] = ()
    checkpointing: tuple[bool, ...] = (False,)
    update_parameters: tuple[Many, ...] = ()
    threads: Threads = 0
    repeats: Repeats = 9


class ValueBench(Struct, frozen=True, forbid_unknown_fields=True):
    """Valuing many models on many events: fit on two folds, closed form, errors.

    Attributes:
        device, threads, repeats: as of scoring.
        models: how many.
        events: how many; by default 65,536 on a CPU, 1,048,576 on a GPU.
    """

    device: Device = "auto"
    models: tuple[Annotated[int, Meta(ge=2, le=1 << 16)], ...] = (256,)
    events: tuple[Annotated[int, Meta(ge=64, le=1 << 32)], ...] = ()
    threads: Threads = 0
    repeats: Repeats = 5


class EpochBench(Struct, frozen=True, forbid_unknown_fields=True):
    """An epoch's query phase through Ray, beside a bare loop over the same models and windows.

    Attributes:
        device: as of scoring.
        peers: how many are asked.
        windows, window_bytes: that each of two validators draws.
        panel: what is asked for.
        hosts: actors that answer.
        threads: of each host; 0: the cores divided among them. The loop has as many as all hosts.
        repeats: pairs of both sides, in turns.
    """

    device: Device = "auto"
    peers: Annotated[int, Meta(ge=1, le=1024)] = 4
    windows: Annotated[int, Meta(ge=8, le=65_536)] = 64
    window_bytes: Annotated[int, Meta(ge=16, le=1 << 20)] = 129
    panel: tuple[Literal["segments", "next_byte"], ...] = ("segments",)
    hosts: tuple[Annotated[int, Meta(ge=1, le=256)], ...] = (1,)
    threads: Threads = 0
    repeats: Repeats = 9


class LedgerBench(Struct, frozen=True, forbid_unknown_fields=True):
    """Signed extrinsics from bytes to disk, and the replay of the chain.

    Attributes:
        transfers: in a block.
        repeats: blocks of each size.
    """

    transfers: tuple[Annotated[int, Meta(ge=1, le=100_000)], ...] = (1000,)
    repeats: Repeats = 9


Bench = ScoreBench | TrainBench | ValueBench | EpochBench | LedgerBench
WORKS: dict[str, type[Bench]] = {
    "score": ScoreBench,
    "train": TrainBench,
    "value": ValueBench,
    "epoch": EpochBench,
    "ledger": LedgerBench,
}


def read_bench(work: str, overrides: Sequence[str] = ()) -> Bench:
    """The settings of a work, its defaults with `field=value` overrides.

    Raises ConfigurationError: the first field that is wrong.
    """
    if work not in WORKS:
        raise ConfigurationError("work", f"is {work!r}, expected one of {', '.join(WORKS)}")
    document: dict[str, Any] = {}
    for override in overrides:
        override_field(document, override)
    kind = WORKS[work]
    for field in msgspec.structs.fields(kind):
        value = document.get(field.name)
        if _sweeps(field.type) and value is not None and not isinstance(value, list):
            document[field.name] = [value]
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise _plain(named_error(str(error)), kind) from error


def _sweeps(kind: Any) -> bool:
    return get_origin(kind) is tuple and len(get_args(kind)) == 2


def _plain(error: ConfigurationError, kind: type[Bench]) -> ConfigurationError:
    """The error of a field itself where it is about one of its values; an unknown field with those there are."""
    field = error.field.partition("[")[0]
    if "unknown field" in error.sentence:
        name = error.sentence.rpartition("`")[0].rpartition("`")[2]
        return ConfigurationError(name, f"is no field; expected one of {', '.join(kind.__struct_fields__)}")
    if field in kind.__struct_fields__ and "enum value" in error.sentence:
        allowed = ", ".join(_values(next(one.type for one in msgspec.structs.fields(kind) if one.name == field)))
        return ConfigurationError(field, f"{error.sentence}, expected {allowed}")
    return ConfigurationError(field, error.sentence)


def _values(kind: Any) -> tuple[str, ...]:
    return get_args(get_args(kind)[0] if _sweeps(kind) else kind)
