"""Contents on a local disk: whole under their names or absent, and checked against what a manifest says of them."""

import os
import secrets
import shutil
from pathlib import Path
from typing import BinaryIO

from models.manifest import Manifest, ManifestFile, describe_stream


def is_complete(folder: Path, manifest: Manifest) -> bool:
    """Whether `folder` holds every file of `manifest` with the right content."""
    return all(holds(folder / file.path, file) for file in manifest.files)


def holds(place: Path, file: ManifestFile) -> bool:
    """Whether the content of `file` lies at `place`."""
    try:
        with place.open("rb") as source:
            return describe_stream(file.path, source, None) == file
    except FileNotFoundError:
        return False


def link_or_copy(source: Path, target: Path) -> None:
    """Give `source` a second name; where the file system has no hard links, or no more of them, copy it."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def sync(file: BinaryIO) -> None:
    """Wait until what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is whole on the disk or absent; its folder is made. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with aside.open("xb") as file:
            file.write(data)
            sync(file)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def settle(aside: Path, place: Path) -> None:
    """Give a finished, fsynced file its name, read-only, and make the name itself durable."""
    aside.chmod(0o444)
    place.parent.mkdir(exist_ok=True)
    aside.replace(place)
    descriptor = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
