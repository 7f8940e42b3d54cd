"""What waits for hosts, what waits to be tried, and which host is free for it: the dispatcher's queues.

Invariants: a key stands in one lane, with all its tasks that wait; who is asked next costs the logarithm of how many
hosts there are, since an entry that was overtaken stays in its heap until it comes up, and is passed over then.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One call: a part (`chunk`) of what is asked of one key (a model version, or a peer)."""

    key: bytes
    chunk: int = 0


class Lanes:
    """Tasks that wait, by the host at which their key lives; under None those of keys that live nowhere."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.keys = 0
        """How many wait."""
        self._lanes: dict[str | None, OrderedDict[bytes, deque[Task]]] = {host: OrderedDict() for host in hosts}
        self._lanes[None] = OrderedDict()
        self._place: dict[str | None, int] = {host: place for place, host in enumerate(self._lanes)}
        self._host_of: dict[bytes, str | None] = {}
        self._longest: list[tuple[int, int, str | None]] = []

    def empty(self, host: str | None) -> bool:
        """Whether nothing waits there."""
        return not self._lanes[host]

    def append(self, host: str | None, task: Task) -> None:
        """A task of a key, behind those of it that wait already."""
        self._tasks(host, task.key).append(task)

    def prepend(self, host: str | None, task: Task) -> str | None:
        """A task comes back, before those of its key that wait, wherever they do; returns at which host."""
        self._tasks(host, task.key).appendleft(task)
        return self._host_of[task.key]

    def remove(self, key: bytes) -> deque[Task]:
        """A key leaves its lane, if it is in one; returns its tasks."""
        if key not in self._host_of:
            return deque()
        host = self._host_of.pop(key)
        tasks = self._lanes[host].pop(key)
        self._changed(host, -1)
        return tasks

    def take(self, host: str) -> Task:
        """The next task for a host: of its own lane, else of a key that lives nowhere, else of the last key of the
        longest lane. The key is the host's from then on.
        """
        if not self._lanes[host]:
            source = None if self._lanes[None] else self._longest_lane()
            key, tasks = self._lanes[source].popitem(last=source is not None)
            self._changed(source, -1)
            self._lanes[host][key], self._host_of[key] = tasks, host
            self._changed(host, 1)
        key, tasks = next(iter(self._lanes[host].items()))
        task = tasks.popleft()
        if not tasks:
            self.remove(key)
        return task

    def clear(self) -> list[tuple[str | None, bytes]]:
        """Every key leaves; each with where it was."""
        left = [(host, key) for host, lane in self._lanes.items() for key in lane]
        for _, key in left:
            self.remove(key)
        return left

    def _tasks(self, host: str | None, key: bytes) -> deque[Task]:
        if key not in self._host_of:
            self._host_of[key] = host
            self._lanes[host][key] = deque()
            self._changed(host, 1)
        return self._lanes[self._host_of[key]][key]

    def _changed(self, host: str | None, by: int) -> None:
        self.keys += by
        heapq.heappush(self._longest, (-len(self._lanes[host]), self._place[host], host))

    def _longest_lane(self) -> str | None:
        """The first of those with most keys."""
        while -self._longest[0][0] != len(self._lanes[self._longest[0][2]]):
            heapq.heappop(self._longest)
        return self._longest[0][2]


class Suspects:
    """Tasks that are to be tried, in the order in which they came under suspicion, of a key one at a time. A key that
    raised an error is tried in the quarantine only: elsewhere it would raise it again.
    """

    def __init__(self) -> None:
        self.count = 0
        """How many wait."""
        self._tasks: dict[bytes, deque[tuple[int, Task]]] = {}
        self._anywhere: list[tuple[int, bytes]] = []
        self._quarantine: list[tuple[int, bytes]] = []
        self._erred: set[bytes] = set()
        self._tried: set[bytes] = set()
        self._came = 0

    def add(self, task: Task, *, erred: bool) -> None:
        """A task came under suspicion, by an error or by a death; its key is not on trial any more, if it was."""
        self._came += 1
        self._tasks.setdefault(task.key, deque()).append((self._came, task))
        self.count += 1
        if erred:
            self._erred.add(task.key)
        self.go_on(task.key)

    def waiting(self) -> tuple[bytes, ...]:
        """The keys of those that wait."""
        return tuple(self._tasks)

    def take(self, *, quarantine: bool) -> Task | None:
        """The first whose key is not on trial, for the quarantine or for another host; its key is, until `go_on`."""
        heaps = (self._anywhere, self._quarantine) if quarantine else (self._anywhere,)
        heap = min((heap for heap in heaps if self._settled(heap)), key=lambda heap: heap[0], default=None)
        if heap is None:
            return None
        _, key = heapq.heappop(heap)
        _, task = self._tasks[key].popleft()
        self._tried.add(key)
        self.count -= 1
        if not self._tasks[key]:
            del self._tasks[key]
        return task

    def go_on(self, key: bytes) -> bool:
        """A key's trial is over; whether more of its tasks wait, of which the next is ready."""
        self._tried.discard(key)
        if key not in self._tasks:
            return False
        heap = self._quarantine if key in self._erred else self._anywhere
        heapq.heappush(heap, (self._tasks[key][0][0], key))
        return True

    def drop(self, key: bytes) -> None:
        """A key was given up."""
        self.count -= len(self._tasks.pop(key, ()))
        self._tried.discard(key)

    def clear(self) -> tuple[bytes, ...]:
        """All leave; their keys."""
        keys = self.waiting()
        for key in keys:
            self.drop(key)
        return keys

    def _settled(self, heap: list[tuple[int, bytes]]) -> bool:
        """Whether there is one that is ready, once entries that do not hold any more have left."""
        while heap:
            came, key = heap[0]
            there = key not in self._tried and key in self._tasks and self._tasks[key][0][0] == came
            if there and (key in self._erred) == (heap is self._quarantine):
                return True
            heapq.heappop(heap)
        return False


