"""Light verification: what it finds, and what it leaves to the full one."""

import sqlite3

import msgspec
import pytest
from msgspec.structs import replace

from ledger.blocks import sign_header
from ledger.entries import FinalitySet
from ledger.errors import DamagedLedger, StoreError
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.store.light import verify_light
from ledger.store.mark import mark_path
from ledger.store.pruning import prune
from ledger.store.replay import verify
from ledger.trust.finality import encode_vote, sign_vote


@pytest.fixture
def grown(network):
    for _ in range(3):
        network.run_epoch()
    network.seal("open")
    network.chain.close()
    return network


def change(network, statement, *values):
    """Write into the database behind the ledger's back, its mark included."""
    with sqlite3.connect(network.chain.path) as database:
        database.execute(statement, values)
    database.close()
    mark_path(network.chain.path).unlink(missing_ok=True)


def refused(network, height):
    with pytest.raises(DamagedLedger) as damage:
        verify_light(network.chain.path)
    assert damage.value.height == height


def header(network, height):
    with Chain.open(network.chain.path) as chain:
        return chain.block(height).header


def put_header(network, forged, keypair=None):
    signature = sign_header(forged, keypair or network.keeper, network.genesis.hash)
    change(
        network,
        "UPDATE blocks SET hash = ?, header = ?, signature = ? WHERE height = ?",
        forged.hash,
        msgspec.msgpack.encode(forged),
        signature,
        forged.height,
    )


def test_it_agrees_with_the_full_one(grown):
    light, full = verify_light(grown.chain.path), verify(grown.chain.path)
    assert (light.height, light.final_height, light.epoch, light.votes) == (10, 9, 4, 36)
    for field in ("network", "height", "epoch", "block_hash", "state_root", "final_height", "votes"):
        assert getattr(light, field) == getattr(full, field)


def test_it_needs_no_bodies(grown):
    before = verify_light(grown.chain.path)
    with Chain.open(grown.chain.path, write=True) as chain:
        assert prune(chain, 1) > 0
    assert verify_light(grown.chain.path) == before
    change(grown, "DELETE FROM bodies")
    assert verify_light(grown.chain.path) == before


@pytest.mark.parametrize(
    "fields", [{"term": 1}, {"state_root": bytes(32)}, {"parent": bytes(32)}, {"epoch": 1}, {"kind": "open"}], ids=str
)
def test_a_header_that_was_replaced_is_found(grown, fields):
    put_header(grown, replace(header(grown, 5), **fields))
    refused(grown, 5)


def test_a_last_header_of_another_order_or_key_is_found(grown):
    head = header(grown, 10)
    for forged in (replace(head, epoch=3), replace(head, kind="close"), replace(head, parent=bytes(32))):
        put_header(grown, forged)
        refused(grown, 10)
    put_header(grown, head, Keypair.generate())
    refused(grown, 10)
    put_header(grown, head)
    assert verify_light(grown.chain.path).height == 10


def test_votes_that_do_not_count_are_found_and_missing_ones_make_nothing_final(grown):
    stranger = sign_vote(header(grown, 10), Keypair.generate(), grown.genesis.hash)
    change(grown, "INSERT INTO votes VALUES (10, ?, ?)", stranger.hotkey, encode_vote(stranger))
    refused(grown, 10)
    change(grown, "DELETE FROM votes WHERE height >= 9")
    assert verify_light(grown.chain.path).final_height == 8
    other = sign_vote(header(grown, 8), grown.hotkeys[0], grown.genesis.hash)
    change(grown, "INSERT INTO votes VALUES (9, ?, ?)", other.hotkey, encode_vote(replace(other, height=9)))
    refused(grown, 9)


def test_a_finality_set_counts_only_under_its_state_root(grown):
    with Chain.open(grown.chain.path) as chain:
        members = chain.finality_set(9)
    richer = (replace(members[0], stake_rao=members[0].stake_rao * 2), *members[1:])
    change(
        grown, "UPDATE finality SET members = ? WHERE epoch = 3", msgspec.msgpack.encode(FinalitySet(members=richer))
    )
    refused(grown, 6)


def test_what_only_executing_shows_is_left_to_the_full_one(grown):
    change(grown, "UPDATE state SET value = x'80' WHERE key = (SELECT min(key) FROM state)")
    assert verify_light(grown.chain.path).height == 10
    with pytest.raises(DamagedLedger):
        verify(grown.chain.path)


def test_a_place_without_a_ledger_is_said(tmp_path):
    with pytest.raises(StoreError, match="no ledger here"):
        verify_light(tmp_path / "nothing.db")
