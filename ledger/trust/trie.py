"""The authenticated state map: a compressed binary Merkle trie over BLAKE2b-256 of the keys.

Invariants: the root depends on the entries alone, not on the order in which they came; an update makes O(log n) new
nodes an entry, shares them among the entries of one update, and leaves the old trie as it was, so a block that fails is
undone by keeping the old root; the way from an entry (or from the one in its place) to the root proves what the root
commits to.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from ledger.units import Hash32, blake2b_256

_LEAF = b"\x00"
_INNER = b"\x01"
_KEY_BITS = 256
_LAST_BIT = _KEY_BITS - 1
_BITS = [bit.to_bytes(2, "big") for bit in range(_KEY_BITS)]
EMPTY_ROOT = blake2b_256(b"\x02")


# Nodes reach only downwards, so no cycle can form: without tracking, a collection does not walk a million of them.
class Leaf(Struct, frozen=True, gc=False):
    """One entry: the path is the key's hash as a number, whose highest bit is the first turn."""

    path: int
    value_hash: bytes
    hash: bytes


class Inner(Struct, frozen=True, gc=False):
    """A fork at `bit` (counted from the highest): everything below shares the bits before it with `path`."""

    bit: int
    path: int
    left: "Node"
    right: "Node"
    hash: bytes


Node = Leaf | Inner


class Step(NamedTuple):
    """One fork on the way down to an entry: its bit, and the hash of the side that was not taken."""

    bit: Annotated[int, Meta(ge=0, lt=_KEY_BITS)]
    sibling: Hash32


class Found(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a key's path ends: the key's own leaf or, where there is none, the one that stands in its place; and the
    forks from the root down.
    """

    path: Hash32
    value_hash: Hash32
    steps: tuple[Step, ...]


class Trie:
    """An immutable map from byte keys to the hashes of byte values."""

    __slots__ = ("_node",)

    def __init__(self, node: Node | None = None) -> None:
        self._node = node

    @property
    def root(self) -> bytes:
        """The hash that commits to every key and value."""
        return EMPTY_ROOT if self._node is None else self._node.hash

    def update(self, changes: Iterable[tuple[bytes, bytes | None]]) -> "Trie":
        """This trie with entries added, replaced, or removed (None); of two changes of one key the last counts."""
        by_path = {_path(key): value for key, value in changes}
        paths = sorted(by_path)
        values = [by_path[path] for path in paths]
        leaves = [
            None if value is None else _leaf(path, blake2b_256(value))
            for path, value in zip(paths, values, strict=True)
        ]
        return Trie(_Update(paths, leaves).apply(self._node, 0, len(paths)))

    def find(self, key: bytes) -> Found | None:
        """The way to the key's leaf or, where there is none, to the one leaf that proves it; None in an empty trie."""
        node, path, steps = self._node, _path(key), []
        if node is None:
            return None
        while isinstance(node, Inner):
            taken, other = (node.right, node.left) if _turn(path, node.bit) else (node.left, node.right)
            steps.append(Step(node.bit, other.hash))
            node = taken
        return Found(_to_bytes(node.path), node.value_hash, tuple(steps))


class _Update:
    """The changes of one update in the order of their paths, merged into a trie from the root down."""

    __slots__ = ("leaves", "paths")

    def __init__(self, paths: list[int], leaves: list[Leaf | None]) -> None:
        self.paths = paths
        self.leaves = leaves

    def apply(self, node: Node | None, first: int, last: int) -> Node | None:
        """The node with the changes from `first` up to `last` (excluded)."""
        if last - first < 2:
            return node if first == last else _put(node, self.paths[first], self.leaves[first])
        if not isinstance(node, Inner):
            return self._replace(node, first, last)
        # This is the ledger's hottest function after verification: what it calls elsewhere stands here in line.
        low, below = self.paths[first], _LAST_BIT - node.bit
        if ((node.path ^ low) | (node.path ^ self.paths[last - 1])) >> below >> 1:
            return self._fork_above(node, first, last)
        middle = bisect_left(self.paths, (low >> below | 1) << below, first, last)
        left, right = self.apply(node.left, first, middle), self.apply(node.right, middle, last)
        if left is node.left and right is node.right:
            return node
        return _join(node.bit, left, right)

    def _fork_above(self, node: Inner, first: int, last: int) -> Node | None:
        """Where a change leaves the way before the node's own fork."""
        fork = min(_fork_bit(node.path, self.paths[first]), _fork_bit(node.path, self.paths[last - 1]))
        below = _LAST_BIT - fork
        middle = bisect_left(self.paths, (self.paths[first] >> below | 1) << below, first, last)
        if _turn(node.path, fork):
            return _join(fork, self.apply(None, first, middle), self.apply(node, middle, last))
        return _join(fork, self.apply(node, first, middle), self.apply(None, middle, last))

    def _replace(self, old: Leaf | None, first: int, last: int) -> Node | None:
        """A tree of the changes, and of what was there unless they replace or remove it."""
        leaves = [leaf for leaf in self.leaves[first:last] if leaf is not None]
        if old is not None:
            at = bisect_left(self.paths, old.path, first, last)
            if at == last or self.paths[at] != old.path:
                leaves.append(old)
                leaves.sort(key=_path_of)
        return _grow(leaves)


def hash_path(key: bytes) -> bytes:
    """Where a key stands in every trie."""
    return blake2b_256(key)


def compute_found_root(key: bytes, found: Found) -> bytes:
    """The root of a trie in which the way of this key ends like this; ValueError if no trie's does.

    The key is in that trie if `found.path` is its own, and is proven absent if not.
    """
    bits = [step.bit for step in found.steps]
    if not all(before < after for before, after in zip([-1, *bits], [*bits, _KEY_BITS], strict=True)):
        raise ValueError("the forks of a way come in the order of their bits, each once")
    path, end = _path(key), int.from_bytes(found.path, "big")
    if any(_turn(path, bit) != _turn(end, bit) for bit in bits):
        raise ValueError("the way leads to a leaf at which the key's own does not end")
    node_hash = _leaf(end, found.value_hash).hash
    for bit, sibling in reversed(found.steps):
        sides = (sibling, node_hash) if _turn(path, bit) else (node_hash, sibling)
        node_hash = _hash_inner(bit, *sides)
    return node_hash


def _path(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=32).digest(), "big")


