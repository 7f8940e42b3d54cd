"""Who is asked what next: the pool's decisions as a pure state machine, without clock, handle or thread.

Invariants:
* every task ends exactly once: answered, or its key is given up with a reason;
* a host has at most `in_flight` tasks, the quarantine one;
* a key whose task was in flight when a host died is held back until it was tried: asked alone, one task at a time, in
  the quarantine or at a host that has nothing else to do (after an error in the quarantine only). The innocent come
  back, and who kills the quarantine too is marked dead;
* a key whose tasks were in flight at more than `RETRIES` deaths is marked dead; a death that a convicted key explains
  counts against nobody else, so that many poisonous keys take no innocent one with them;
* a host that came up without its device is asked nothing in this run; others take over what lives there, and once no
  host is left all that remains is given up with that reason;
* what is reported and asked costs time that grows with the logarithm of how many hosts and keys there are;
* a host that misses two deadlines in a row is to be killed; the task it was busy with (hosts work first in, first
  out) is late, what waited behind it is asked again.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from actors.lanes import FreeHosts, Lanes, Suspects
from actors.lanes import Task as Task

QUARANTINE = "quarantine"
"""The name of the host that is asked one task at a time about keys under suspicion."""

IN_FLIGHT = 2
"""Tasks at one host: one that it works on and one that waits, so that it never idles between two calls."""

RETRIES = 2
"""How often a key is asked again after its host died under it."""

MISSES = 2
"""Deadlines in a row that a host may miss before it is killed."""


class Reason(StrEnum):
    """Why a key was given up."""

    LATE = "late"
    DEAD = "dead"
    INVALID = "invalid"


@dataclass(frozen=True)
class Ask:
    """The instruction to send one task to one host."""

    host: str
    task: Task


@dataclass(frozen=True)
class Failure:
    """Why a key has no answer, for the record and for a person."""

    reason: Reason
    sentence: str


class Dispatcher:
    """Hands out tasks to hosts; the pool carries out what `next_ask` says and reports what happened.

    Args:
        tasks: what is to be done; a key's tasks in the order given.
        homes: for each host the keys that live there. They are asked there first; what lives nowhere goes to the
            least loaded host, and a host without work takes over from the one with most of it.
        in_flight: tasks at one host at a time.
    """

    def __init__(
        self, tasks: Iterable[Task], homes: Mapping[str, frozenset[bytes]], *, in_flight: int = IN_FLIGHT
    ) -> None:
        self.failures: dict[bytes, Failure] = {}
        self.answers: set[Task] = set()
        self._answers_of: dict[bytes, list[Task]] = {}
        self._limit = in_flight
        self._up: set[str] = {*homes, QUARANTINE}
        self._flying: dict[str, deque[Task]] = {host: deque() for host in (*homes, QUARANTINE)}
        self._in_flight = 0
        self._suspects = Suspects()
        self._alone: set[str] = set()
        self._held: dict[bytes, deque[Task]] = {}
        self._deaths: dict[bytes, set[int]] = {}
        self._keys_at_death: dict[int, set[bytes]] = {}
        self._death = 0
        self._misses: Counter[str] = Counter()
        self._lost: dict[str, str] = {}
        self._lanes = Lanes(homes)
        self._free = FreeHosts()
        home_of = {key: host for host, keys in homes.items() for key in keys}
        for task in tasks:
            self._lanes.append(home_of.get(task.key), task)
        for host in homes:
            self._offer(host)

    @property
    def done(self) -> bool:
        """Whether every task was answered or its key given up."""
        return not (self._suspects.count or self._held or self._in_flight or self._lanes.keys)

    @property
    def suspects(self) -> int:
        """How many tasks wait to be tried."""
        return self._suspects.count

    def flying(self, host: str) -> tuple[Task, ...]:
        """The tasks that are at a host, oldest first."""
        return tuple(self._flying[host])

    def next_ask(self) -> Ask | None:
        """The next instruction, or None: nothing can be asked until something is reported."""
        self._strand()
        if QUARANTINE in self._up and not self._flying[QUARANTINE]:
            suspect = self._suspects.take(quarantine=True)
            if suspect is not None:
                return self._send(QUARANTINE, suspect)
        host = self._free.first(self._is_free, self._lanes)
        if host is not None:
            return self._send(host, self._lanes.take(host))
        idle = self._free.idle(self._is_free, self._lanes) if self._suspects.count else None
        suspect = self._suspects.take(quarantine=False) if idle is not None else None
        if idle is None or suspect is None:
            return None
        self._alone.add(idle)
        return self._send(idle, suspect)

    def answered(self, ask: Ask) -> None:
        """A task came back with an answer."""
        tried = self._land(ask)
        if ask.task.key not in self.failures:
            self.answers.add(ask.task)
            self._answers_of.setdefault(ask.task.key, []).append(ask.task)
        if tried:
            self._acquit(ask.task.key)

    def failed(self, ask: Ask, sentence: str) -> None:
        """A task came back with an error of its own: it is asked once more, in quarantine."""
        self._land(ask)
        if ask.host == QUARANTINE:
            self._give_up(ask.task.key, Reason.INVALID, sentence)
        else:
            self._suspect(ask.task, erred=True)

    def crashed(self, host: str, sentence: str = "") -> None:
        """A host's process died: whatever it had in flight is under suspicion, and it gets no work until it is up.

        `sentence`: what it said of its end, where it did.
        """
        self._death += 1
        tasks = self._ground(host)
        explained = any(task.key in self.failures for task in tasks)
        for task in tasks:
            deaths = self._deaths.setdefault(task.key, set())
            if not explained:
                deaths.add(self._death)
                self._keys_at_death.setdefault(self._death, set()).add(task.key)
            if host == QUARANTINE or len(deaths) > RETRIES:
                died = f"its host died {len(deaths)} times while it worked"
                self._give_up(task.key, Reason.DEAD, sentence or died)
                self._explain(task.key)
            else:
                self._suspect(task, erred=False)

    def missed(self, host: str) -> bool:
        """A host's deadline passed. True: the host is to be killed, and what it was busy with is late."""
        self._misses[host] += 1
        if self._misses[host] < MISSES:
            return False
        busy, *waiting = self._ground(host)
        self._give_up(busy.key, Reason.LATE, f"no answer within {MISSES} deadlines")
        for task in reversed(waiting):
            self._queue(host if host != QUARANTINE else None, task)
        return True

    def lost(self, host: str, sentence: str) -> None:
        """A host's process is there, and the device that it computes on is not."""
        self._up.discard(host)
        self._lost[host] = sentence
        self._strand()

    def up(self, host: str) -> None:
        """A host's process is there (again) and may be asked."""
        self._up.add(host)
        self._lost.pop(host, None)
        self._offer(host)

    def end(self, sentence: str) -> None:
        """The time for everything is over: keys with tasks left are late, or dead where a host died under them or the
        one that they live at is down.
        """
        for tasks in self._flying.values():
            for task in tasks:
                self._fail(task.key, self._reason_left(task.key), sentence)
            tasks.clear()
        self._in_flight = 0
        for host, key in self._lanes.clear():
            down = host is not None and host not in self._up
            self._fail(key, Reason.DEAD if down else Reason.LATE, sentence)
        for key in (*self._suspects.clear(), *self._held):
            self._fail(key, self._reason_left(key), sentence)
        self._alone.clear()
        self._held.clear()

    def _is_free(self, host: str, load: int) -> bool:
        return load == len(self._flying[host]) < self._limit and host in self._up and host not in self._alone

    def _offer(self, host: str) -> None:
        """What a host has in flight has changed, or it is up, or has work of its own."""
        if host != QUARANTINE:
            self._free.offer(host, len(self._flying[host]))

    def _send(self, host: str, task: Task) -> Ask:
        self._flying[host].append(task)
        self._in_flight += 1
        self._offer(host)
        return Ask(host, task)

    def _land(self, ask: Ask) -> bool:
        """A task is back; whether it was asked alone."""
        self._flying[ask.host].remove(ask.task)
        self._in_flight -= 1
        self._misses[ask.host] = 0
        alone = ask.host in self._alone
        self._alone.discard(ask.host)
        self._offer(ask.host)
        return alone or ask.host == QUARANTINE

    def _ground(self, host: str) -> tuple[Task, ...]:
        """A host is gone, with what it had in flight."""
        self._up.discard(host)
        self._alone.discard(host)
        self._misses[host] = 0
        tasks = tuple(self._flying[host])
        self._flying[host].clear()
        self._in_flight -= len(tasks)
        return tasks

    def _queue(self, host: str | None, task: Task) -> None:
        if task.key in self.failures:
            return
        if task.key in self._held:
            self._held[task.key].appendleft(task)
            return
        home = self._lanes.prepend(host, task)
        if home is not None:
            self._offer(home)

    def _suspect(self, task: Task, *, erred: bool) -> None:
        if task.key in self.failures:
            return
        self._held.setdefault(task.key, deque()).extend(self._lanes.remove(task.key))
        self._suspects.add(task, erred=erred)

    def _acquit(self, key: bytes) -> None:
        """A task of a key was answered alone: unless more of its tasks are under suspicion, the rest goes on."""
        if key in self._held and not self._suspects.go_on(key):
            for task in reversed(self._held.pop(key)):
                self._queue(None, task)

    def _strand(self) -> None:
        """Give up what nobody is left to answer for, because all who could have lost their devices."""
        if not self._lost:
            return
        if QUARANTINE in self._lost:
            for key in self._suspects.waiting():
                self._give_up(key, Reason.DEAD, self._lost[QUARANTINE])
        if all(host in self._lost for host in self._flying if host != QUARANTINE):
            for host, key in self._lanes.clear():
                self._give_up(key, Reason.DEAD, self._lost[host or min(self._lost)])

    def _explain(self, key: bytes) -> None:
        """A key was convicted: the deaths that it was there for no longer count against others."""
        for death in self._deaths.pop(key):
            for other in self._keys_at_death.pop(death):
                self._deaths.get(other, set()).discard(death)

    def _reason_left(self, key: bytes) -> Reason:
        return Reason.DEAD if self._deaths.get(key) else Reason.LATE

    def _give_up(self, key: bytes, reason: Reason, sentence: str) -> None:
        self._fail(key, reason, sentence)
        self._held.pop(key, None)
        self._suspects.drop(key)
        self._lanes.remove(key)

    def _fail(self, key: bytes, reason: Reason, sentence: str) -> None:
        self.failures.setdefault(key, Failure(reason, sentence))
        self.answers.difference_update(self._answers_of.pop(key, ()))
