"""Weights over several files, and the index that says which tensor lies where.

Invariants: every safetensors file of a folder is one that transformers will read; an index names files beside it, and
says of every tensor in them, once, where it is.
"""

from pathlib import Path

from models.errors import ModelRefused
from models.host.folders import ADAPTER_WEIGHTS_FILE, INDEX_FILE, WEIGHTS_FILE, is_adapter
from models.intake.documents import Unreadable, read_document
from models.intake.listing import WEIGHTS_SUFFIX
from models.intake.tensors import Tensor, read_tensors

INDEX_BYTES = 16 << 20


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder that was listed, by name.

    Raises ModelRefused with a code of `read_tensors`, or `index`, `index_path`, `index_file`, `index_tensor`,
    `repeated_tensor`, `stray_file` or `no_weights`.
    """
    index = None if is_adapter(folder) or (folder / WEIGHTS_FILE).exists() else read_index(folder)
    if index is None:
        names = {ADAPTER_WEIGHTS_FILE if is_adapter(folder) else WEIGHTS_FILE}
    else:
        names = files_named(folder, index)
    if stray := sorted({path.name for path in folder.glob(f"[!.]*{WEIGHTS_SUFFIX}")} - names):
        raise ModelRefused("stray_file", f"{stray[0]} belongs to no weights that would be loaded: remove it")
    places: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for name in sorted(names):
        for tensor, entry in read_tensors(folder / name).items():
            if tensor in tensors:
                raise ModelRefused(
                    "repeated_tensor", f"{tensor[:200]!r} is in {places[tensor]} and in {name}: keep one"
                )
            tensors[tensor], places[tensor] = entry, name
    if not tensors:
        raise ModelRefused("no_weights", f"{folder} holds no tensors: save the weights again")
    if index is not None:
        check_map(index, places)
    return tensors


def files_named(folder: Path, index: dict[str, str]) -> set[str]:
    """The weight files that an index names, each of them there."""
    names = set(index.values())
    for name in sorted(names):
        if name != Path(name).name or not name.endswith(WEIGHTS_SUFFIX):
            raise ModelRefused("index_path", f"{INDEX_FILE} points to {name[:200]!r}, which is no file beside it")
        if not (folder / name).is_file():
            raise ModelRefused("index_file", f"{INDEX_FILE} points to {name[:200]!r}, which is missing: add it")
    return names


def read_index(folder: Path) -> dict[str, str]:
    """The file of every tensor, as the index says."""
    try:
        index = read_document(folder / INDEX_FILE, INDEX_BYTES)
    except Unreadable as error:
        raise ModelRefused("index", error.sentence) from None
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(place, str) for place in places.values()):
        raise ModelRefused("index", f"{INDEX_FILE} has no weight_map of tensors to files: save the model again")
    return places


def check_map(index: dict[str, str], places: dict[str, str]) -> None:
    """Refuse an index that says of any tensor what the files do not."""
    for tensor in sorted(index.keys() | places.keys()):
        if index.get(tensor) != places.get(tensor):
            raise ModelRefused(
                "index_tensor",
                f"{INDEX_FILE} has {tensor[:200]!r} in {index.get(tensor)}, it is in {places.get(tensor)}: "
                "save the model again",
            )
