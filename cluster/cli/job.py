"""`taoray launch`, `status`, `logs` and `stop` of a network that runs as a job on a cluster, and the latter two of one
that runs here.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

import taoray
from cluster.cli.output import HomeOption, JsonOption, error_console, home_of, print_json
from cluster.errors import ClusterError
from cluster.job.attempt import FAILED, INTERRUPTED, Attempt, explain
from cluster.job.server import as_dashboard, is_dashboard

NetworkOption = Annotated[str | None, typer.Option("--network", metavar="NAME", help="The network's name.")]
ClusterOption = Annotated[
    str | None, typer.Option("--address", metavar="URL", help="Of a cluster's dashboard: http://HOST:8265.")
]


def job_address(told: str | None) -> str | None:
    """The job server that a command means: as told, else `RAY_ADDRESS` where that is one; None: this machine."""
    if told is None:
        inherited = os.environ.get("RAY_ADDRESS")
        return inherited if is_dashboard(inherited) else None
    return as_dashboard(told)


def told_home(context: typer.Context, home: Path | None) -> Path | None:
    """The home that was named for a cluster: `TAORAY_HOME` of this machine says nothing about the cluster's."""
    source = context.get_parameter_source("home")
    return home if source is not None and source.name == "COMMANDLINE" else None


def launch_job(
    network: Path | None,
    address: str,
    *,
    epochs: int,
    home: Path | None,
    overrides: list[str],
    detach: bool,
    json: bool,
) -> None:
    """Launch a network as a job, or find the one that runs; follow it, and end as it ends."""
    console = error_console()
    jobs = taoray.Jobs(address)
    place = str(home) if home is not None else None
    printed = _Tail()
    attempt: Attempt | None = None
    try:
        launched = jobs.launch(network, epochs=epochs, home=place, overrides=overrides, json=json)
        attempt = launched.attempt
        console.print(_greeting(launched, jobs.address), highlight=False, soft_wrap=True)
        if not detach:
            attempt = jobs.follow(attempt, printed.tell)
    except KeyboardInterrupt:
        where = f"--network {attempt.network} --address {jobs.address}" if attempt else f"--address {jobs.address}"
        left = f"detached; it goes on: `taoray logs {where} --follow`, `taoray stop {where}`"
        console.print(left if attempt else f"see `taoray status {where}` whether it was launched", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    if not detach:
        _end(attempt, printed.last, jobs.address, json)
    elif json:
        print_json({"job": attempt.id, "address": jobs.address, **_facts(attempt), "found": launched.found})
    else:
        print(attempt.id)


def _greeting(launched: taoray.Launched, address: str) -> str:
    attempt = launched.attempt
    if launched.found:
        return f"{attempt.id} {attempt.status.lower()} already at {address}; this launch adds nothing to it"
    sent = f"{launched.sent_files} files, {launched.sent_bytes / 2**20:.1f} MiB"
    return f"{attempt.id} launched at {address}: sent {sent}"


def _end(attempt: Attempt, last: str, address: str, json: bool) -> None:
    """Hand on how a job ended: its document as the last line, or what is known of it without one, and its exit code."""
    if attempt.status == FAILED and (why := explain(attempt, last)):
        raise ClusterError(f"{attempt.id}: {why}")
    if json and _is_document(last):
        sys.stdout.write(last.rstrip("\n") + "\n")
    elif json:
        print_json({"job": attempt.id, "address": address, **_facts(attempt)})
    if attempt.exit_code:
        error_console().print(f"{attempt.id} {attempt.status.lower()}", highlight=False)
        raise typer.Exit(attempt.exit_code)


class _Tail:
    """Shows a job's log on standard error, and keeps its last line."""

    def __init__(self) -> None:
        self.last = ""
        self._open = ""

    def tell(self, text: str) -> None:
        """So much more was printed."""
        sys.stderr.write(text)
        sys.stderr.flush()
        lines = (self._open + text).splitlines(keepends=True)
        self._open = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        whole = [line for line in [*lines, self._open] if line.strip()]
        self.last = whole[-1] if whole else self.last


def logs(
    home: HomeOption = None,
    network: NetworkOption = None,
    address: ClusterOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until Ctrl-C, with a job until it has ended.")
    ] = False,
    last: Annotated[int | None, typer.Option(min=1, help="How many lines; all without it.")] = None,
    json: JsonOption = False,
) -> None:
    """What a network's run tells: the log in its home, or all that a job has printed."""
    server = job_address(address)
    with _detached_quietly():
        if server is None:
            for line in taoray.log(home_of(home, network).folder, last=last, follow=follow):
                _write((msgspec.json.encode(line).decode() if json else line.text()) + "\n")
            return
        jobs = taoray.Jobs(server)
        attempt = jobs.named(network)
        if follow and not json:
            jobs.follow(attempt, _write)
            return
        if follow:
            attempt = jobs.follow(attempt, lambda text: None)
        lines = jobs.logs(attempt).splitlines()
        shown = lines[-last:] if last else lines
        if json:
            print_json({"job": attempt.id, "address": jobs.address, **_facts(attempt), "lines": shown})
        else:
            _write("".join(f"{line}\n" for line in shown))


