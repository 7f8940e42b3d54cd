"""The authenticated state map: a compressed binary Merkle trie over BLAKE2b-256 of the keys.

Invariants: the root depends on the entries alone, not on the order in which they came; an update makes O(log n) new
nodes and leaves the old trie as it was, so a block that fails is undone by keeping the old root; each new node is
hashed once, when a root is asked for.
"""

from ledger.units import blake2b_256

_LEAF = b"\x00"
_INNER = b"\x01"
_KEY_BITS = 256
EMPTY_ROOT = blake2b_256(b"\x02")


class Leaf:
    """One entry: the path is the key's hash as a number, whose highest bit is the first turn."""

    __slots__ = ("hash", "path")

    def __init__(self, path: int, value: bytes) -> None:
        self.path = path
        self.hash = blake2b_256(_LEAF, path.to_bytes(32, "big"), blake2b_256(value))


class Inner:
    """A fork at `bit` (counted from the highest): everything below shares the bits before it with `path`."""

    __slots__ = ("_hash", "bit", "left", "path", "right")

    def __init__(self, bit: int, path: int, left: "Node", right: "Node") -> None:
        self.bit = bit
        self.path = path
        self.left = left
        self.right = right
        self._hash: bytes | None = None

    @property
    def hash(self) -> bytes:
        """BLAKE2b-256 over the fork's place and its two sides."""
        if self._hash is None:
            self._hash = blake2b_256(_INNER, self.bit.to_bytes(2, "big"), self.left.hash, self.right.hash)
        return self._hash


Node = Leaf | Inner


class Trie:
    """An immutable map from byte keys to the hashes of byte values."""

    __slots__ = ("_node",)

    def __init__(self, node: Node | None = None) -> None:
        self._node = node

    @property
    def root(self) -> bytes:
        """The hash that commits to every key and value."""
        return EMPTY_ROOT if self._node is None else self._node.hash

    def put(self, key: bytes, value: bytes) -> "Trie":
        """This trie with the entry added or replaced."""
        return Trie(_put(self._node, Leaf(_path(key), value)))

    def delete(self, key: bytes) -> "Trie":
        """This trie without the entry; a key that isn't there changes nothing."""
        return Trie(_delete(self._node, _path(key)))


def _path(key: bytes) -> int:
    return int.from_bytes(blake2b_256(key), "big")


def _turn(path: int, bit: int) -> int:
    return path >> (_KEY_BITS - 1 - bit) & 1


def _fork_bit(first: int, second: int) -> int:
    """The first bit at which two paths differ; 256 if they are one."""
    return _KEY_BITS - (first ^ second).bit_length()


def _put(node: Node | None, leaf: Leaf) -> Node:
    if node is None:
        return leaf
    fork = _fork_bit(node.path, leaf.path)
    if isinstance(node, Inner) and fork >= node.bit:
        if _turn(leaf.path, node.bit):
            return Inner(node.bit, node.path, node.left, _put(node.right, leaf))
        return Inner(node.bit, node.path, _put(node.left, leaf), node.right)
    if fork == _KEY_BITS:
        return leaf
    left, right = (node, leaf) if _turn(leaf.path, fork) else (leaf, node)
    return Inner(fork, leaf.path, left, right)


def _delete(node: Node | None, path: int) -> Node | None:
    if node is None or isinstance(node, Leaf):
        return None if node is not None and node.path == path else node
    if _fork_bit(node.path, path) < node.bit:
        return node
    side, other = (node.right, node.left) if _turn(path, node.bit) else (node.left, node.right)
    kept = _delete(side, path)
    if kept is side:
        return node
    if kept is None:
        return other
    left, right = (other, kept) if _turn(path, node.bit) else (kept, other)
    return Inner(node.bit, other.path, left, right)
