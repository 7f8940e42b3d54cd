"""Shapes: what a stored version is, read from its configuration and from the headers of its weights alone.

Invariants: no weights are read and nothing is loaded, whatever a version's size; versions of equal signature have
tensors of the same names and shapes, the same architecture and the same tokenizer, so they can be stacked; a version
whose files say nothing sensible has a signature of its own.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import msgspec

from models.errors import StoreError
from models.manifest import Manifest, ManifestFile
from models.store import Store

CONFIG_FILE, ADAPTER_FILE = "config.json", "adapter_config.json"
SAFETENSORS = ".safetensors"
MOST_HEADER_BYTES = 1 << 26
"""Of one file's header: a model of 100,000 tensors has 10 MB."""
INCIDENTAL = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures", "use_cache"})
"""Fields of a configuration that do not change what a host computes: it loads all weights in one type of its own."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is.

    Attributes:
        signature: 16 bytes, equal for versions that can be stacked.
        parameters: numbers stored; of an adapter its own.
        size_bytes: what they occupy as they are stored.
        base: the manifest that an adapter is over; None for whole weights.
    """

    signature: bytes
    parameters: int
    size_bytes: int
    base: bytes | None = None


def read_shape(store: Store, manifest_hash: bytes) -> Shape:
    """The shape of a stored version. Raises StoreError where its files are absent or its manifest is damaged."""
    manifest = store.get(manifest_hash)
    files = {file.path: _content(store, manifest_hash, file) for file in manifest.files}
    weights = [files[name] for name in sorted(files) if name.endswith(SAFETENSORS)]
    size_bytes = sum(file.size_bytes for file in manifest.files if file.path.endswith(SAFETENSORS))
    try:
        tensors = {name: shape for path in weights for name, shape in read_tensors(path).items()}
        is_adapter = CONFIG_FILE not in files
        config = json.loads(files[ADAPTER_FILE if is_adapter else CONFIG_FILE].read_bytes())
        base = bytes.fromhex(config["base_model_name_or_path"]) if is_adapter else None
        told = {} if is_adapter else {key: value for key, value in config.items() if key not in INCIDENTAL}
        parameters = sum(math.prod(shape) for shape in tensors.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Shape(signature=manifest_hash[:16], parameters=size_bytes // 4, size_bytes=size_bytes)
    about = [told, sorted(tensors.items()), _tokenizer(manifest), base.hex() if base is not None else None]
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16, person=b"taoray/shape")
    return Shape(signature=digest.digest(), parameters=parameters, size_bytes=size_bytes, base=base)


def read_tensors(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file.

    Raises OSError, ValueError, TypeError, AttributeError or KeyError where it is none.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER_BYTES:
            raise ValueError(f"{path} has a header of {length} bytes")
        header: dict[str, Any] = json.loads(file.read(length))
    tensors = {name: tuple(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"}
    if any(not isinstance(size, int) or size < 0 for shape in tensors.values() for size in shape):
        raise ValueError(f"{path} has a tensor whose shape is none")
    return tensors


def _content(store: Store, manifest_hash: bytes, file: ManifestFile) -> Path:
    """Where a file's content lies in the store, which fetches what it lacks; it is not hashed here."""
    name = file.blake2b.hex()
    place = store.root / "objects" / name[:2] / name
    if not place.exists():
        place = store.materialize(manifest_hash) / file.path
    if not place.exists():
        raise StoreError(f"{place} is absent: restore it from another copy")
    return place


def _tokenizer(manifest: Manifest) -> list[str]:
    """The hashes of the files that say how text is read."""
    return [file.path + file.blake2b.hex() for file in manifest.files if "token" in file.path]
