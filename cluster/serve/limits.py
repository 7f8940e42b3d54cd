"""How often somebody may ask, and how much somebody may send: leaky buckets by name.

Invariants: pure but for the lock; as many names are remembered as `MOST_NAMES`, the one longest silent is forgotten
first.
"""

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

MOST_NAMES = 65_536
_LONGEST_NAME = 64
"""Of what is no address: a proxy may pass anything on."""


class Buckets:
    """One bucket a name. It takes `burst` at once, and `per_s` a second in the long run."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._lock = threading.Lock()
        self._levels: OrderedDict[str | bytes, tuple[float, float]] = OrderedDict()

    def take(self, name: str | bytes, amount: float, at_s: float) -> float:
        """Pour an amount into a name's bucket. Returns 0 if it went in, else after how many seconds it would."""
        with self._lock:
            level = self._level(name, at_s)
            over = level + amount - self._burst
            self._set(name, level + amount if over <= 0 else level, at_s)
        return 0.0 if over <= 0 else over / self._per_s

    def owe(self, name: str | bytes, amount: float, at_s: float) -> None:
        """Pour in what was used already, even beyond the brim."""
        with self._lock:
            self._set(name, self._level(name, at_s) + amount, at_s)

    def _level(self, name: str | bytes, at_s: float) -> float:
        level, since = self._levels.get(name, (0.0, at_s))
        return max(0.0, level - (at_s - since) * self._per_s)

    def _set(self, name: str | bytes, level: float, at_s: float) -> None:
        self._levels[name] = (level, at_s)
        self._levels.move_to_end(name)
        if len(self._levels) > MOST_NAMES:
            self._levels.popitem(last=False)


def neighbourhood(host: str) -> str:
    """Whom a limit by address means: an IPv4 address itself, of an IPv6 address the /64 that one customer has."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:_LONGEST_NAME]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host


class Streams:
    """How many streams are open, in all and by address."""

    def __init__(self, most: int, per_address: int) -> None:
        self._most = most
        self._per_address = per_address
        self._lock = threading.Lock()
        self._open: dict[str, int] = {}

    def has_room(self, address: str) -> bool:
        """Whether one more may be opened from an address."""
        with self._lock:
            return sum(self._open.values()) < self._most and self._open.get(address, 0) < self._per_address

    @contextmanager
    def holding(self, address: str) -> Iterator[None]:
        """Count a stream for as long as it is open."""
        with self._lock:
            self._open[address] = self._open.get(address, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._open[address] -= 1
                if not self._open[address]:
                    del self._open[address]