def _to_bytes(path: int) -> bytes:
    return path.to_bytes(32, "big")


def _put(node: Node | None, path: int, leaf: Leaf | None) -> Node | None:
    """The node with one entry added, replaced or removed: most of an update's way is below its last shared fork."""
    top, below = node, node
    way: list[Inner] = []
    while isinstance(below, Inner):
        way.append(below)
        below = below.right if path >> (_LAST_BIT - below.bit) & 1 else below.left
    fork = _KEY_BITS if below is None else _fork_bit(below.path, path)
    if fork == _KEY_BITS:
        below = leaf
    elif leaf is None:
        return top
    else:
        while way and way[-1].bit > fork:
            below = way.pop()
        below = _join(fork, below, leaf) if _turn(path, fork) else _join(fork, leaf, below)
    while way:
        parent = way.pop()
        turn = path >> (_LAST_BIT - parent.bit) & 1
        below = _join(parent.bit, parent.left, below) if turn else _join(parent.bit, below, parent.right)
    return below


def _leaf(path: int, value_hash: bytes) -> Leaf:
    return Leaf(path, value_hash, blake2b(_LEAF + path.to_bytes(32, "big") + value_hash, digest_size=32).digest())


def _hash_inner(bit: int, left: bytes, right: bytes) -> bytes:
    return blake2b_256(_INNER + _BITS[bit] + left + right)


def _join(bit: int, left: Node | None, right: Node | None) -> Node | None:
    """The fork of two sides, or the one that is there."""
    if left is None or right is None:
        return left if right is None else right
    digest = blake2b(_INNER + _BITS[bit] + left.hash + right.hash, digest_size=32).digest()
    return Inner(bit, left.path, left, right, digest)


def _grow(leaves: Sequence[Leaf]) -> Node | None:
    """The tree of leaves that are sorted by path, in one pass: a fork is made as soon as its right side is complete."""
    nodes: list[Node | None] = []
    forks: list[int] = []
    last = -1
    for leaf in leaves:
        fork = -1 if last < 0 else _fork_bit(last, leaf.path)
        _close_forks(nodes, forks, fork)
        nodes.append(leaf)
        if last >= 0:
            forks.append(fork)
        last = leaf.path
    _close_forks(nodes, forks, -1)
    return nodes[0] if nodes else None


def _close_forks(nodes: list[Node | None], forks: list[int], above: int) -> None:
    while forks and forks[-1] > above:
        right, left = nodes.pop(), nodes.pop()
        nodes.append(_join(forks.pop(), left, right))


def _turn(path: int, bit: int) -> int:
    return path >> (_LAST_BIT - bit) & 1


def _fork_bit(first: int, second: int) -> int:
    """The first bit at which two paths differ; 256 if they are one."""
    return _KEY_BITS - (first ^ second).bit_length()


def _path_of(leaf: Leaf) -> int:
    return leaf.path