class FreeHosts:
    """Hosts that may be asked, the least loaded first, then by name; those with a lane of their own apart from those
    without, who only take what lives nowhere or, when they have nothing in flight, from another's lane.
    """

    def __init__(self) -> None:
        self._housed: list[tuple[int, str]] = []
        self._bare: list[tuple[int, str]] = []

    def offer(self, host: str, load: int) -> None:
        """A host is up and has so many tasks in flight now."""
        heapq.heappush(self._housed, (load, host))

    def first(self, is_free: Callable[[str, int], bool], lanes: Lanes) -> str | None:
        """The host that is asked next; it keeps its place until it is offered with another load.

        Args:
            is_free: whether a host may be asked, and has so many tasks in flight.
        """
        _settle(self._bare, self._housed, is_free, lanes.empty)
        housed = _settle(self._housed, self._bare, is_free, lambda host: not lanes.empty(host))
        bare = _settle(self._bare, self._housed, is_free, lanes.empty)
        if bare is not None and lanes.empty(None) and (bare[0] or not lanes.keys):
            bare = None
        found = min((entry for entry in (housed, bare) if entry is not None), default=None)
        return None if found is None else found[1]

    def idle(self, is_free: Callable[[str, int], bool], lanes: Lanes) -> str | None:
        """A host that has nothing in flight, once `first` has found nothing for anybody."""
        bare = _settle(self._bare, self._housed, is_free, lanes.empty)
        return bare[1] if bare is not None and bare[0] == 0 else None


def _settle(
    heap: list[tuple[int, str]],
    other: list[tuple[int, str]],
    is_free: Callable[[str, int], bool],
    belongs: Callable[[str], bool],
) -> tuple[int, str] | None:
    """The heap's first entry once those before it that were overtaken, or belong into the other heap, have left."""
    while heap:
        load, host = heap[0]
        if not is_free(host, load):
            heapq.heappop(heap)
        elif belongs(host):
            return load, host
        else:
            heapq.heappush(other, heapq.heappop(heap))
    return None
