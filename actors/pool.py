"""The pool: carries out what the dispatcher decides, on Ray actors, within deadlines.

Invariants:
* every wait has a deadline; when the time for everything is over the rest is given up and told;
* only receipts (small) are fetched here; what they stand for (log-probabilities) stays in the object store and goes
  from host to validator by reference;
* a host that stops answering is killed and restarted, never waited for twice in a row; one that answers no ping while
  it works is frozen, which is no peer's fault: what it had is asked again elsewhere;
* a host whose GPU failed is replaced by another process; where that one finds no GPU either, the host is asked nothing
  in this run, and replaced once more for the next;
* a host that is down is asked nothing until it has answered a ping, in this run or in a later one: a call to an actor
  that restarts fails at once, and would look like one more death under an innocent task.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from actors.dispatch import QUARANTINE, Ask, Dispatcher, Failure, Task
from actors.pulse import Pulse, frozen_sentence
from actors.seam import Handle, Reference
from actors.spans import Span, Spans
from models.errors import DeviceLost

POLL_S = 0.5
"""The longest wait between two looks at the deadlines."""

PING_DEADLINE_S = 10.0
"""How long a host that restarts may take to answer one ping before it is pinged again."""


@dataclass
class Round:
    """What a run of tasks brought: for each answered task its receipt and its references, for each lost key why; and
    when the pool sent, waited and took answers in.
    """

    receipts: dict[Task, Any] = field(default_factory=dict)
    payloads: dict[Task, tuple[Reference, ...]] = field(default_factory=dict)
    failures: dict[bytes, Failure] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)


Send = Callable[[Handle, Task], Sequence[Reference]]
"""Calls a host's method for a task; the first reference is the receipt, the others are left where they are."""


class Pool:
    """The hosts of a network, and the quarantine host, which starts when it is first needed.

    Args:
        hosts: the hosts by name.
        start_quarantine: starts one more host; called at most once.

    A host that is down is remembered from run to run, with the process that lost its device, where one did.
    """

    def __init__(self, hosts: Mapping[str, Handle], start_quarantine: Callable[[], Handle]) -> None:
        self._hosts = dict(hosts)
        self._down: dict[str, int] = {}
        self._start_quarantine = start_quarantine

    @property
    def hosts(self) -> Mapping[str, Handle]:
        """The handles by name, the quarantine among them once it has started."""
        return self._hosts

    def put(self, name: str, handle: Handle) -> None:
        """A host joins, or takes the place of one of its name; it is asked once it has answered a ping."""
        self._hosts[name] = handle
        self._down[name] = 0

    def run(
        self,
        tasks: Sequence[Task],
        send: Send,
        *,
        homes: Mapping[str, frozenset[bytes]],
        task_deadline_s: float,
        deadline_s: float,
        progress: Callable[[int], None] = lambda answered: None,
    ) -> Round:
        """Have all tasks answered, or learn why not. Never raises for what a host does, never exceeds `deadline_s`."""
        dispatcher = Dispatcher(tasks, homes)
        flight = _Flight(dispatcher, self._handle, send, task_deadline_s, self._down, self._hosts)
        end = time.monotonic() + deadline_s
        while not dispatcher.done:
            if dispatcher.suspects:
                flight.start_quarantine()
            with flight.spans.taken("send"):
                while (ask := dispatcher.next_ask()) is not None:
                    flight.send(ask)
            if time.monotonic() > end:
                dispatcher.end(f"the {deadline_s:g} s for all answers were over")
                break
            flight.land(min(POLL_S, max(0.0, end - time.monotonic())))
            flight.kill_overdue()
            flight.kill_frozen()
            progress(len(dispatcher.answers))
        flight.abandon()
        kept = dispatcher.answers
        return Round(
            {task: receipt for task, (receipt, _) in flight.landed.items() if task in kept},
            {task: payload for task, (_, payload) in flight.landed.items() if task in kept},
            dispatcher.failures,
            flight.spans,
        )

    def _handle(self, host: str) -> Handle:
        if host == QUARANTINE and host not in self._hosts:
            self._hosts[host] = self._start_quarantine()
        return self._hosts[host]


