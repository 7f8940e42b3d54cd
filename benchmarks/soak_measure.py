"""What a running network holds: memory, open files and threads of its processes, bytes and files of its home.

Invariants: it looks from outside, at /proc and at the folders; a process or file that goes while it looks is left out.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import ray

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TITLES = {"ray::Keeper": "keeper", "ray::Validator": "validator", "ray::Host": "host"}
"""What a worker's title begins with, and what it is."""
PROGRAMS = {"raylet": "raylet", "gcs_server": "gcs"}
DATABASES = ("chain.db", "mempool.db", "replica.db", "driver.db")
BLOCKS = 12
"""Into so many means a series' second half is cut before its slope is fitted: neighbours in a series are alike."""
CERTAIN = 3.0
"""Standard errors that a slope has to be above 0 to be a growth."""
NOTABLE = 0.01
"""Of the mean: what a series has to grow by over the second half to be worth an explanation."""


def sample(home: Path) -> dict[str, float]:
    """All series at this moment; names are `process memory_bytes`, `process files`, `home folder_bytes` and so on."""
    return {**process_series(), **home_series(home), "object_store_bytes": _object_store()}


def process_series() -> dict[str, float]:
    """Anonymous memory, open files and threads of this process and of those below it that are something here."""
    found: dict[str, float] = {}
    seen: Counter[str] = Counter()
    for pid, kind in sorted(_tree(os.getpid())):
        seen[kind] += 1
        name = kind if kind in ("driver", "keeper", "raylet", "gcs") else f"{kind} {seen[kind]}"
        try:
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
            )
            files = len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
        found[f"{name} memory_bytes"] = float(status["RssAnon"].split()[0]) * 1024
        found[f"{name} files"] = float(files)
        found[f"{name} threads"] = float(status["Threads"])
    return found


def _tree(root: int) -> Iterator[tuple[int, str]]:
    """The process and its descendants that are something here."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    titles: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat, command = (folder / "stat").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        children[int(stat.rpartition(")")[2].split()[1])].append(int(folder.name))
        titles[int(folder.name)] = command.split(b"\0")[0].decode(errors="replace")
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        waiting += children[pid]
        title = titles.get(pid, "")
        named = next((kind for start, kind in TITLES.items() if title.startswith(start)), None)
        kind = "driver" if pid == root else named or PROGRAMS.get(Path(title).name)
        if kind is not None:
            yield pid, kind


def home_series(home: Path) -> dict[str, float]:
    """Bytes and number of files below each folder of the home, databases (with their logs) by their own names."""
    held: Counter[str] = Counter()
    for folder, _, names in os.walk(home):
        for name in names:
            path = Path(folder) / name
            try:
                size_bytes = path.stat().st_size
            except OSError:
                continue
            parts = path.relative_to(home).parts
            database = next((known for known in DATABASES if name.startswith(known)), None)
            if database is not None and name.endswith(("-wal", "-shm")):
                database += "-wal"
            last = database or (parts[2] if len(parts) > 2 else parts[-1])
            if parts[0] == "validators":
                series = f"validators/*/{last}"
            else:
                folders = parts[:2] if parts[0] == "ledger" and len(parts) > 2 else parts[:1]
                series = "/".join((*parts[:-1], database) if database else folders)
            held[f"home {series}_bytes"] += size_bytes
            if database is None:
                held[f"home {series}_count"] += 1
    return {name: float(value) for name, value in held.items()}


def _object_store() -> float:
    """Bytes in use, as Ray counts them."""
    whole, free = ray.cluster_resources(), ray.available_resources()
    return float(whole.get("object_store_memory", 0.0) - free.get("object_store_memory", 0.0))


def trend(values: Sequence[float]) -> tuple[float, float]:
    """Slope per epoch of a series' second half by least squares over means of blocks, and its standard error."""
    half = values[len(values) // 2 :]
    size = max(1, len(half) // BLOCKS)
    blocks = [half[start : start + size] for start in range(0, size * (len(half) // size), size)]
    if len(blocks) < 3:
        return 0.0, float("inf")
    ys = [fmean(block) for block in blocks]
    xs = [size * (index + 0.5) for index in range(len(blocks))]
    middle, mean = fmean(xs), fmean(ys)
    spread = sum((x - middle) ** 2 for x in xs)
    slope = sum((x - middle) * (y - mean) for x, y in zip(xs, ys, strict=True)) / spread
    rest = sum((y - mean - slope * (x - middle)) ** 2 for x, y in zip(xs, ys, strict=True))
    return slope, (rest / (len(blocks) - 2) / spread) ** 0.5


def grows(values: Sequence[float]) -> bool:
    """Whether a series' second half has a slope above 0 beyond doubt, and more than the smallest."""
    slope, error = trend(values)
    half = values[len(values) // 2 :]
    return slope > CERTAIN * error and slope * len(half) > NOTABLE * abs(fmean(half))


def table(series: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float | bool]]:
    """Of each series: its first value, those where the second half begins and ends, and its slope there."""
    told: dict[str, dict[str, float | bool]] = {}
    for name, values in sorted(series.items()):
        slope, error = trend(values)
        told[name] = {
            "first": values[0],
            "middle": values[len(values) // 2],
            "last": values[-1],
            "per_epoch": round(slope, 4),
            "error": round(error, 4),
            "grows": grows(values),
        }
    return told
