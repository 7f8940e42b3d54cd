"""Merkle roots and the state's trie: equal content gives equal roots, any difference another one."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.trust.merkle import compute_root, compute_way_root, find_way
from ledger.trust.trie import Found, Trie, compute_found_root, hash_path
from ledger.units import blake2b_256

items = st.lists(st.binary(max_size=8), max_size=12)
entries = st.dictionaries(st.binary(max_size=4), st.binary(max_size=4), max_size=40)


@given(items, items)
def test_lists_share_a_root_only_if_they_are_equal(first, second):
    assert (compute_root(first) == compute_root(second)) == (first == second)


def test_roots_are_those_of_the_tree():
    leaf = [blake2b_256(b"\0", item) for item in (b"a", b"b", b"c")]
    assert compute_root([]) == blake2b_256(b"\2", bytes(8))
    assert compute_root([b"a"]) == blake2b_256(b"\2", bytes(7), b"\1", leaf[0])
    top = blake2b_256(b"\1", blake2b_256(b"\1", leaf[0], leaf[1]), leaf[2])
    assert compute_root([b"a", b"b", b"c"]) == blake2b_256(b"\2", bytes(7), b"\3", top)
    assert compute_root([leaf[0] + leaf[1]]) != compute_root([b"a", b"b"])


@given(items.filter(bool), st.data())
def test_the_way_to_an_item_proves_its_place_in_the_list(listed, data):
    position = data.draw(st.integers(0, len(listed) - 1))
    way, root = find_way(listed, position), compute_root(listed)
    assert compute_way_root(listed[position], position, len(listed), way) == root
    assert compute_way_root(b"another item", position, len(listed), way) != root
    for wrong in ((len(listed), len(listed), way), (position, len(listed), (*way, bytes(32))), (-1, len(listed), way)):
        with pytest.raises(ValueError, match="place"):
            compute_way_root(listed[position], *wrong)
    for other in set(range(len(listed))) - {position}:
        try:
            moved = compute_way_root(listed[position], other, len(listed), way)
        except ValueError:
            continue
        assert moved != root or listed[other] == listed[position]
    for count in range(position + 1, 2 * len(listed) + 2):
        try:
            other_list = compute_way_root(listed[position], position, count, way)
        except ValueError:
            continue
        assert (other_list == root) == (count == len(listed))


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


changes = st.lists(st.dictionaries(st.binary(max_size=1), st.none() | st.binary(max_size=4), max_size=12), max_size=6)


@given(entries, st.randoms(use_true_random=False))
def test_the_trie_has_the_obvious_root_in_whatever_order_it_is_built(pairs, order):
    shuffled = list(pairs.items())
    order.shuffle(shuffled)
    trie = Trie()
    for entry in shuffled:
        trie = trie.update([entry])
    assert trie.root == Trie().update(shuffled).root == _obvious_root(pairs)


@given(entries, changes)
def test_updates_leave_no_trace_of_what_was_there(pairs, updates):
    trie, expected = Trie().update(pairs.items()), dict(pairs)
    for update in updates:
        before, old_root = trie, trie.root
        trie = trie.update(update.items())
        expected = {key: value for key, value in (expected | update).items() if value is not None}
        assert trie.root == _obvious_root(expected)
        assert before.root == old_root
        for key in update:
            assert (trie.find(key) is None) == (not expected)


@given(entries, st.binary(max_size=4))
def test_the_way_to_a_key_proves_that_it_is_there_or_not(pairs, asked):
    trie = Trie().update(pairs.items())
    for key in (*pairs, asked):
        found = trie.find(key)
        if found is None:
            assert not pairs
            continue
        assert compute_found_root(key, found) == trie.root
        assert (found.path == hash_path(key)) == (key in pairs)
        if key in pairs:
            assert found.value_hash == blake2b_256(pairs[key])


def _refused_or_another_root(key: bytes, found: Found, root: bytes) -> bool:
    try:
        return compute_found_root(key, found) != root
    except ValueError:
        return True


def test_no_altered_way_proves_anything():
    trie = Trie().update((str(index).encode(), b"value") for index in range(64))
    key, absent = b"7", b"absent"
    found, beside = trie.find(key), trie.find(absent)
    assert _refused_or_another_root(key, beside, trie.root)
    assert _refused_or_another_root(absent, found, trie.root)
    other = [step for step in found.steps if step != found.steps[0]]
    altered = [
        replace(found, value_hash=bytes(32)),
        replace(found, path=bytes(32)),
        replace(found, steps=tuple(other)),
        replace(found, steps=(*found.steps, found.steps[-1])),
        replace(found, steps=tuple(reversed(found.steps))),
        replace(found, steps=(found.steps[0]._replace(bit=300), *other)),
        replace(found, steps=(found.steps[0]._replace(bit=-1), *other)),
        *(
            replace(found, steps=(*found.steps[:at], step._replace(sibling=bytes(32)), *found.steps[at + 1 :]))
            for at, step in enumerate(found.steps)
        ),
    ]
    assert all(_refused_or_another_root(key, way, trie.root) for way in altered)


def test_an_update_hashes_a_logarithm_of_what_exists(monkeypatch):
    trie = Trie().update((str(index).encode(), b"x") for index in range(4096))
    calls = []

    def counted(*parts: bytes) -> bytes:
        calls.append(parts)
        return blake2b_256(*parts)

    monkeypatch.setattr("ledger.trust.trie.blake2b_256", counted)
    key = str(random.Random(1).randrange(4096)).encode()
    assert trie.update([(key, b"y")]).root != trie.root
    assert len(calls) < 40
