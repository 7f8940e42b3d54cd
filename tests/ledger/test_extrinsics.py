"""Extrinsics: one encoding for one value, and signatures that hold only where they were made."""

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import ledger
from ledger.blocks import Header
from ledger.errors import REFUSALS, Refusal
from ledger.extrinsics import (
    AddStake,
    Checkpoint,
    CommitWeights,
    Contribute,
    Equivocation,
    Member,
    Publish,
    Register,
    RemoveStake,
    RevealWeights,
    RoundVote,
    Serve,
    SetIdentity,
    SetTake,
    SignedHeader,
    SwapHotkey,
    Transfer,
    TwoHeaders,
    TwoVotes,
    UpdateValue,
    Withdraw,
    check_signature,
    commitment_hash,
    compute_seed,
    decode_extrinsic,
    encode_extrinsic,
    seed_message,
    sign_extrinsic,
)
from ledger.keys import Keypair
from ledger.trust.finality import Vote
from ledger.units import CAP_RAO, NANO_BITS_MAX

KEYPAIR = Keypair.from_seed(bytes(range(32)))
GENESIS_HASH = bytes(range(32, 64))

hashes = st.binary(min_size=32, max_size=32)
amounts = st.integers(0, CAP_RAO)
u16s = st.lists(st.integers(0, 65535), max_size=5).map(tuple)
names = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
members = st.builds(Member, uid=st.integers(0, 65535), manifest=hashes, weights=u16s)
signatures = st.binary(min_size=64, max_size=64)
texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)
heights = st.integers(0, 2**63 - 1)
votes = st.builds(Vote, height=heights, block_hash=hashes, term=heights, hotkey=hashes, signature=signatures)
headers = st.builds(
    Header,
    height=heights,
    parent=hashes,
    term=heights,
    epoch=heights,
    kind=st.sampled_from(("genesis", "open", "commit", "close")),
    extrinsics_root=hashes,
    receipts_root=hashes,
    state_root=hashes,
    keeper=hashes,
)
signed_headers = st.builds(SignedHeader, header=headers, signature=signatures)
proofs = st.one_of(
    st.builds(TwoVotes, first=votes, second=votes), st.builds(TwoHeaders, first=signed_headers, second=signed_headers)
)
update_values = st.lists(
    st.builds(UpdateValue, uid=st.integers(0, 65535), value=st.integers(-NANO_BITS_MAX, NANO_BITS_MAX)), max_size=3
).map(tuple)
round_votes = st.builds(
    RoundVote, cohort=hashes, parameters=hashes, manifest=hashes, values=update_values, applied=update_values
)
calls = st.one_of(
    st.just(Withdraw()),
    st.builds(Checkpoint, parameters=hashes, manifest=hashes),
    st.builds(Contribute, cohort=hashes, epoch=heights, parameters=hashes, payload=hashes),
    st.builds(Serve, endpoint=st.sampled_from((None, "http://a", "https://peer.example:80/" + "x" * 232))),
    st.builds(SetIdentity, hotkey=hashes, name=names, url=texts, description=texts),
    st.builds(SetTake, hotkey=hashes, take=st.integers(0, 65535)),
    st.builds(SwapHotkey, old=hashes, new=hashes),
    st.builds(Equivocation, proof=proofs),
    st.builds(Register, hotkey=hashes, name=names, max_price_rao=amounts),
    st.builds(Publish, manifest=hashes),
    st.builds(Transfer, to=hashes, amount_rao=amounts),
    st.builds(AddStake, hotkey=hashes, amount_rao=amounts),
    st.builds(RemoveStake, hotkey=hashes, amount_rao=amounts),
    st.builds(CommitWeights, epoch=st.integers(0, 2**40), commitment=hashes),
    st.builds(
        RevealWeights,
        epoch=st.integers(0, 2**40),
        uids=u16s,
        values=u16s,
        evidence=hashes,
        salt=hashes,
        seed_signature=signatures,
        strata=st.lists(names, max_size=3).map(tuple),
        members=st.lists(members, max_size=3).map(tuple),
        rounds=st.lists(round_votes, max_size=2).map(tuple),
    ),
)


def signed(call, **fields):
    settings = {"genesis_hash": GENESIS_HASH, "nonce": 1, "valid_until": 100} | fields
    return sign_extrinsic(call, KEYPAIR, **settings)


@given(calls, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_encoding_round_trips_and_the_signature_verifies(call, nonce, valid_until):
    extrinsic = signed(call, nonce=nonce, valid_until=valid_until)
    data = encode_extrinsic(extrinsic)
    assert decode_extrinsic(data) == extrinsic
    assert encode_extrinsic(decode_extrinsic(data)) == data
    check_signature(decode_extrinsic(data), GENESIS_HASH)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_by_a_code(data):
    with pytest.raises(Refusal) as refusal:
        decode_extrinsic(data)
    assert refusal.value.code in ("undecodable", "not_canonical")


@given(calls, st.data())
def test_no_changed_byte_passes(call, data):
    encoded = encode_extrinsic(signed(call))
    position = data.draw(st.integers(0, len(encoded) - 1))
    changed = bytearray(encoded)
    changed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Refusal):
        check_signature(decode_extrinsic(bytes(changed)), GENESIS_HASH)


def test_other_encodings_of_the_same_value_are_refused():
    extrinsic = signed(Transfer(to=bytes(32), amount_rao=5))
    fields = msgspec.msgpack.decode(encode_extrinsic(extrinsic))
    reordered = msgspec.msgpack.encode(dict(reversed(fields.items())))
    longer_number = encode_extrinsic(extrinsic).replace(b"\xa5nonce\x01", b"\xa5nonce\xcc\x01")
    repeated = b"\x86" + encode_extrinsic(extrinsic)[1:] + b"\xa5nonce\x01"
    for data in (reordered, longer_number, repeated):
        with pytest.raises(Refusal) as refusal:
            decode_extrinsic(data)
        assert refusal.value.code == "not_canonical"
    with pytest.raises(Refusal, match="undecodable"):
        decode_extrinsic(encode_extrinsic(extrinsic) + b"\0")


