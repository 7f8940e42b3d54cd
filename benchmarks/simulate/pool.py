"""The pool under a virtual clock: hosts that take recorded times, crash, hang and come back, for the real dispatcher.

Invariants:
* deadlines, kills, restarts and what is reported to the dispatcher follow `actors.pool`; what Ray does is left out;
* the driver handles one call after another, each for as long as the pool was recorded to take, so that it can be what
  everybody waits for;
* the same seed gives the same events.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from actors.dispatch import QUARANTINE, Ask, Dispatcher, Task
from actors.host import ScoreRequest
from actors.pool import Round
from benchmarks.simulate.latencies import Latencies
from benchmarks.simulate.peers import SLOW, Peer, Temper

RESTART_S = 6.0
"""Until a host that died answers a ping again: Ray starts an actor with torch in about five seconds."""
CRASHES_PER_HOUR = 0.2
"""Of each host by itself, whatever it is asked."""


@dataclass
class SimulatedHost:
    """A host's process: what waits at it, first in, first out. `life` counts its processes: what an earlier one would
    have said is not said any more.
    """

    name: str
    up_s: float = 0.0
    life: int = 0
    due_s: float = 0.0
    watched: bool = False
    working: bool = False
    busy_s: float = 0.0
    queue: deque[tuple[Ask, ScoreRequest]] = field(default_factory=deque)


@dataclass
class Facts:
    """What a phase came to. Seconds are virtual, but `dispatcher_s`: of this process, in the dispatcher alone.

    `lag_s`: the longest that an answer waited for the driver. `suspects`: the most tasks that waited for a quarantine.
    """

    seconds: float = 0.0
    calls: int = 0
    crashes: int = 0
    kills: int = 0
    driver_s: float = 0.0
    lag_s: float = 0.0
    suspects: int = 0
    dispatcher_s: float = 0.0
    busy_s: dict[str, float] = field(default_factory=dict)


class Taken(NamedTuple):
    """How long a call takes, and how it ends: answered, failed, crashed or never."""

    seconds: float
    end: str


class _Handle:
    """Where the query phase expects an actor: a call is its request."""

    @property
    def score(self) -> "_Handle":
        return self

    def options(self, **_: Any) -> "_Handle":
        return self

    def remote(self, request: ScoreRequest, *_: Any) -> list[ScoreRequest]:
        return [request]


class SimulatedPool:
    """Stands where the pool of a crew does, for as long as one phase; the clock goes on from run to run.

    Args:
        peers: by version.
    """

    def __init__(self, peers: Mapping[bytes, Peer], latencies: Latencies, random: Random) -> None:
        self.facts = Facts()
        self._peers = peers
        self._latencies = latencies
        self._random = random
        self._now = 0.0
        self._driver_free_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._hosts: dict[str, SimulatedHost] = {}

    def run(
        self,
        tasks: Sequence[Task],
        send: Callable[[Any, Task], Sequence[Any]],
        *,
        homes: Mapping[str, frozenset[bytes]],
        task_deadline_s: float,
        deadline_s: float,
        progress: Callable[[int], None] = lambda answered: None,
    ) -> Round:
        """As `actors.pool.Pool.run`."""
        self._send, self._deadline_s = send, task_deadline_s
        self._begin(tasks, homes)
        end = self._now + deadline_s
        while True:
            with self._timed():
                asks = list(iter(self._dispatcher.next_ask, None))
                done = self._dispatcher.done
            for ask in asks:
                self._hand(ask)
            if done or not self._events:
                break
            self._now, _, event = heapq.heappop(self._events)
            if self._now > end:
                self._dispatcher.end(f"the {deadline_s:g} s for all answers were over")
                break
            event()
        return self._end()

    def _begin(self, tasks: Sequence[Task], homes: Mapping[str, frozenset[bytes]]) -> None:
        with self._timed():
            self._dispatcher = Dispatcher(tasks, homes)
        self._events.clear()
        for host in self._hosts.values():
            host.queue.clear()
            host.working, host.watched, host.life = False, False, host.life + 1
            if host.up_s > self._now:
                self._dispatcher.crashed(host.name)
                self._later(host.up_s, self._up, host)

    def _end(self) -> Round:
        self.facts.seconds = self._now
        self.facts.busy_s = {host.name: host.busy_s for host in self._hosts.values()}
        answered = self._dispatcher.answers
        return Round(dict.fromkeys(answered), dict.fromkeys(answered, ()), self._dispatcher.failures)

    def _hand(self, ask: Ask) -> None:
        """A task arrives at its host."""
        host = self._hosts.get(ask.host)
        if host is None:
            # Hosts run already; the quarantine starts when it is first needed.
            host = self._hosts[ask.host] = SimulatedHost(ask.host)
            host.up_s = self._now + (RESTART_S if ask.host == QUARANTINE else 0.0)
        if not host.queue:
            host.due_s = self._now + self._deadline_s
            self._watch(host)
        [request] = self._send(_Handle(), ask.task)
        host.queue.append((ask, request))
        self._work(host)

    def _work(self, host: SimulatedHost) -> None:
        """A host that is free takes what waits longest."""
        if host.working or not host.queue:
            return
        host.working = True
        taken = self._taken(host.queue[0][1])
        if taken.end != "never":
            self._later(max(self._now, host.up_s) + taken.seconds, self._finish, host, host.life, taken)

    def _taken(self, request: ScoreRequest) -> Taken:
        peers = [self._peers[version] for version in request.versions]
        windows = sum(part.last - part.first for part in request.parts)
        effort = [peer.parameters * (SLOW if peer.temper is Temper.SLOW else 1) for peer in peers]
        seconds = self._latencies.call_s(self._random, effort, windows)
        tempers = {peer.temper for peer in peers}
        if Temper.HANGING in tempers:
            return Taken(seconds, "never")
        if Temper.POISON in tempers or self._random.random() < seconds / 3600 * CRASHES_PER_HOUR:
            return Taken(seconds * self._random.random(), "crashed")
        return Taken(seconds, "failed" if Temper.BROKEN in tempers else "answered")

    def _finish(self, host: SimulatedHost, life: int, taken: Taken) -> None:
        """A call ends at its host; the driver hears of it when it is free."""
        if host.life != life:
            return
        ask, _ = host.queue.popleft()
        host.working = False
        host.busy_s += taken.seconds
        if taken.end == "crashed":
            self.facts.crashes += 1
            host.life, host.up_s = host.life + 1, self._now + RESTART_S
            host.queue.clear()
        at = max(self._now, self._driver_free_s)
        self.facts.lag_s = max(self.facts.lag_s, at - self._now)
        self._driver_free_s = at + self._latencies.driver_s
        self.facts.driver_s += self._latencies.driver_s
        self.facts.calls += 1
        self._later(at, self._report, host, host.life, ask, taken.end)
        self._work(host)

    def _report(self, host: SimulatedHost, life: int, ask: Ask, end: str) -> None:
        if host.life != life:
            return
        host.due_s = self._now + self._deadline_s
        with self._timed():
            if end == "answered":
                self._dispatcher.answered(ask)
            elif end == "failed":
                self._dispatcher.failed(ask, "the model cannot read this text")
            else:
                self._dispatcher.crashed(host.name)
        if end == "crashed":
            host.queue.clear()
            self._later(max(self._now, host.up_s), self._up, host)
        self.facts.suspects = max(self.facts.suspects, self._dispatcher.suspects)

    def _up(self, host: SimulatedHost) -> None:
        with self._timed():
            self._dispatcher.up(host.name)

    def _watch(self, host: SimulatedHost) -> None:
        if not host.watched:
            host.watched = True
            self._later(host.due_s, self._overdue, host)

    def _overdue(self, host: SimulatedHost) -> None:
        """A host's deadline may be over; after two it is killed."""
        host.watched = False
        if not self._dispatcher.flying(host.name):
            return
        if self._now >= host.due_s:
            host.due_s = self._now + self._deadline_s
            with self._timed():
                killed = self._dispatcher.missed(host.name)
            if killed:
                self.facts.kills += 1
                host.queue.clear()
                host.working, host.life, host.up_s = False, host.life + 1, self._now + RESTART_S
                self._later(host.up_s, self._up, host)
                return
        self._watch(host)

    def _later(self, at_s: float, event: Callable[..., None], *about: Any) -> None:
        self._order += 1
        heapq.heappush(self._events, (at_s, self._order, lambda: event(*about)))

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.facts.dispatcher_s += time.thread_time() - began
