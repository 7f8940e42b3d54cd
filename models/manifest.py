"""A manifest names a model version: its files' hashes and sizes, and one hash over them all.

Invariants: files are sorted by path and paths are plain names, so one set of contents has one manifest and one hash;
nothing that could be executed or unpickled on loading is ever in a manifest; links are not followed.
"""

import hashlib
import os
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec

from models.errors import ModelRefused

MANIFEST_DOMAIN = b"taoray manifest 1\x00"
# Loading these runs code chosen by whoever wrote them.
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz"})
CODE_SUFFIXES = frozenset({".py", ".pyc", ".so", ".dll", ".dylib", ".sh", ".exe"})
# One read of a file while it is hashed: large enough to be quick, small beside a model.
CHUNK_BYTES = 1 << 20
MAXIMUM_FILES = 4096

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class ManifestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: its name inside the folder, the BLAKE2b-256 of its content, its size."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    blake2b: Hash
    size_bytes: Annotated[int, msgspec.Meta(ge=0)]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The files of one model version, sorted by path."""

    files: Annotated[tuple[ManifestFile, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_FILES)]

    @property
    def hash(self) -> bytes:
        """BLAKE2b-256 over a domain tag and the canonical encoding: the version's name, 32 bytes."""
        return hashlib.blake2b(MANIFEST_DOMAIN + encode_manifest(self), digest_size=32).digest()

    @property
    def size_bytes(self) -> int:
        """What the version's files occupy together."""
        return sum(file.size_bytes for file in self.files)


def encode_manifest(manifest: Manifest) -> bytes:
    """Canonical MessagePack: equal manifests give equal bytes."""
    return msgspec.msgpack.encode(manifest)


def decode_manifest(data: bytes) -> Manifest:
    """The inverse of `encode_manifest`. Anything else than a canonical manifest is refused with code `manifest`."""
    try:
        manifest = msgspec.msgpack.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelRefused("manifest", f"these {len(data)} bytes are not a manifest ({error})") from None
    paths = [file.path for file in manifest.files]
    if paths != sorted(set(paths)) or encode_manifest(manifest) != data:
        raise ModelRefused("manifest", "the manifest is not canonical: sort its files by path, each once")
    for path in paths:
        check_name(path)
    return manifest


def manifest_folder(folder: Path) -> Manifest:
    """Hash a model folder where it lies. Hidden entries (`.git`, `.cache`) are left out.

    Raises ModelRefused with code `not_a_folder`, `link`, `subfolder`, `special_file`, `pickle`, `code`, `name`,
    `files` or `empty_folder`.
    """
    files = []
    for path in list_model_files(folder):
        with open_plain(path) as source:
            files.append(describe_stream(path.name, source, None))
    return Manifest(tuple(files))


def list_model_files(folder: Path) -> list[Path]:
    """The files of `folder` that a manifest names, sorted by name; refusals as in `manifest_folder`."""
    if not folder.is_dir():
        raise ModelRefused("not_a_folder", f"{folder} is not a folder: give the folder that holds config.json")
    paths = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.name)
    for path in paths:
        if path.is_symlink():
            raise ModelRefused("link", f"{path} is a link: put the file itself there")
        if path.is_dir():
            raise ModelRefused("subfolder", f"{path} is a folder: a model folder is flat, move it elsewhere")
        if not path.is_file():
            raise ModelRefused("special_file", f"{path} is a pipe, a socket or a device: remove it")
        check_name(path.name)
    if len(paths) > MAXIMUM_FILES:
        raise ModelRefused("files", f"{folder} holds {len(paths)} files, a version has at most {MAXIMUM_FILES}")
    if not paths:
        raise ModelRefused("empty_folder", f"{folder} holds no files: it needs config.json and *.safetensors")
    return paths


def check_name(name: str) -> None:
    """Refuse a file name that could leave its folder, be executed, or be unpickled."""
    suffix = Path(name).suffix.lower()
    if suffix in PICKLE_SUFFIXES:
        raise ModelRefused("pickle", f"{name} may hold pickled objects: save the weights as safetensors and remove it")
    if suffix in CODE_SUFFIXES:
        raise ModelRefused("code", f"{name} is code, and no code is hosted: remove it")
    if name.startswith(".") or not name.isprintable() or any(mark in name for mark in "/\\:"):
        raise ModelRefused("name", f"{name!r} is not a plain file name: rename it")


def open_plain(path: Path) -> BinaryIO:
    """Open a listed file to read; OSError if a link has taken its place since."""
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW))


def describe_stream(name: str, source: BinaryIO, copy: BinaryIO | None) -> ManifestFile:
    """Hash what `source` still holds, writing it to `copy` on the way where one is given."""
    digest, size_bytes = hashlib.blake2b(digest_size=32), 0
    while chunk := source.read(CHUNK_BYTES):
        digest.update(chunk)
        size_bytes += len(chunk)
        if copy is not None:
            copy.write(chunk)
    return ManifestFile(name, digest.digest(), size_bytes)
