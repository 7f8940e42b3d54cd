"""Merkle roots of lists.

Invariants: leaves and inner nodes have their own prefix, so neither can be passed off as the other; a last node without
a sibling rises unchanged (as in RFC 6962), so no two lists share a root.
"""

from collections.abc import Sequence

from ledger.units import blake2b_256

_LEAF = b"\x00"
_INNER = b"\x01"
EMPTY_ROOT = blake2b_256(b"\x02")


def compute_root(items: Sequence[bytes]) -> bytes:
    """The root of a list of byte strings (BLAKE2b-256)."""
    if not items:
        return EMPTY_ROOT
    level = [blake2b_256(_LEAF, item) for item in items]
    while len(level) > 1:
        paired = [blake2b_256(_INNER, left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[2 * len(paired) :]
    return level[0]
