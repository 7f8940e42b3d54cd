"""Extrinsics: what people and validators ask of the ledger, signed, in one canonical encoding.

Invariants: one value has exactly one encoding (MessagePack maps in field order), and bytes that decode but re-encode
differently are refused; the signature covers a domain tag, the genesis hash, the signer, its nonce, the last valid
height and the call, so that it can't be replayed, moved or altered.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ledger.blocks import Header
from ledger.errors import Refusal
from ledger.keys import COMMITMENT_DOMAIN, EXTRINSIC_DOMAIN, SEED_DOMAIN, Keypair, verify
from ledger.trust.finality import Vote
from ledger.units import U16, Hash32, NanoBits, Natural, PublicKey, Rao, Signature64, Uid, blake2b_256

BASELINE_UID = 65535
BASELINE_MANIFEST = bytes(32)
"""The order-0 baseline p_0 is the collective's member with this uid and manifest; no neuron has either."""

_PRINTED = r"^[^\x00-\x1f\x7f-\x9f]*\Z"
"""No control characters, which could rewrite a terminal that shows the text."""
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=_PRINTED)]
StratumName = Annotated[str, Meta(min_length=1, max_length=256, pattern=_PRINTED)]
Endpoint = Annotated[str, Meta(max_length=256, pattern=r"^https?://[^\x00-\x20\x7f-\x9f]+\Z")]
Link = Annotated[str, Meta(max_length=256, pattern=_PRINTED)]
Description = Annotated[str, Meta(max_length=1024, pattern=_PRINTED)]