def stop(
    home: HomeOption = None,
    network: NetworkOption = None,
    address: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """End a network's run as Ctrl-C does, on this machine or as a job; the next launch goes on from the last block."""
    server = job_address(address)
    if server is None:
        place = home_of(home, network)
        holder = taoray.stop(place.folder)
        said = f"{holder} has stopped" if holder else f"nobody drives {place.folder}"
        document: dict[str, object] = {"home": place.folder, "stopped": bool(holder)}
    else:
        jobs = taoray.Jobs(server)
        before = jobs.named(network)
        after = jobs.stop(before)
        said = (
            f"{after.id} had {before.status.lower()} already" if before.ended else f"{after.id} {after.status.lower()}"
        )
        document = {"job": after.id, "status": after.status, "stopped": not before.ended}
    if json:
        print_json(document)
    else:
        print(said)


def show_job_status(address: str, network: str | None, home: Path | None, json: bool) -> None:
    """A network's last job, and where its ledger stands, which a command on the cluster reads there."""
    jobs = taoray.Jobs(address)
    attempt = jobs.named(network)
    place = str(home) if home else attempt.home
    where = ["--home", place] if place else ["--network", attempt.network]
    if not json:
        print(f"{attempt.id} at {jobs.address}: {_story(attempt)}", flush=True)
    code, printed = jobs.ask(["status", *where, *(["--json"] if json else [])])
    if not json:
        print(printed.rstrip("\n"))
        raise typer.Exit(code)
    last = (printed.strip().splitlines() or [""])[-1]
    standing = msgspec.json.decode(last) if _is_document(last) else None
    print_json({"job": attempt.id, "address": jobs.address, **_facts(attempt), "standing": standing})


def _facts(attempt: Attempt) -> dict[str, object]:
    times = {"began": _moment(attempt.began_s), "ended": _moment(attempt.ended_s)}
    return {"network": attempt.network, "status": attempt.status, "code": attempt.code, **times}


def _story(attempt: Attempt) -> str:
    since = f" since {_moment(attempt.began_s)}" if attempt.began_s and not attempt.ended else ""
    until = f" at {_moment(attempt.ended_s)}" if attempt.ended_s else ""
    why = f", exit code {attempt.code}" if attempt.code else ""
    return f"{attempt.status.lower()}{since}{until}{why}"


def _moment(at_s: float | None) -> str | None:
    return datetime.fromtimestamp(at_s).astimezone().isoformat(timespec="seconds") if at_s else None


def _is_document(line: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict | list)
    except msgspec.DecodeError:
        return False


@contextmanager
def _detached_quietly() -> Iterator[None]:
    """Ctrl-C ends what only looks."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
