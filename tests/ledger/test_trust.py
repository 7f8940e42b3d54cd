"""Merkle roots and the state's trie: equal content gives equal roots, any difference another one."""

import random

from hypothesis import given
from hypothesis import strategies as st

from ledger.trust.merkle import EMPTY_ROOT, compute_root
from ledger.trust.trie import Trie
from ledger.units import blake2b_256

items = st.lists(st.binary(max_size=8), max_size=12)
entries = st.dictionaries(st.binary(max_size=4), st.binary(max_size=4), max_size=40)


@given(items, items)
def test_lists_share_a_root_only_if_they_are_equal(first, second):
    assert (compute_root(first) == compute_root(second)) == (first == second)


def test_roots_are_those_of_the_tree():
    leaf = [blake2b_256(b"\0", item) for item in (b"a", b"b", b"c")]
    assert compute_root([]) == EMPTY_ROOT
    assert compute_root([b"a"]) == leaf[0]
    assert compute_root([b"a", b"b", b"c"]) == blake2b_256(b"\1", blake2b_256(b"\1", leaf[0], leaf[1]), leaf[2])
    assert compute_root([leaf[0] + leaf[1]]) != compute_root([b"a", b"b"])


def _build(pairs) -> Trie:
    trie = Trie()
    for key, value in pairs:
        trie = trie.put(key, value)
    return trie


def _obvious_root(pairs: dict[bytes, bytes]) -> bytes:
    """The same root by splitting the sorted leaves at each bit that tells them apart."""

    def node(leaves: list[tuple[int, bytes]]) -> bytes:
        if len(leaves) == 1:
            path, value = leaves[0]
            return blake2b_256(b"\0", path.to_bytes(32, "big"), blake2b_256(value))
        bit = next(bit for bit in range(256) if len({path >> (255 - bit) & 1 for path, _ in leaves}) == 2)
        sides = [[leaf for leaf in leaves if leaf[0] >> (255 - bit) & 1 == side] for side in (0, 1)]
        return blake2b_256(b"\1", bit.to_bytes(2, "big"), node(sides[0]), node(sides[1]))

    leaves = [(int.from_bytes(blake2b_256(key), "big"), value) for key, value in pairs.items()]
    return node(leaves) if leaves else blake2b_256(b"\2")


@given(entries, st.randoms(use_true_random=False))
def test_the_trie_has_the_obvious_root_in_whatever_order_it_is_built(pairs, order):
    shuffled = list(pairs.items())
    order.shuffle(shuffled)
    assert _build(shuffled).root == _obvious_root(pairs)


@given(entries, entries)
def test_deleting_and_overwriting_leave_no_trace(kept, extra):
    trie = _build(extra.items())
    for key, value in kept.items():
        trie = trie.put(key, value)
    before = trie.root
    shorter = trie
    for key in extra.keys() - kept.keys():
        shorter = shorter.delete(key)
    assert shorter.root == _obvious_root(kept)
    assert shorter.delete(b"never there").root == shorter.root
    assert trie.root == before


def test_an_update_hashes_a_logarithm_of_what_exists(monkeypatch):
    trie = _build((str(index).encode(), b"x") for index in range(4096))
    assert trie.root
    calls = []

    def counted(*parts: bytes) -> bytes:
        calls.append(parts)
        return blake2b_256(*parts)

    monkeypatch.setattr("ledger.trust.trie.blake2b_256", counted)
    key = str(random.Random(1).randrange(4096)).encode()
    assert trie.put(key, b"y").root != trie.root
    assert len(calls) < 40
