"""The folder that a job is sent: the code of a checkout and the network's TOML file, or, where taoray is installed, the
TOML file alone.

Invariants: what is sent is chosen by name, so nothing else that lies in a checkout can be among it: no home, wallet,
weights or history; the same code and configuration are the same bytes, which Ray sends once.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError
from cluster.version import ROOT, is_checkout

PACKAGES = ("actors", "cluster", "ledger", "models", "ray_configs")
FILES = ("taoray.py", "pyproject.toml")
NETWORK = "network.toml"
"""What the network's file is called where it arrives."""

MOST_BYTES = 100 << 20
"""Ray keeps it in the memory of the head: code is a few megabytes, and what is larger is no code."""

NAMED = 3
"""How many of the largest files are named where it is too much."""


@dataclass(frozen=True)
class Sent:
    """A folder to send, None: there is nothing to send. `own_code`: the checkout's packages are in it, and the job runs
    them.
    """

    folder: Path | None
    network: str | None
    own_code: bool
    size_bytes: int
    files: int


@contextmanager
def packed(network: Path | None, root: Path = ROOT) -> Iterator[Sent]:
    """Copy what a job needs into a folder that is gone afterwards.

    Args:
        network: the TOML file; None: the default network, which is part of the code.
        root: where the packages stand.

    Raises ClusterError: it is more than Ray should keep; the largest files are named.
    """
    own_code = is_checkout(root)
    sources = {file: Path(file).relative_to(root) for file in _code(root)} if own_code else {}
    if network is not None:
        sources[network] = Path(NETWORK)
    sizes = {file: file.stat().st_size for file in sources}
    _check(sizes)
    if not sources:
        yield Sent(None, None, False, 0, 0)
        return
    with tempfile.TemporaryDirectory(prefix="taoray-job-") as aside:
        folder = Path(aside)
        for source, name in sources.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        yield Sent(folder, NETWORK if network else None, own_code, sum(sizes.values()), len(sizes))


def _code(root: Path) -> list[Path]:
    found = [root / name for name in FILES]
    for package in PACKAGES:
        found += (file for file in sorted((root / package).rglob("*")) if file.is_file() and _belongs(file, root))
    return found


def _belongs(file: Path, root: Path) -> bool:
    return not any(part == "__pycache__" or part.startswith(".") for part in file.relative_to(root).parts)


def _check(sizes: dict[Path, int]) -> None:
    total = sum(sizes.values())
    if total <= MOST_BYTES:
        return
    largest = sorted(sizes, key=lambda file: -sizes[file])[:NAMED]
    named = ", ".join(f"{file} ({sizes[file] / 2**20:,.0f} MiB)" for file in largest)
    raise ClusterError(
        f"a job would be sent {total / 2**20:,.0f} MiB, above {MOST_BYTES >> 20}: move out of the packages {named}"
    )
