"""Finality: votes of those who re-executed a block, and the stake that makes it final.

Invariants: a vote names one block of one network, height and term; each hotkey counts once, with the stake that the
finality set gives it; final means more than two thirds of the set's stake, in whole numbers; a final block makes all
blocks before it final, since each names its parent's hash.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from ledger.blocks import Header
from ledger.keys import VOTE_DOMAIN, Keypair, verify
from ledger.units import Hash32, Natural, PublicKey, Rao, Signature64


class Weighted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hotkey and the stake that its vote carries."""

    hotkey: PublicKey
    stake_rao: Rao


class Vote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A member of the finality set has executed this block and found its state root."""

    height: Natural
    block_hash: Hash32
    term: Natural
    hotkey: PublicKey
    signature: Signature64


def sign_vote(header: Header, keypair: Keypair, genesis_hash: bytes) -> Vote:
    """A vote for the block; the caller has executed it on a replica of its own first."""
    message = _signed_message(genesis_hash, header.height, header.term, header.hash)
    return Vote(
        height=header.height,
        block_hash=header.hash,
        term=header.term,
        hotkey=keypair.public,
        signature=keypair.sign(message),
    )


def verify_vote(vote: Vote, genesis_hash: bytes) -> bool:
    """Whether the hotkey signed this vote on the network of this genesis."""
    message = _signed_message(genesis_hash, vote.height, vote.term, vote.block_hash)
    return verify(vote.hotkey, message, vote.signature)


def is_final(votes: Iterable[Vote], finality_set: Sequence[Weighted]) -> bool:
    """Whether more than two thirds of the set's stake voted. The votes are verified, and for one block."""
    hotkeys = {vote.hotkey for vote in votes}
    voted_rao = sum(member.stake_rao for member in finality_set if member.hotkey in hotkeys)
    return 3 * voted_rao > 2 * sum(member.stake_rao for member in finality_set)


def missing(votes: Iterable[Vote], finality_set: Sequence[Weighted]) -> list[bytes]:
    """The hotkeys of the set that have not voted, in the set's order."""
    hotkeys = {vote.hotkey for vote in votes}
    return [member.hotkey for member in finality_set if member.hotkey not in hotkeys]


def encode_vote(vote: Vote) -> bytes:
    """The canonical encoding."""
    return msgspec.msgpack.encode(vote)


def decode_vote(data: bytes) -> Vote:
    """The vote in these bytes; ValueError if they are not the canonical encoding of one."""
    vote = msgspec.msgpack.decode(data, type=Vote)
    if encode_vote(vote) != data:
        raise ValueError("the bytes are not a vote's canonical encoding")
    return vote


def _signed_message(genesis_hash: bytes, height: int, term: int, block_hash: bytes) -> bytes:
    return VOTE_DOMAIN + genesis_hash + height.to_bytes(8, "big") + term.to_bytes(8, "big") + block_hash
