"""A machine: shared memory, open files, its clock, ports, and Ray's token."""

import os
import resource
import socket
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cluster.observe.doctor.check import Check, bad, ok, warn

LEAST_SHARED_BYTES = 1 << 30
"""Ray keeps what actors hand each other there; a container's default is 64 MiB."""

LEAST_FILES, ENOUGH_FILES = 1024, 65_536
"""Ray's processes hold a socket for each other one; it recommends the second."""

HEAD_PORT, DASHBOARD_PORT = 6379, 8265
"""Ray's own, where nobody says otherwise."""

CONNECT_S = 5.0
JUMP_S = 0.05
"""How far two clocks of one machine may go apart while they are watched."""

HOLD_S = 0.1


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Check:
    """Room for Ray's object store."""
    name = "memory.shared"
    try:
        counted = os.statvfs(folder)
    except OSError as error:
        return warn(name, f"{folder}: {error.strerror}", "Ray then keeps objects on the disk, which is slower")
    total, free = counted.f_blocks * counted.f_frsize, counted.f_bavail * counted.f_frsize
    seen = f"{folder} has {_gib(total)}, {_gib(free)} of it free"
    if free < LEAST_SHARED_BYTES:
        mend = "give the container more (--shm-size, or an emptyDir with medium: Memory), or clear what is left there"
        return warn(name, f"{seen}: Ray falls back to the disk, which is slower", mend)
    return ok(name, seen)


def check_open_files(soft: int | None = None) -> Check:
    """How many files a process may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if soft is None else soft
    name, seen = "limit.files", f"a process may have {soft:,} files open"
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH_FILES:
        return ok(name, "a process may have any number of files open" if soft < 0 else seen)
    mend = f"ulimit -n {ENOUGH_FILES}, or LimitNOFILE= in the unit"
    return bad(name, seen, mend) if soft < LEAST_FILES else warn(name, f"{seen}; large networks need more", mend)


def check_clock(
    since_s: float,
    wall: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    hold: Callable[[float], None] = time.sleep,
) -> Check:
    """This machine's clock: not before `since_s`, when the home was last written to, and steady."""
    name = "clock"
    began = wall(), monotonic()
    hold(HOLD_S)
    jump = (wall() - began[0]) - (monotonic() - began[1])
    mend = "have a time service (chrony, systemd-timesyncd) keep the clock"
    if abs(jump) > JUMP_S:
        return warn(name, f"the clock jumped by {jump:+.3f} s while it was watched", mend)
    if began[0] < since_s:
        late = f"the clock is {since_s - began[0]:.0f} s behind the last epoch in the home"
        return bad(name, f"{late}: signed requests and leases go wrong", mend)
    return ok(name, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(began[0])) + ", and steady")


def check_free_port(name: str, host: str, port: int, used_by: str) -> Check:
    """Whether something could listen on a port."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.create_server(address[:2], family=family):
            return ok(name, f"{host}:{port} is free for {used_by}")
    except OSError as error:
        return bad(
            name, f"{host}:{port} cannot be bound for {used_by}: {error.strerror}", "choose another port or host"
        )


def check_open_port(name: str, host: str, port: int, what: str) -> Check:
    """Whether somebody listens at a port."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S):
            return ok(name, f"{what} listens at {host}:{port}")
    except OSError as error:
        why = error.strerror or str(error)
        return bad(
            name, f"{what} does not answer at {host}:{port}: {why}", "start it, or open the port between machines"
        )


def check_head(port: int = HEAD_PORT) -> Check:
    """Whether a Ray head listens on this machine; a network needs none."""
    listens = check_open_port("port.head", "127.0.0.1", port, "a Ray head").level == "ok"
    join = f"a Ray head listens at 127.0.0.1:{port}: --address auto joins it"
    return ok("port.head", join if listens else f"no Ray head listens at {port}: a launch starts Ray for itself")


def check_dashboard(host: str, port: int = DASHBOARD_PORT) -> Check:
    """Whether a cluster's dashboard can be reached, where jobs are handed in."""
    check = check_open_port("port.dashboard", host, port, "the dashboard")
    mend = "start the head with --dashboard-host 0.0.0.0, or forward the port; only jobs (`http://…`) need it"
    return check if check.level == "ok" else warn(check.name, check.sentence, mend)


def check_token(environment: Mapping[str, str], home: Path, joining: str) -> Check:
    """How this process shows a Ray cluster who it is.

    Args:
        home: of the user, where Ray looks for a token last. joining: the address that is joined, or empty.
    """
    name = "token"
    mode = environment.get("RAY_AUTH_MODE", "token").lower()
    if mode != "token":
        if joining and not _loopback(joining):
            mend = "start the cluster with RAY_AUTH_MODE=token, and give everybody who joins its token"
            return warn(name, f"RAY_AUTH_MODE is {mode}: who reaches {joining} may run what they like there", mend)
        return ok(name, f"RAY_AUTH_MODE is {mode}")
    if environment.get("RAY_AUTH_TOKEN"):
        return ok(name, "the token is in RAY_AUTH_TOKEN")
    told = environment.get("RAY_AUTH_TOKEN_PATH")
    path = Path(told).expanduser() if told else home / ".ray" / "auth_token"
    if not path.is_file():
        if not joining and not told:
            return ok(name, "there is none yet: Ray makes one where it is started here")
        mend = "put the cluster's token there (`ray get-auth-token` prints it on the head), or into RAY_AUTH_TOKEN"
        return bad(name, f"there is no token at {path}", mend)
    if not path.read_bytes().strip():
        return bad(name, f"the token at {path} is empty", "remove the file, or put the cluster's token there")
    mode_bits = stat.S_IMODE(path.stat().st_mode)
    if mode_bits & 0o077:
        return warn(name, f"others may read the token at {path} ({mode_bits:o})", f"chmod 600 {path}")
    return ok(name, f"the token is in {path}, which nobody else reads")


def _loopback(address: str) -> bool:
    host = address.removeprefix("http://").removeprefix("https://").removeprefix("ray://")
    return host.startswith(("localhost", "127.", "[::1]")) or address in ("auto", "local")


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:,.1f} GiB"
