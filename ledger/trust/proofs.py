"""Proofs that one block contains an extrinsic, or that its state has an account or has none, checked with its header.

Invariants: everything is derived from the header that the proof carries, so a proof is as good as that header: compare
its hash with one that is trusted, or ask for the votes that made it final; nothing else is believed.
"""

from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct

from ledger.blocks import APPLIED, Header, verify_header
from ledger.entries import Account, FinalitySet, Nonce
from ledger.errors import InvalidProof
from ledger.keys import encode_address
from ledger.state import ACCOUNT_PREFIX, FINALITY_KEY, NONCE_PREFIX
from ledger.trust.finality import Vote, is_final, verify_vote
from ledger.trust.merkle import compute_way_root
from ledger.trust.trie import Found, compute_found_root, hash_path
from ledger.units import Hash32, Natural, PublicKey, blake2b_256


class EntryProof(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An encoded entry of the state, or None for its absence, with the way from its key to the root."""

    value: bytes | None
    way: Found


class FinalityProof(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Votes that made a block final: the proven one, or a later one that stands on it.

    `headers` follow each other and end with the block that was voted on; `members` (encoded) is who votes in its epoch,
    proven under the header at `closing_height`, which closed the epoch before.
    """

    headers: tuple[Header, ...]
    closing_height: Natural
    members: bytes
    way: Found
    votes: tuple[Vote, ...]


class Proof(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all proofs carry: the block's header, its keeper's signature, and the votes if it is final."""

    genesis_hash: Hash32
    header: Header
    signature: bytes
    finality: FinalityProof | None


class ExtrinsicProof(Proof, frozen=True, kw_only=True, tag_field="proof", tag="extrinsic", forbid_unknown_fields=True):
    """An extrinsic's place among the `count` of its block, and its receipt's among theirs.

    The bytes of the extrinsic are None where its block was pruned.
    """

    hash: Hash32
    position: Natural
    count: Natural
    way: tuple[Hash32, ...]
    receipt: str
    receipt_way: tuple[Hash32, ...]
    extrinsic: bytes | None


class AccountProof(Proof, frozen=True, kw_only=True, tag_field="proof", tag="account", forbid_unknown_fields=True):
    """The balance and the nonce of a public key after a block, or that there are none."""

    public: PublicKey
    balance: EntryProof
    nonce: EntryProof


class Proven(Struct, frozen=True, kw_only=True):
    """What a proof proves, given its block."""

    statement: str
    height: int
    epoch: int
    block_hash: bytes
    genesis_hash: bytes
    keeper: str
    """Who signed the block (address)."""
    final: bool
    """Whether the proof carries votes that made the block final."""


def check_proof(
    proof: ExtrinsicProof | AccountProof,
    *,
    block_hash: bytes | None = None,
    genesis_hash: bytes | None = None,
    final: bool = False,
) -> Proven:
    """What the proof proves; InvalidProof if it doesn't, or not for the block or network asked for.

    Args:
        block_hash, genesis_hash: what the block and its network must be; None: whatever the proof says.
        final: the proof has to carry votes that made the block final.
    """
    header = proof.header
    if genesis_hash not in (None, proof.genesis_hash):
        raise InvalidProof("the proof is of another network than the one asked for")
    if block_hash not in (None, header.hash):
        raise InvalidProof(f"the proof is of block {header.hash.hex()}, not of the one asked for")
    # Block 0 follows from the genesis and nobody signs it.
    if header.height and not verify_header(header, proof.signature, proof.genesis_hash):
        raise InvalidProof("the keeper that the header names did not sign it")
    if proof.finality is not None:
        _check_finality(header, proof.finality, proof.genesis_hash)
    elif final:
        raise InvalidProof(f"the proof carries no votes that made block {header.height} final; make it again later")
    try:
        proven = _check_extrinsic(proof) if isinstance(proof, ExtrinsicProof) else _check_account(proof)
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidProof(f"the proof leads to no root: {error}") from None
    return Proven(
        statement=proven,
        height=header.height,
        epoch=header.epoch,
        block_hash=header.hash,
        genesis_hash=proof.genesis_hash,
        keeper=encode_address(header.keeper),
        final=proof.finality is not None,
    )


def encode_proof(proof: ExtrinsicProof | AccountProof) -> Any:
    """The proof as plain values for JSON; bytes are hex with 0x before it."""
    return _to_text(msgspec.to_builtins(proof, builtin_types=(bytes,)))


def decode_proof(text: bytes) -> ExtrinsicProof | AccountProof:
    """The proof in a JSON document; InvalidProof if there is none."""
    try:
        plain = _from_text(msgspec.json.decode(text))
        return msgspec.convert(plain, ExtrinsicProof | AccountProof, builtin_types=(bytes,))
    except (ValueError, RecursionError) as error:
        raise InvalidProof(f"this is no proof: {error}") from None


def _check_extrinsic(proof: ExtrinsicProof) -> str:
    header = proof.header
    listed = compute_way_root(proof.hash, proof.position, proof.count, proof.way)
    received = compute_way_root(proof.receipt.encode(), proof.position, proof.count, proof.receipt_way)
    if (listed, received) != (header.extrinsics_root, header.receipts_root):
        raise InvalidProof("extrinsic and receipt are not what the header's roots are over")
    if proof.extrinsic is not None and blake2b_256(proof.extrinsic) != proof.hash:
        raise InvalidProof("the extrinsic's bytes don't have the hash that is proven")
    outcome = "was applied" if proof.receipt == APPLIED else f"was refused ({proof.receipt})"
    return f"extrinsic {proof.hash.hex()} is number {proof.position} of block {header.height} and {outcome}"


def _check_account(proof: AccountProof) -> str:
    root, address = proof.header.state_root, encode_address(proof.public)
    balance = _check_entry(proof.balance, ACCOUNT_PREFIX + proof.public, root)
    nonce = _check_entry(proof.nonce, NONCE_PREFIX + proof.public, root)
    free_rao = 0 if balance is None else msgspec.msgpack.decode(balance, type=Account).free_rao
    last = 0 if nonce is None else msgspec.msgpack.decode(nonce, type=Nonce).value
    there = "holds no free balance" if balance is None else f"holds {free_rao} RAO"
    return f"after block {proof.header.height} the account {address} {there}; its last nonce is {last}"


def _check_entry(entry: EntryProof, full_key: bytes, state_root: bytes) -> bytes | None:
    if compute_found_root(full_key, entry.way) != state_root:
        raise InvalidProof("the way to an entry does not end at the header's state root")
    own = entry.way.path == hash_path(full_key)
    if own != (entry.value is not None):
        raise InvalidProof("the way ends at another entry than the proof says")
    if entry.value is not None and blake2b_256(entry.value) != entry.way.value_hash:
        raise InvalidProof("the entry's value is not the one that is proven")
    return entry.value


def _check_finality(header: Header, proof: FinalityProof, genesis_hash: bytes) -> None:
    headers = proof.headers
    linked = all(after.parent == before.hash for before, after in pairwise(headers))
    if not linked or header not in headers:
        raise InvalidProof("the headers do not lead from the block to the one that was voted on")
    voted = headers[-1]
    closing = next((at for at in headers if at.height == proof.closing_height and at != voted), None)
    fixed = closing is not None and closing.kind in ("genesis", "close") and closing.epoch + 1 == voted.epoch
    if closing is None or not fixed:
        raise InvalidProof("the finality set is not that of the epoch of the block that was voted on")
    try:
        members = msgspec.msgpack.decode(proof.members, type=FinalitySet).members
        _check_entry(EntryProof(value=proof.members, way=proof.way), FINALITY_KEY, closing.state_root)
    except ValueError as error:
        raise InvalidProof(f"the finality set is not proven: {error}") from None
    for vote in proof.votes:
        if (vote.height, vote.block_hash) != (voted.height, voted.hash) or vote.term < voted.term:
            raise InvalidProof("a vote is for another block")
        if not verify_vote(vote, genesis_hash):
            raise InvalidProof("a vote's signature does not verify")
    if not is_final(proof.votes, members):
        raise InvalidProof(f"the votes are not those of more than two thirds of the stake for block {voted.height}")


def _to_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {name: _to_text(inner) for name, inner in value.items()}
    return [_to_text(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _from_text(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("0x"):
        return bytes.fromhex(value[2:])
    if isinstance(value, dict):
        return {name: _from_text(inner) for name, inner in value.items()}
    return [_from_text(inner) for inner in value] if isinstance(value, list) else value
