"""What an epoch's record says of the work itself: who was asked and answered, what hosts did, what the driver holds.

Invariants: an answer is counted by the receipts of hosts, a failure by the pool, each on its own: what is asked and in
neither was lost, and shows as such.
"""

import os
import resource
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct


class Asked(Struct, frozen=True, kw_only=True):
    """How the questions of an epoch ended, by versions and remote peers.

    Attributes:
        asked: how many there are, each for all windows of all validators.
        answered: for every window.
        failed: by reason (`late`, `dead`, `invalid`).
        windows: how many each was asked for.
    """

    asked: int
    answered: int
    failed: dict[str, int]
    windows: int

    @property
    def unaccounted(self) -> int:
        """Those that neither answered nor have a reason why not: always 0."""
        return self.asked - self.answered - sum(self.failed.values())


class HostWork(Struct, frozen=True, kw_only=True):
    """What a host did in the query phase.

    Attributes:
        calls: answered ones.
        windows: scored, summed over versions.
        busy_seconds: of work in answered calls.
        versions, weights_bytes: that it answered for, and what they occupy in its memory.
    """

    host: str
    calls: int
    windows: int
    busy_seconds: float
    versions: int
    weights_bytes: int


class DriverFacts(Struct, frozen=True, kw_only=True):
    """The driver's process and its disk, at the end of an epoch.

    Attributes:
        resident_bytes: memory that it holds.
        ledger_bytes: the ledger's folder in the home. free_bytes: on the home's disk.
    """

    resident_bytes: int
    threads: int
    open_files: int
    ledger_bytes: int
    free_bytes: int


class Took(Protocol):
    """A span of work."""

    @property
    def seconds(self) -> float:
        """How long it was."""
        ...


class Receipt(Protocol):
    """What a host says of a call that it answered; `actors.host.ScoreReceipt` is one."""

    @property
    def host(self) -> str:
        """Which host."""
        ...

    @property
    def windows(self) -> int:
        """Of each version."""
        ...

    @property
    def size_bytes(self) -> Mapping[bytes, int]:
        """By version."""
        ...

    @property
    def spans(self) -> Sequence[Took]:
        """What took how long."""
        ...


class Reasoned(Protocol):
    """Why somebody has no answer; `actors.dispatch.Failure` is one."""

    @property
    def reason(self) -> str:
        """Late, dead or invalid."""
        ...


def count_asked(
    asked: Collection[bytes],
    windows: int,
    receipts: Iterable[Receipt],
    remote: Collection[bytes],
    failures: Mapping[bytes, Reasoned],
) -> Asked:
    """How the questions of an epoch ended.

    Args:
        asked: versions, and hotkeys of remote peers.
        windows: of all validators together.
        receipts: of the hosts' answers. remote: the hotkeys that answered.
        failures: by version or hotkey.
    """
    scored: Counter[bytes] = Counter()
    for receipt in receipts:
        for version in receipt.size_bytes:
            scored[version] += receipt.windows
    failed = Counter(str(failures[key].reason) for key in asked if key in failures)
    answered = sum(key not in failures and (key in remote or scored[key] >= windows) for key in asked)
    return Asked(asked=len(asked), answered=answered, failed=dict(sorted(failed.items())), windows=windows)


def host_works(receipts: Iterable[Receipt]) -> tuple[HostWork, ...]:
    """What each host did, by name, as its receipts say."""
    calls: Counter[str] = Counter()
    windows: Counter[str] = Counter()
    busy: dict[str, float] = {}
    sizes: dict[str, dict[bytes, int]] = {}
    for receipt in receipts:
        calls[receipt.host] += 1
        windows[receipt.host] += receipt.windows * len(receipt.size_bytes)
        busy[receipt.host] = busy.get(receipt.host, 0.0) + sum(span.seconds for span in receipt.spans)
        sizes.setdefault(receipt.host, {}).update(receipt.size_bytes)
    return tuple(
        HostWork(
            host=host,
            calls=calls[host],
            windows=windows[host],
            busy_seconds=round(busy[host], 3),
            versions=len(sizes[host]),
            weights_bytes=sum(sizes[host].values()),
        )
        for host in sorted(calls)
    )


def driver_facts(home: Path, ledger: Path) -> DriverFacts:
    """This process and the home's disk, as they are now; 0 where this system does not tell."""
    return DriverFacts(
        resident_bytes=_or_0(lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()),
        threads=threading.active_count(),
        open_files=_or_0(lambda: len(os.listdir("/proc/self/fd"))),
        ledger_bytes=_or_0(lambda: _size_bytes(ledger)),
        free_bytes=_or_0(lambda: shutil.disk_usage(home).free),
    )


def _or_0(measure: Callable[[], int]) -> int:
    try:
        return measure()
    except OSError:
        return 0


def _size_bytes(folder: Path) -> int:
    """What the files of a folder occupy; those that vanish meanwhile do not."""
    total = 0
    for entry in os.scandir(folder) if folder.is_dir() else ():
        try:
            total += entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else 0
        except FileNotFoundError:
            continue
    return total
