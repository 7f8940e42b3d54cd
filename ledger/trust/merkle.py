"""Merkle roots of lists.

Invariants: leaves and inner nodes have their own prefix, so neither can be passed off as the other; a last node without
a sibling rises unchanged (as in RFC 6962), and the root covers the number of items, without which the way of the last
of five would be that of the second of two: so no two lists share a root, and an item's place is proven with it.
"""

from collections.abc import Sequence

from ledger.units import blake2b_256

_LEAF = b"\x00"
_INNER = b"\x01"
_ROOT = b"\x02"


def compute_root(items: Sequence[bytes]) -> bytes:
    """The root of a list of byte strings (BLAKE2b-256)."""
    level = [blake2b_256(_LEAF, item) for item in items]
    while len(level) > 1:
        level = _rise(level)
    return _hash_root(len(items), level[0] if level else b"")


def find_way(items: Sequence[bytes], position: int) -> tuple[bytes, ...]:
    """The siblings on the way from an item up to the root, where it has one."""
    level, way = [blake2b_256(_LEAF, item) for item in items], []
    while len(level) > 1:
        if position ^ 1 < len(level):
            way.append(level[position ^ 1])
        level, position = _rise(level), position // 2
    return tuple(way)


def compute_way_root(item: bytes, position: int, count: int, way: Sequence[bytes]) -> bytes:
    """The root of a list of `count` items with this one at `position`; ValueError if the way fits no such place."""
    siblings, node, rest = list(reversed(way)), blake2b_256(_LEAF, item), count
    if not 0 <= position < count:
        raise ValueError(f"there is no place {position} in a list of {count}")
    while rest > 1:
        if position ^ 1 < rest:
            if not siblings:
                raise ValueError("the way ends before it has led from the item's place to the root")
            pair = (siblings.pop(), node) if position & 1 else (node, siblings.pop())
            node = blake2b_256(_INNER, *pair)
        position, rest = position // 2, (rest + 1) // 2
    if siblings:
        raise ValueError("the way goes on after it has led from the item's place to the root")
    return _hash_root(count, node)


def _hash_root(count: int, node: bytes) -> bytes:
    return blake2b_256(_ROOT, count.to_bytes(8, "big"), node)


def _rise(level: list[bytes]) -> list[bytes]:
    paired = [blake2b_256(_INNER, left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
    return paired + level[2 * len(paired) :]