class _Flight:
    """The calls that are under way: maps references back to asks, and time to deadlines."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        handle: Callable[[str], Handle],
        send: Send,
        task_deadline_s: float,
        down: dict[str, int],
        hosts: Mapping[str, Handle],
    ) -> None:
        self.spans = Spans()
        self.landed: dict[Task, tuple[Any, tuple[Reference, ...]]] = {}
        self._dispatcher = dispatcher
        self._handle = handle
        self._send = send
        self._task_deadline_s = task_deadline_s
        self._asks: dict[Reference, tuple[Ask, tuple[Reference, ...]]] = {}
        self._pings: dict[Reference, tuple[str, float]] = {}
        self._due: dict[str, float] = {}
        self._down = down
        self._hosts = hosts
        self._pulse = Pulse()
        self._dying: dict[Reference, str] = {}
        for host in tuple(down):
            dispatcher.crashed(host)
            self._ping(host)

    def send(self, ask: Ask) -> None:
        if len(self._dispatcher.flying(ask.host)) == 1:
            self._due[ask.host] = time.monotonic() + self._task_deadline_s
        receipt, *payload = self._send(self._handle(ask.host), ask.task)
        self._asks[receipt] = (ask, tuple(payload))

    def land(self, timeout_s: float) -> None:
        """Wait for whatever comes first, at most `timeout_s`, and report it."""
        waiting = [*self._asks, *self._pings, *self._dying]
        if not waiting:
            time.sleep(timeout_s)
            return
        with self.spans.taken("wait"):
            ready, _ = ray.wait(waiting, num_returns=1, timeout=timeout_s)
        if ready:
            with self.spans.taken("receive"):
                more, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
                for reference in {*ready, *more}:
                    self._report(reference)
        for reference, (host, asked) in list(self._pings.items()):
            if time.monotonic() - asked > PING_DEADLINE_S:
                del self._pings[reference]
                self._ping(host)

    def kill_overdue(self) -> None:
        """Tell the dispatcher of hosts past their deadline; kill those it gives up on. Ray restarts them."""
        now = time.monotonic()
        for host, due in list(self._due.items()):
            if now < due or not self._dispatcher.flying(host):
                continue
            self._due[host] = now + self._task_deadline_s
            if self._dispatcher.missed(host):
                self._end(host)

    def kill_frozen(self) -> None:
        """Kill the hosts that answer no ping while they owe an answer; Ray restarts them."""
        busy = [host for host in self._due if host not in self._down and self._dispatcher.flying(host)]
        for host in self._pulse.frozen({host: self._hosts[host] for host in busy}):
            self._dispatcher.crashed(host, frozen_sentence())
            self._end(host)
            self._doubt_quarantine()

    def _end(self, host: str) -> None:
        # A ping sent now could be answered by the process that is about to die: its own call's end comes first.
        self._down[host] = 0
        self._dying[self._forget(host)[0]] = host
        ray.kill(self._handle(host), no_restart=False)

    def abandon(self) -> None:
        """Forget what is still under way: its answers are not wanted any more."""
        for reference in self._asks:
            ray.cancel(reference, force=False)
        self._asks.clear()
        self._pings.clear()
        self._dying.clear()

    def _report(self, reference: Reference) -> None:
        if reference in self._pings:
            host, _ = self._pings.pop(reference)
            try:
                ray.get(reference, timeout=PING_DEADLINE_S)
                self._down.pop(host, None)
                self._dispatcher.up(host)
            except RayError as error:
                lost = _loss(error)
                if lost is not None and lost.process != self._down[host]:
                    self._dispatcher.lost(host, lost.sentence)
                    self._kill(host, lost)
                    return
                time.sleep(0.05)
                self._ping(host)
            return
        if reference in self._dying:
            self._ping(self._dying.pop(reference))
            return
        if reference not in self._asks:
            return
        ask, payload = self._asks.pop(reference)
        try:
            receipt = ray.get(reference, timeout=self._task_deadline_s)
        except RayTaskError as error:
            lost = _loss(error)
            if lost is not None:
                self._forget(ask.host)
                self._dispatcher.crashed(ask.host, lost.sentence)
                self._kill(ask.host, lost)
                self._ping(ask.host)
                return
            self._due[ask.host] = time.monotonic() + self._task_deadline_s
            self._dispatcher.failed(ask, _sentence(error))
        except (RayActorError, RayError):
            self._forget(ask.host)
            self._dispatcher.crashed(ask.host)
            self._ping(ask.host)
            self._doubt_quarantine()
        else:
            self._due[ask.host] = time.monotonic() + self._task_deadline_s
            self.landed[ask.task] = (receipt, payload)
            self._dispatcher.answered(ask)

    def start_quarantine(self) -> None:
        """Start it where it does not run yet; a call to one that is still being placed would be lost with its node."""
        if QUARANTINE not in self._hosts:
            self._handle(QUARANTINE)
            self._dispatcher.crashed(QUARANTINE)
            self._ping(QUARANTINE)

    def _doubt_quarantine(self) -> None:
        """Where a host went, the quarantine may have gone too, with their node: an idle one is pinged before it is
        asked, else the innocent would die there."""
        if QUARANTINE in self._hosts and QUARANTINE not in self._down and not self._dispatcher.flying(QUARANTINE):
            self._dispatcher.crashed(QUARANTINE)
            self._ping(QUARANTINE)

    def _forget(self, host: str) -> list[Reference]:
        """Expect nothing more of a host; returns the calls that were under way, oldest first."""
        references = [reference for reference, (ask, _) in self._asks.items() if ask.host == host]
        for reference in references:
            del self._asks[reference]
        return references

    def _kill(self, host: str, lost: DeviceLost) -> None:
        """End the process that lost its device; Ray starts another. What it still answers says so again."""
        self._down[host] = lost.process
        ray.kill(self._handle(host), no_restart=False)

    def _ping(self, host: str) -> None:
        self._down.setdefault(host, 0)
        self._pings[self._handle(host).ping.remote()] = (host, time.monotonic())


def _loss(error: RayError) -> DeviceLost | None:
    """What a host said that lost its device, where this is why it failed."""
    cause = error.cause if isinstance(error, RayTaskError) else None
    return cause if isinstance(cause, DeviceLost) else None


def _sentence(error: RayTaskError) -> str:
    """The last line of a remote traceback: the cause's own sentence."""
    cause = error.cause if isinstance(error.cause, BaseException) else error
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[-1] if str(cause).strip() else ''}"[:300]
