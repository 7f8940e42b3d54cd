"""Quotas: how large a submitted version may be, and what its trial may use."""

from typing import Annotated

from msgspec import Meta, Struct


class Quotas(Struct, frozen=True, forbid_unknown_fields=True):
    """`[submissions]`: what a version may have at most.

    Attributes:
        mib: all its files together, in MiB.
        files: how many it has.
        parameters: in millions.
        layers, experts, width: of its configuration; experts are those of a layer.
        rank: of an adapter.
        context_tokens: how many tokens it says it reads at once.
        trial_mib: memory that loading it and its answers to a trial batch may take, beside the libraries.
        trial_s: for loading it and its answers to a trial batch.
    """

    mib: Annotated[int, Meta(ge=1, le=1 << 24)] = 32_768
    files: Annotated[int, Meta(ge=2, le=4096)] = 64
    parameters: Annotated[float, Meta(gt=0, le=1e6)] = 16_000.0
    layers: Annotated[int, Meta(ge=1, le=10_000)] = 256
    experts: Annotated[int, Meta(ge=1, le=1 << 16)] = 1024
    width: Annotated[int, Meta(ge=1, le=1 << 20)] = 65_536
    rank: Annotated[int, Meta(ge=1, le=1 << 16)] = 512
    context_tokens: Annotated[int, Meta(ge=2, le=1 << 24)] = 1 << 20
    trial_mib: Annotated[int, Meta(ge=64, le=1 << 24)] = 8192
    trial_s: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