def test_the_size_is_bounded():
    data = encode_extrinsic(signed(Publish(manifest=bytes(32))))
    assert decode_extrinsic(data, max_bytes=len(data))
    with pytest.raises(Refusal, match="too_large"):
        decode_extrinsic(data, max_bytes=len(data) - 1)


def test_a_signature_holds_for_nothing_else():
    extrinsic = signed(Transfer(to=bytes(32), amount_rao=5))
    check_signature(extrinsic, GENESIS_HASH)
    other = Keypair.generate()
    for changed in (
        replace(extrinsic, nonce=2),
        replace(extrinsic, valid_until=101),
        replace(extrinsic, signer=other.public),
        replace(extrinsic, call=Transfer(to=bytes(32), amount_rao=6)),
        replace(extrinsic, call=AddStake(hotkey=bytes(32), amount_rao=5)),
        replace(extrinsic, signature=bytes(64)),
    ):
        with pytest.raises(Refusal, match="bad_signature"):
            check_signature(changed, GENESIS_HASH)
    with pytest.raises(Refusal, match="bad_signature"):
        check_signature(extrinsic, bytes(32))
    assert extrinsic.hash != replace(extrinsic, nonce=2).hash


def _reveal_of_value(value):
    said = (UpdateValue(uid=1, value=value),)
    vote = RoundVote(cohort=bytes(32), parameters=bytes(32), manifest=bytes(32), values=said, applied=())
    return RevealWeights(
        epoch=1,
        uids=(),
        values=(),
        evidence=bytes(32),
        salt=bytes(32),
        seed_signature=bytes(64),
        strata=("code",),
        members=(),
        rounds=(vote,),
    )


@pytest.mark.parametrize(
    "call",
    [
        Publish(manifest=b"short"),
        Transfer(to=bytes(32), amount_rao=-1),
        Transfer(to=bytes(32), amount_rao=CAP_RAO + 1),
        Transfer(to=bytes(32), amount_rao=2**70),
        Contribute(cohort=b"short", epoch=1, parameters=bytes(32), payload=bytes(32)),
        Contribute(cohort=bytes(32), epoch=-1, parameters=bytes(32), payload=bytes(32)),
        _reveal_of_value(NANO_BITS_MAX + 1),
        _reveal_of_value(-NANO_BITS_MAX - 1),
        Register(hotkey=bytes(32), name="", max_price_rao=1),
        Register(hotkey=bytes(32), name="x" * 65, max_price_rao=1),
        Register(hotkey=bytes(32), name="\x1b[2J", max_price_rao=1),
        Register(hotkey=bytes(32), name="line\n", max_price_rao=1),
        Serve(endpoint=""),
        Serve(endpoint="ftp://peer.example"),
        Serve(endpoint="http://peer.example/ x"),
        Serve(endpoint="http://" + "x" * 250),
        SetTake(hotkey=bytes(32), take=65536),
        SetIdentity(hotkey=bytes(32), name="", url="", description=""),
        SetIdentity(hotkey=bytes(32), name="a", url="", description="x" * 1025),
        SetIdentity(hotkey=bytes(32), name="a", url="\x9b2J", description=""),
    ],
)
def test_fields_out_of_bounds_are_not_signed(call):
    with pytest.raises(Refusal, match="invalid_call"):
        signed(call)


def test_a_commitment_binds_every_part_and_hides_by_its_salt():
    content = {
        "genesis_hash": GENESIS_HASH,
        "epoch": 3,
        "hotkey": KEYPAIR.public,
        "uids": (1, 2),
        "values": (3, 4),
        "evidence": bytes(32),
        "strata": ("code",),
        "members": (Member(uid=1, manifest=bytes(32), weights=(7,)),),
        "salt": bytes(32),
        "rounds": (),
    }
    changes = {
        "genesis_hash": bytes(32),
        "epoch": 4,
        "hotkey": bytes(32),
        "uids": (1, 3),
        "values": (3, 5),
        "evidence": b"\1" * 32,
        "strata": ("text",),
        "members": (),
        "salt": b"\1" * 32,
        "rounds": _reveal_of_value(1).rounds,
    }
    hashed = {commitment_hash(**(content | {field: value})) for field, value in changes.items()}
    assert len(hashed | {commitment_hash(**content)}) == len(changes) + 1


def test_seeds_differ_by_epoch_network_and_previous_close():
    messages = {
        seed_message(a, epoch, b)
        for a in (bytes(32), GENESIS_HASH)
        for b in (bytes(32), GENESIS_HASH)
        for epoch in (1, 2)
    }
    assert len(messages) == 8
    assert len(compute_seed(KEYPAIR.sign(b"a"))) == 32


def test_every_refusal_says_what_is_wrong_and_what_to_do():
    assert list(REFUSALS) == sorted(REFUSALS)
    for sentence in REFUSALS.values():
        wrong, to_do = sentence.split("; ")
        assert wrong
        assert to_do.endswith(".")


def test_codes_are_those_that_are_listed_and_no_others():
    sources = "".join(path.read_text() for path in Path(ledger.__file__).parent.rglob("*.py") if path.stem != "errors")
    raised = set(re.findall(r'Refusal\(\s*"(\w+)"', sources))
    assert raised == set(REFUSALS)
    with pytest.raises(ValueError, match="not listed"):
        Refusal("made_up", "no")
