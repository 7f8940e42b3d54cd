"""Which versions an epoch asks: read off a state, each once."""

from collections.abc import Mapping, Sequence

import pytest
from msgspec.structs import replace

from actors.rows import Row, rows_to_ask
from ledger.entries import Collective, CollectiveMember, Neuron
from ledger.epoch.fixed import ONE_Q31
from ledger.execution import create_state
from ledger.extrinsics import BASELINE_MANIFEST, BASELINE_UID
from ledger.genesis import Genesis
from ledger.state import State, uid_key

EPOCH = 4
ENDPOINT = "https://peer.example"
A, B, C, D = (bytes([letter] * 32) for letter in b"ABCD")


def make_state(present: Mapping[int, tuple[bytes | None, int]], members: Sequence[tuple[int, bytes]] = ()) -> State:
    """A state in the open phase of EPOCH. present: uid → version and the epoch that values it, uids from 0 on."""
    genesis = Genesis(network="rows", keeper=bytes([1] * 32), balances=(), stakes=(), neurons=())
    state = create_state(genesis)
    for uid, (manifest, published_epoch) in present.items():
        key = bytes([uid + 1] * 32)
        neuron = Neuron(
            uid=uid,
            name=f"peer {uid}",
            hotkey=key,
            coldkey=key,
            registered_at=0,
            registered_epoch=0,
            last_update=0,
            revealed_epoch=-1,
            permit=False,
            manifest=manifest,
            published_epoch=published_epoch,
        )
        state.neuron_rows.put(uid_key(uid), neuron)
    everybody = [*members, (BASELINE_UID, BASELINE_MANIFEST)]
    state.collectives.put(
        b"",
        Collective(
            strata=("all",),
            members=tuple(
                CollectiveMember(uid=uid, manifest=manifest, weights=(ONE_Q31 // len(everybody),))
                for uid, manifest in everybody
            ),
        ),
    )
    state.scalars.put(b"", replace(state.globals, epoch=EPOCH, phase="open", neuron_count=len(present)))
    return state


def test_a_network_without_versions_asks_nothing():
    assert rows_to_ask(make_state({0: (None, 0)}), "segments") == ()


def test_members_come_first_then_the_new_then_what_is_only_measured():
    state = make_state({0: (A, 2), 1: (B, EPOCH), 2: (C, 1), 3: (None, 0)}, members=[(2, C), (1, D)])
    assert rows_to_ask(state, "segments") == (
        Row(C, uid=2, member=True, new=False, present=True),
        Row(D, uid=1, member=True, new=False, present=False),
        Row(B, uid=1, member=False, new=True, present=True),
        Row(A, uid=0, member=False, new=False, present=True),
    )


def test_new_versions_stand_in_order_of_publication():
    state = make_state({0: (A, EPOCH), 1: (B, EPOCH), 2: (C, EPOCH)})
    for uid, publication in ((0, 9), (1, 7), (2, 8)):
        state.neuron_rows.put(uid_key(uid), replace(state.neuron(uid), publication=publication))
    assert [row.uid for row in rows_to_ask(state, "segments")] == [1, 2, 0]


@pytest.mark.parametrize("published_epoch", [EPOCH, 1])
def test_a_members_version_published_again_is_not_new(published_epoch):
    state = make_state({0: (None, 0), 1: (A, published_epoch)}, members=[(0, A)])
    (row,) = rows_to_ask(state, "segments")
    assert row == Row(A, uid=0, member=True, new=False, present=False)


def test_a_member_whose_uid_another_neuron_took_over_is_still_asked():
    state = make_state({0: (B, EPOCH)}, members=[(0, A), (7, C)])
    assert rows_to_ask(state, "segments") == (
        Row(A, uid=0, member=True, new=False, present=False),
        Row(C, uid=7, member=True, new=False, present=False),
        Row(B, uid=0, member=False, new=True, present=True),
    )


def served(state: State, uid: int, registered_at: int) -> State:
    """The neuron answers from an endpoint."""
    neuron = state.neuron(uid)
    state.neuron_rows.put(uid_key(uid), replace(neuron, registered_at=registered_at, endpoint=ENDPOINT))
    return state


def test_remote_peers_come_last_in_order_of_registration():
    state = make_state({0: (None, 0), 1: (None, 0), 2: (A, 2), 3: (None, 0), 4: (None, 0)}, members=[(9, D)])
    for uid, registered_at in ((0, 8), (1, 5), (3, 5)):
        served(state, uid, registered_at)
    assert rows_to_ask(state, "next_byte") == (
        Row(D, uid=9, member=True, new=False, present=False),
        Row(A, uid=2, member=False, new=False, present=True),
        *(Row(bytes([uid + 1] * 32), uid=uid, member=False, new=False, present=True, remote=True) for uid in (1, 3, 0)),
    )


def test_who_sees_the_text_is_no_remote_peer():
    state = served(make_state({0: (None, 0)}), 0, 1)
    assert rows_to_ask(state, "segments") == ()


def test_who_has_a_version_is_asked_for_it_whatever_its_endpoint():
    state = served(make_state({0: (A, 2)}), 0, 1)
    assert rows_to_ask(state, "next_byte") == (Row(A, uid=0, member=False, new=False, present=True),)


def test_a_version_named_like_anothers_hotkey_does_not_stand_before_it():
    state = served(make_state({0: (None, 0), 1: (bytes([1] * 32), EPOCH)}), 0, 1)
    (row,) = rows_to_ask(state, "next_byte")
    assert (row.uid, row.remote) == (0, True)