class Member(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version in a validator's proposal for the next collective, with one weight per stratum; only their ratios
    within a stratum count.
    """

    uid: Uid
    manifest: Hash32
    weights: tuple[U16, ...]


class Register(Struct, frozen=True, kw_only=True, tag="register", forbid_unknown_fields=True):
    """Take a uid for a hotkey; signed by the coldkey, which pays the price of the moment, at most `max_price_rao`, and
    has it burned.
    """

    hotkey: PublicKey
    name: Name
    max_price_rao: Rao


class Publish(Struct, frozen=True, kw_only=True, tag="publish", forbid_unknown_fields=True):
    """Publish a version of the neuron's model by the hash of its manifest; signed by the hotkey.

    The last one before the open block counts.
    """

    manifest: Hash32


class Withdraw(Struct, frozen=True, kw_only=True, tag="withdraw", forbid_unknown_fields=True):
    """Take the neuron's version back: it is asked and paid no more; signed by the hotkey.

    What the collective holds of it stays there.
    """


class Checkpoint(Struct, frozen=True, kw_only=True, tag="checkpoint", forbid_unknown_fields=True):
    """Name the parameters that a training step led to, by their hash, and the manifest of the files that hold them;
    signed by the hotkey.
    """

    parameters: Hash32
    manifest: Hash32


class Contribute(Struct, frozen=True, kw_only=True, tag="contribute", forbid_unknown_fields=True):
    """Bind a neuron to its update of a cohort's round before anybody can read it; signed by the hotkey.

    Attributes:
        cohort: name of the cohort. epoch: of the open block that this is for.
        parameters: hash of the parameters that the update begins at. payload: hash of the update.
    """

    cohort: Hash32
    epoch: Natural
    parameters: Hash32
    payload: Hash32


class Serve(Struct, frozen=True, kw_only=True, tag="serve", forbid_unknown_fields=True):
    """Say where the neuron answers (an HTTP or HTTPS address), or with None that it does not; signed by the hotkey."""

    endpoint: Endpoint | None


class SetIdentity(Struct, frozen=True, kw_only=True, tag="set_identity", forbid_unknown_fields=True):
    """Say who is behind a hotkey, in the owner's words that nobody checks; signed by its coldkey."""

    hotkey: PublicKey
    name: Name
    url: Link
    description: Description


class SetTake(Struct, frozen=True, kw_only=True, tag="set_take", forbid_unknown_fields=True):
    """Choose what a hotkey keeps of its dividends before its stakers share the rest, in parts of 65535; signed by its
    coldkey.
    """

    hotkey: PublicKey
    take: U16


class SwapHotkey(Struct, frozen=True, kw_only=True, tag="swap_hotkey", forbid_unknown_fields=True):
    """Let a fresh hotkey take the place of another, with all that it has; signed by their coldkey."""

    old: PublicKey
    new: PublicKey


class Transfer(Struct, frozen=True, kw_only=True, tag="transfer", forbid_unknown_fields=True):
    """Move free balance from the signer to another account."""

    to: PublicKey
    amount_rao: Rao


class AddStake(Struct, frozen=True, kw_only=True, tag="add_stake", forbid_unknown_fields=True):
    """Buy shares of a hotkey's pool for at most the amount, signed by the coldkey that pays."""

    hotkey: PublicKey
    amount_rao: Rao


class RemoveStake(Struct, frozen=True, kw_only=True, tag="remove_stake", forbid_unknown_fields=True):
    """Sell as many of the signer's shares of a hotkey's pool as pay at least the amount."""

    hotkey: PublicKey
    amount_rao: Rao


class CommitWeights(Struct, frozen=True, kw_only=True, tag="commit_weights", forbid_unknown_fields=True):
    """Bind a validator's hotkey to its vote of this epoch without showing it."""

    epoch: Natural
    commitment: Hash32


class UpdateValue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one contributor's update is worth to a validator, 10^-9 bits per byte."""

    uid: Uid
    value: NanoBits


class RoundVote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a validator says of a cohort's round.

    Attributes:
        parameters: hash of the parameters θ that the round begins at. manifest: of the version that holds them.
        values: of this epoch's contributions, along the way from θ to the joint step of all of them.
        applied: of those that the last close block accepted, along the way that led to θ.
    """

    cohort: Hash32
    parameters: Hash32
    manifest: Hash32
    values: tuple[UpdateValue, ...]
    applied: tuple[UpdateValue, ...]


class RevealWeights(Struct, frozen=True, kw_only=True, tag="reveal_weights", forbid_unknown_fields=True):
    """Show the vote committed to: a sparse weight row, the hash of its evidence, the seed's signature, the collective
    proposed, and what it says of the rounds of cohorts.
    """

    epoch: Natural
    uids: tuple[Uid, ...]
    values: tuple[U16, ...]
    evidence: Hash32
    salt: Hash32
    seed_signature: Signature64
    strata: tuple[StratumName, ...]
    members: tuple[Member, ...]
    rounds: tuple[RoundVote, ...] = ()
    """Ascending by cohort."""


class SignedHeader(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A block's header as its keeper signed it."""

    header: Header
    signature: Signature64


class TwoHeaders(Struct, frozen=True, kw_only=True, tag="headers", forbid_unknown_fields=True):
    """Two different blocks of one height and term, signed by one keeper."""

    first: SignedHeader
    second: SignedHeader


class TwoVotes(Struct, frozen=True, kw_only=True, tag="votes", forbid_unknown_fields=True):
    """Votes of one hotkey for two different blocks of one height and term."""

    first: Vote
    second: Vote


class Equivocation(Struct, frozen=True, kw_only=True, tag="equivocation", forbid_unknown_fields=True):
    """Prove that a key contradicted itself; anyone may sign it, the proof speaks for itself."""

    proof: TwoHeaders | TwoVotes


Call = (
    Register
    | Publish
    | Withdraw
    | Checkpoint
    | Contribute
    | Serve
    | SetIdentity
    | SetTake
    | SwapHotkey
    | Transfer
    | AddStake
    | RemoveStake
    | CommitWeights
    | RevealWeights
    | Equivocation
)


class Extrinsic(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call with who signs it, the signer's last nonce plus one, and the last height at which it may enter a block."""

    call: Call
    signer: PublicKey
    nonce: Natural
    valid_until: Natural
    signature: Signature64

    @property
    def hash(self) -> bytes:
        """BLAKE2b-256 of the canonical encoding."""
        return blake2b_256(encode_extrinsic(self))


_DECODER = msgspec.msgpack.Decoder(Extrinsic)
_CALL_DECODER: msgspec.msgpack.Decoder[Call] = msgspec.msgpack.Decoder(Call)
_ENCODER = msgspec.msgpack.Encoder()


def sign_extrinsic(call: Call, keypair: Keypair, *, genesis_hash: bytes, nonce: int, valid_until: int) -> Extrinsic:
    """Sign a call; Refusal `invalid_call` if one of its fields is out of bounds."""
    try:
        _CALL_DECODER.decode(_ENCODER.encode(call))
    except (msgspec.DecodeError, OverflowError) as error:
        raise Refusal("invalid_call", f"{type(call).__name__}: {error}") from None
    message = _signed_message(call, keypair.public, genesis_hash, nonce, valid_until)
    signature = keypair.sign(message)
    return Extrinsic(call=call, signer=keypair.public, nonce=nonce, valid_until=valid_until, signature=signature)


def check_signature(extrinsic: Extrinsic, genesis_hash: bytes) -> None:
    """Refusal `bad_signature` unless the signer signed exactly this for the network of this genesis."""
    message = _signed_message(extrinsic.call, extrinsic.signer, genesis_hash, extrinsic.nonce, extrinsic.valid_until)
    if not verify(extrinsic.signer, message, extrinsic.signature):
        raise Refusal("bad_signature", "the signature does not verify for this signer, call, nonce, height and network")


def encode_extrinsic(extrinsic: Extrinsic) -> bytes:
    """The canonical encoding."""
    return _ENCODER.encode(extrinsic)


def decode_extrinsic(data: bytes, *, max_bytes: int | None = None) -> Extrinsic:
    """The extrinsic in these bytes;

    Refusal `too_large`, `undecodable` or `not_canonical`. The signature is not checked here.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise Refusal("too_large", f"the extrinsic has {len(data)} bytes, the network allows {max_bytes}")
    try:
        extrinsic = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("undecodable", f"these {len(data)} bytes are not an extrinsic: {error}") from None
    if _ENCODER.encode(extrinsic) != data:
        raise Refusal("not_canonical", "the extrinsic's bytes differ from its canonical encoding")
    return extrinsic


def commitment_hash(
    *,
    genesis_hash: bytes,
    epoch: int,
    hotkey: bytes,
    uids: tuple[int, ...],
    values: tuple[int, ...],
    evidence: bytes,
    strata: tuple[str, ...],
    members: tuple[Member, ...],
    rounds: tuple[RoundVote, ...],
    salt: bytes,
) -> bytes:
    """What CommitWeights carries: a hash over everything that the reveal will show, hidden by a random 32-byte salt."""
    shown = (epoch, hotkey, uids, values, evidence, strata, members, rounds, salt)
    return blake2b_256(COMMITMENT_DOMAIN, genesis_hash, _ENCODER.encode(shown))


def seed_message(genesis_hash: bytes, epoch: int, previous_close_hash: bytes) -> bytes:
    """What a validator's hotkey signs to draw its windows of an epoch (for epoch 1 the previous close block is the
    genesis block).
    """
    return SEED_DOMAIN + genesis_hash + epoch.to_bytes(8, "big") + previous_close_hash


def compute_seed(seed_signature: bytes) -> bytes:
    """The validator's 32-byte seed: nobody can foretell it without the key, and everybody can check it after the
    reveal.
    """
    return blake2b_256(SEED_DOMAIN, seed_signature)


def _signed_message(call: Call, signer: bytes, genesis_hash: bytes, nonce: int, valid_until: int) -> bytes:
    return EXTRINSIC_DOMAIN + genesis_hash + _ENCODER.encode((signer, nonce, valid_until, call))
