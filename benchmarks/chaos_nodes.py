"""Ray nodes as processes of this machine, each with a disk of its own, that are killed like machines are.

Invariants: every process of a node is a descendant of its `ray start --block`, and what is started here is ended here;
ports are free ones and addresses are told, so that other clusters of this machine are left alone; a node's disk is a
folder, which its processes know as `TAORAY_DISK`.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.kill_cohort import descendants, send_kill, title

ROOT = Path(__file__).parents[1]
HEAD = "head"
LEDGER = "$TAORAY_DISK"
"""`storage.ledger` of a network whose nodes have disks of their own."""
STARTS = 6
END_S = 60.0
LOOK_S = 0.2
OBJECT_STORE_BYTES = 128 << 20
NOTICED = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}
"""How soon the head takes a silent node for dead: 4 s instead of 25 s, for more faults in an hour. Its raylet is asked,
so a node that is only busy is not meant."""

EQUAL = {"RAY_worker_niceness": "0"}
"""Ray gives its workers the lowest priority, under which a busy machine starts them in minutes."""


class Nodes:
    """A head and workers. `folder` holds their disks and Ray's own files; keep it short, sockets lie below it."""

    def __init__(
        self, folder: Path, *, within: dict[str, Sequence[str]] | None = None, free_head: bool = False
    ) -> None:
        """`within`: by node, what its command line begins with, such as entering a network namespace; `free_head`:
        whether the head has no CPUs, so that actors are on the workers alone.
        """
        self.folder = folder
        self._free_head = free_head
        self._within = within or {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._addresses: dict[str, str] = {}
        self._tries: dict[str, int] = {}
        self.port = free_port()
        self.environment = {
            **os.environ,
            **NOTICED,
            **EQUAL,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "RAY_TMPDIR": str(folder),
        }
        self.environment.pop("RAY_ADDRESS", None)

    @property
    def address(self) -> str:
        """Where a driver joins."""
        return f"{self._addresses[HEAD]}:{self.port}"

    @property
    def names(self) -> list[str]:
        """The nodes that run now."""
        return sorted(self._running)

    def within(self, name: str) -> Sequence[str]:
        """What the command line of whatever runs on a node begins with."""
        return self._within.get(name, ())

    def disk(self, name: str) -> Path:
        """A node's disk."""
        return self.folder / "disks" / name

    def start(self, name: str, ip: str = "127.0.0.1") -> None:
        """Start a node; it joins the head, or is it. Returns when it is up."""
        self.begin(name, ip)
        while not self.is_up(name):
            time.sleep(LOOK_S)

    def begin(self, name: str, ip: str = "127.0.0.1") -> None:
        """Begin to start a node, and return at once."""
        self.disk(name).mkdir(parents=True, exist_ok=True)
        self._addresses[name] = ip
        self._tries[name] = 0
        self._start(name, ip)

    def is_up(self, name: str) -> bool:
        """Whether `ray start` says by now that a node runs; to be asked until it does.

        Ray gives a raylet 30 s to come up. A busy machine may need more: it is started again, as a service would.
        """
        if "Ray runtime started" in self.log(name).read_text(errors="replace"):
            return True
        if self._running[name].poll() is not None:
            self._tries[name] += 1
            if self._tries[name] == STARTS:
                said = self.log(name).read_text(errors="replace")[-2000:]
                raise RuntimeError(f"node {name} does not start: {said}")
            self.kill(name)
            self._start(name, self._addresses[name])
        return False

    def _start(self, name: str, ip: str) -> None:
        role = (
            ["--head", f"--port={self.port}", f"--ray-client-server-port={free_port()}", "--include-dashboard=false"]
            if name == HEAD
            else [f"--address={self.address}"]
        )
        cpus = 0 if name == HEAD and self._free_head else 2
        command = [
            *self.within(name),
            *(sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", *role),
            *(f"--node-ip-address={ip}", f"--num-cpus={cpus}", "--num-gpus=0", "--disable-usage-stats", "--block"),
            *("--min-worker-port=0", "--max-worker-port=0", f"--object-store-memory={OBJECT_STORE_BYTES}"),
            *(f"--temp-dir={self.folder / 'ray'}",) * (name == HEAD),
        ]
        log = self.log(name)
        log.parent.mkdir(exist_ok=True)
        log.unlink(missing_ok=True)
        with log.open("ab") as told:
            self._running[name] = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**self.environment, "TAORAY_DISK": str(self.disk(name))},
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        """What `ray start` of a node printed."""
        return self.folder / "logs" / f"{name}.log"

    def actors(self, kind: str, name: str | None = None) -> list[int]:
        """The processes of actors of a class, on one node or on all, by process id."""
        names = self.names if name is None else [name]
        pids = [pid for node in names for pid in descendants(self._running[node].pid)]
        return sorted(pid for pid in pids if title(pid).startswith(f"ray::{kind}"))

    def held(self, name: str) -> list[str]:
        """The ledger's databases that a node's processes hold open, such as `keeper/chain.db`, on its disk."""
        files = {file for pid in descendants(self._running[name].pid) for file in open_files(pid)}
        own = [file for file in files if file.is_relative_to(self.disk(name))]
        return sorted(str(Path(*file.parts[-2:])) for file in own if file.name in ("chain.db", "replica.db"))

    def kill(self, name: str) -> None:
        """Kill every process of a node with -9, at once, as if its machine lost power."""
        process = self._running.pop(name)
        doomed = [process.pid, *descendants(process.pid)]
        for pid in doomed:
            send_kill(pid)
        process.wait()
        wait_until_gone(doomed)

    def lose_disk(self, name: str) -> None:
        """Empty a node's disk; the node does not run."""
        shutil.rmtree(self.disk(name))

    def end(self) -> None:
        """End all nodes, the head last."""
        for name in sorted(self.names, key=lambda name: name == HEAD):
            self.kill(name)


def wait_until_gone(pids: Sequence[int]) -> None:
    """Wait until none of these processes is there; who was started by others may be a zombie of theirs."""
    end = time.monotonic() + END_S
    while left := [pid for pid in pids if title(pid)]:
        if time.monotonic() > end:
            raise RuntimeError(f"these processes do not end: {[title(pid) for pid in left]}")
        time.sleep(LOOK_S)


def open_files(pid: int) -> list[Path]:
    """The files that a process has open; none of one that has ended."""
    found = []
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.append(link.readlink())
        except OSError:
            continue
    return found


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(nodes: Nodes, workers: Sequence[str]) -> Iterator[Nodes]:
    """A head and workers, ended whatever happens; SIGTERM ends them too."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
    try:
        nodes.start(HEAD)
        for name in workers:
            nodes.begin(name)
        while not all(nodes.is_up(name) for name in workers):
            time.sleep(LOOK_S)
        yield nodes
    finally:
        nodes.end()
        signal.signal(signal.SIGTERM, before)
