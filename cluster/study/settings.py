"""The settings of an evaluation: what is drawn from which text, and what scoring may use.

Invariants: frozen; every bound is in its type; a wrong field is named before anything is read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from cluster.errors import ConfigurationError
from cluster.overrides import named_error, override_field
from models.text.data import Data

Seconds = Annotated[float, Meta(gt=0)]


class Study(Struct, frozen=True, forbid_unknown_fields=True):
    """How models are evaluated.

    Attributes:
        data: the text; only its held-out documents are used, and the byte frequencies of the others as baseline.
        seed: of the draw of windows.
        windows: how many are drawn, over all strata.
        window_bytes: their length, before they are cut to whole characters.
        part_windows: windows in one call to a scorer; a call is what an interrupted evaluation loses.
        loaded: models in memory at once, one a scorer; as many scorers are started as cores or GPUs have room for.
        threads: of each scorer; 0 divides the cores among them.
        device: where models run.
        batch_tokens: tokens in one forward pass; 0: what suits the device.
        matrix_mib: a matrix of log-probabilities above this lies in a file of the work folder instead of memory.
        start_s, part_s, total_s: how long scorers may take to start, one part may take (loading included) before its
            scorer is asked for it no more, and all scoring may take.
    """

    data: Data = Data()
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    windows: Annotated[int, Meta(ge=8, le=1_000_000)] = 256
    window_bytes: Annotated[int, Meta(ge=16, le=1 << 20)] = 513
    part_windows: Annotated[int, Meta(ge=1, le=65_536)] = 64
    loaded: Annotated[int, Meta(ge=1, le=1024)] = 4
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch_tokens: Annotated[int, Meta(ge=0, le=1 << 24)] = 0
    matrix_mib: Annotated[int, Meta(ge=1)] = 2048
    start_s: Seconds = 120.0
    part_s: Seconds = 900.0
    total_s: Seconds = 86_400.0


def read_settings(overrides: Sequence[str] = (), paths: Sequence[Path | str] = ()) -> Study:
    """The defaults with `field=value` overrides, and `data.paths` as given where any are.

    Raises:
        ConfigurationError: the first field that is wrong.
    """
    document: dict[str, Any] = {}
    for override in overrides:
        override_field(document, override)
    if paths:
        data = document.setdefault("data", {})
        if not isinstance(data, dict):
            raise ConfigurationError("data", "is a section; expected such as data.text_column='content'")
        if "paths" in data:
            raise ConfigurationError("data.paths", "is set twice: by --data and by --set; use one of them")
        data["paths"] = [str(path) for path in paths]
    try:
        return msgspec.convert(document, Study)
    except msgspec.ValidationError as error:
        raise named_error(str(error)) from error
