"""The dispatcher as it is easiest to read: it looks at every host, lane and task at each question.

The one that networks use (`actors.dispatch`) has to decide the same, at a cost that does not grow with their number.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping

from actors.dispatch import IN_FLIGHT, MISSES, QUARANTINE, RETRIES, Ask, Failure, Reason, Task


class PlainDispatcher:
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
        self._limit = in_flight
        self._up: set[str] = {*homes, QUARANTINE}
        self._flying: dict[str, deque[Task]] = {host: deque() for host in (*homes, QUARANTINE)}
        self._suspects: deque[Task] = deque()
        self._alone: set[str] = set()
        self._tried: set[bytes] = set()
        self._erred: set[bytes] = set()
        self._held: dict[bytes, deque[Task]] = {}
        self._deaths: dict[bytes, set[int]] = {}
        self._death = 0
        self._misses: Counter[str] = Counter()
        self._lost: dict[str, str] = {}
        home_of = {key: host for host, keys in homes.items() for key in keys}
        self._lanes: dict[str | None, OrderedDict[bytes, deque[Task]]] = {
            host: OrderedDict() for host in (*homes, None)
        }
        for task in tasks:
            self._lanes[home_of.get(task.key)].setdefault(task.key, deque()).append(task)

    @property
    def done(self) -> bool:
        """Whether every task was answered or its key given up."""
        return not (self._suspects or self._held or any(self._flying.values()) or any(self._lanes.values()))

    def flying(self, host: str) -> tuple[Task, ...]:
        """The tasks that are at a host, oldest first."""
        return tuple(self._flying[host])

    def next_ask(self) -> Ask | None:
        """The next instruction, or None: nothing can be asked until something is reported."""
        self._strand()
        if QUARANTINE in self._up and not self._flying[QUARANTINE]:
            suspect = self._try(quarantine=True)
            if suspect is not None:
                return self._send(QUARANTINE, suspect)
        free = [h for h in self._up if h != QUARANTINE and len(self._flying[h]) < self._limit]
        free = [host for host in free if host not in self._alone]
        for host in sorted(free, key=lambda h: (len(self._flying[h]), h)):
            task = self._take(host)
            if task is not None:
                return self._send(host, task)
        idle = sorted(host for host in free if not self._flying[host])
        suspect = self._try(quarantine=False) if idle else None
        if suspect is None:
            return None
        self._alone.add(idle[0])
        return self._send(idle[0], suspect)

    def _try(self, *, quarantine: bool) -> Task | None:
        for task in self._suspects:
            if task.key not in self._tried and (quarantine or task.key not in self._erred):
                self._suspects.remove(task)
                self._tried.add(task.key)
                return task
        return None

    def _land(self, ask: Ask) -> bool:
        self._flying[ask.host].remove(ask.task)
        self._misses[ask.host] = 0
        alone = ask.host == QUARANTINE or ask.host in self._alone
        self._alone.discard(ask.host)
        return alone

    def answered(self, ask: Ask) -> None:
        """A task came back with an answer."""
        tried = self._land(ask)
        if ask.task.key not in self.failures:
            self.answers.add(ask.task)
        if tried:
            self._release(ask.task.key)

    def failed(self, ask: Ask, sentence: str) -> None:
        """A task came back with an error of its own: it is asked once more, in quarantine."""
        self._land(ask)
        if ask.host == QUARANTINE:
            self._give_up(ask.task.key, Reason.INVALID, sentence)
        else:
            self._erred |= {ask.task.key} - set(self.failures)
            self._suspect(ask.task)

    def crashed(self, host: str, sentence: str = "") -> None:
        """A host's process died: whatever it had in flight is under suspicion, and it gets no work until it is up.

        `sentence`: what it said of its end, where it did.
        """
        self._up.discard(host)
        self._alone.discard(host)
        self._misses[host] = 0
        self._death += 1
        tasks = tuple(self._flying[host])
        self._flying[host].clear()
        explained = any(task.key in self.failures for task in tasks)
        for task in tasks:
            deaths = self._deaths.setdefault(task.key, set())
            if not explained:
                deaths.add(self._death)
            if host == QUARANTINE or len(deaths) > RETRIES:
                died = f"its host died {len(deaths)} times while it worked"
                self._give_up(task.key, Reason.DEAD, sentence or died)
                self._explain(task.key)
            else:
                self._suspect(task)

    def missed(self, host: str) -> bool:
        """A host's deadline passed. True: the host is to be killed, and what it was busy with is late."""
        self._misses[host] += 1
        if self._misses[host] < MISSES:
            return False
        self._up.discard(host)
        self._alone.discard(host)
        self._misses[host] = 0
        busy, waiting = self._flying[host].popleft(), list(self._flying[host])
        self._flying[host].clear()
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

    def end(self, sentence: str) -> None:
        """The time for everything is over: keys with tasks left are late, or dead where a host died under them or the
        one that they live at is down."""
        for tasks in self._flying.values():
            for task in tasks:
                self._fail(task.key, self._reason_left(task.key), sentence)
            tasks.clear()
        for host, lane in self._lanes.items():
            down = host is not None and host not in self._up
            for key in lane:
                self._fail(key, Reason.DEAD if down else Reason.LATE, sentence)
            lane.clear()
        for key in (*(task.key for task in self._suspects), *self._held):
            self._fail(key, self._reason_left(key), sentence)
        self._suspects.clear()
        self._held.clear()

    def _send(self, host: str, task: Task) -> Ask:
        self._flying[host].append(task)
        return Ask(host, task)

    def _take(self, host: str) -> Task | None:
        lane = self._lanes[host]
        if not lane:
            key = self._claim(host)
            if key is None:
                return None
        key, tasks = next(iter(lane.items()))
        task = tasks.popleft()
        if not tasks:
            del lane[key]
        return task

    def _claim(self, host: str) -> bytes | None:
        """Move a key to an idle host's lane: one that lives nowhere, else the last of the longest lane."""
        source = self._lanes[None]
        first = True
        if not source and not self._flying[host]:
            source, first = max(self._lanes.values(), key=len), False
        if not source:
            return None
        key, tasks = source.popitem(last=not first)
        self._lanes[host][key] = tasks
        return key

    def _queue(self, host: str | None, task: Task) -> None:
        if task.key in self.failures:
            return
        if task.key in self._held:
            self._held[task.key].appendleft(task)
            return
        lane = next((lane for lane in self._lanes.values() if task.key in lane), self._lanes[host])
        lane.setdefault(task.key, deque()).appendleft(task)

    def _suspect(self, task: Task) -> None:
        if task.key in self.failures:
            return
        self._held.setdefault(task.key, deque())
        for lane in self._lanes.values():
            self._held[task.key].extend(lane.pop(task.key, ()))
        self._suspects.append(task)
        self._tried.discard(task.key)

    def _release(self, key: bytes) -> None:
        """A task of a key was answered alone: unless more of its tasks are under suspicion, the rest goes on."""
        self._tried.discard(key)
        if key in self._held and all(task.key != key for task in self._suspects):
            for task in reversed(self._held.pop(key)):
                self._queue(None, task)

    def _strand(self) -> None:
        """Give up what nobody is left to answer for, because all who could have lost their devices."""
        if QUARANTINE in self._lost:
            for key in {task.key for task in self._suspects}:
                self._give_up(key, Reason.DEAD, self._lost[QUARANTINE])
        if all(host is None or host in self._lost for host in self._lanes):
            for host, lane in self._lanes.items():
                for key in tuple(lane):
                    self._give_up(key, Reason.DEAD, self._lost[host or min(self._lost)])

    def _explain(self, key: bytes) -> None:
        """A key was convicted: the deaths that it was there for no longer count against others."""
        explained = self._deaths.pop(key)
        for deaths in self._deaths.values():
            deaths -= explained

    def _reason_left(self, key: bytes) -> Reason:
        return Reason.DEAD if self._deaths.get(key) else Reason.LATE

    def _give_up(self, key: bytes, reason: Reason, sentence: str) -> None:
        self._fail(key, reason, sentence)
        self._held.pop(key, None)
        self._tried.discard(key)
        self._suspects = deque(task for task in self._suspects if task.key != key)
        for lane in self._lanes.values():
            lane.pop(key, None)

    def _fail(self, key: bytes, reason: Reason, sentence: str) -> None:
        self.failures.setdefault(key, Failure(reason, sentence))
        self.answers = {task for task in self.answers if task.key != key}
