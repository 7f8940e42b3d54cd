"""The models of an evaluation: what they are called, and under which key their scores are kept.

Invariants: names are unique and in the order given, which is the order of publication; a key depends on what is in the
model's files, on the windows and on what scoring depends on, and on no path or time.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from models.errors import ModelRefused
from models.host.adapters import base_folder
from models.host.folders import is_adapter, read_config

READ_SUFFIXES = frozenset({".json", ".safetensors"})
"""Of the files that make a model what it is; the others in a folder are not read."""
KEY_DOMAIN = b"taoray scores 1\x00"
WINDOWS_DOMAIN = b"taoray scored windows 1\x00"


@dataclass(frozen=True)
class Candidate:
    """One model to value.

    key: 32 bytes, under which its scores are kept; empty where its files cannot be read, and `error` says why.
    """

    name: str
    folder: Path
    key: bytes = b""
    error: str | None = None


def list_candidates(folders: Sequence[Path], texts_hash: bytes, device: str) -> list[Candidate]:
    """The models in the order given, with their keys; reads every file once."""
    return [
        make_candidate(name, folder.expanduser().absolute(), texts_hash, device)
        for name, folder in zip(unique_names(folders), folders, strict=True)
    ]


def make_candidate(name: str, folder: Path, texts_hash: bytes, device: str) -> Candidate:
    """One model by its folder."""
    try:
        files = [(path.name, hash_file(path)) for path in files_of(folder) if path.is_file()]
    except ModelRefused as refusal:
        return Candidate(name, folder, error=str(refusal))
    except OSError as error:
        return Candidate(name, folder, error=f"unreadable: {error}")
    content = msgspec.msgpack.encode((files, texts_hash, device))
    return Candidate(name, folder, hashlib.blake2b(KEY_DOMAIN + content, digest_size=32).digest())


def files_of(folder: Path) -> list[Path]:
    """The files that hosting a folder may read, those of an adapter's base too. Links are followed.

    Raises ModelRefused where there is no model, OSError where it may not be read.
    """
    if not folder.is_dir():
        raise ModelRefused("not_a_folder", f"{folder} is not a folder: give the folder that holds config.json")
    folders = [folder, base_folder(folder)] if is_adapter(folder) else [folder]
    read_config(folders[-1])
    return [path for place in folders for path in sorted(place.iterdir()) if path.suffix in READ_SUFFIXES]


def hash_file(path: Path) -> bytes:
    """BLAKE2b-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).digest()


def hash_texts(texts: Sequence[bytes]) -> bytes:
    """BLAKE2b-256 of windows, in their order."""
    return hashlib.blake2b(WINDOWS_DOMAIN + msgspec.msgpack.encode(list(texts)), digest_size=32).digest()


def unique_names(folders: Sequence[Path]) -> list[str]:
    """Each folder's base name; one that stands before already gets the next free number: model, model-2, model-3."""
    names: list[str] = []
    taken: set[str] = {folder.absolute().name for folder in folders}
    for folder in folders:
        base = folder.absolute().name or "model"
        name, number = base, 1
        while name in names or (number > 1 and name in taken):
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names
