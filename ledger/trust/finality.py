"""Finality: votes of those who re-executed a block, and the stake that makes it final.

Invariants: a vote names one block of one network and height, and the term under which it is given (the block's own, or
a later one in which the block was proposed again); each hotkey counts once, with the stake that the finality set gives
it; final means votes of one term with more than two thirds of the set's stake, in whole numbers; a final block makes
all blocks before it final, since each names its parent's hash.
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


def sign_vote(header: Header, keypair: Keypair, genesis_hash: bytes, *, term: int | None = None) -> Vote:
    """A vote for the block, under its own term or the later one in which it is proposed again; the caller has executed
    it on a replica of its own first.
    """
    term = header.term if term is None else term
    message = _signed_message(genesis_hash, header.height, term, header.hash)
    return Vote(
        height=header.height,
        block_hash=header.hash,
        term=term,
        hotkey=keypair.public,
        signature=keypair.sign(message),
    )


def verify_vote(vote: Vote, genesis_hash: bytes) -> bool:
    """Whether the hotkey signed this vote on the network of this genesis."""
    message = _signed_message(genesis_hash, vote.height, vote.term, vote.block_hash)
    return verify(vote.hotkey, message, vote.signature)


def final_term(votes: Iterable[Vote], finality_set: Sequence[Weighted]) -> int | None:
    """The lowest term in which more than two thirds of the set's stake voted; None if there is none.

    The votes are verified, and for one block. Votes of several terms don't add up: between them another block may have
    got as many.
    """
    voted: dict[int, set[bytes]] = {}
    for vote in votes:
        voted.setdefault(vote.term, set()).add(vote.hotkey)
    total_rao = sum(member.stake_rao for member in finality_set)
    for term, hotkeys in sorted(voted.items()):
        if 3 * sum(member.stake_rao for member in finality_set if member.hotkey in hotkeys) > 2 * total_rao:
            return term
    return None


def is_final(votes: Iterable[Vote], finality_set: Sequence[Weighted]) -> bool:
    """Whether more than two thirds of the set's stake voted in one term. The votes are verified, and for one block."""
    return final_term(votes, finality_set) is not None


def missing(votes: Iterable[Vote], finality_set: Sequence[Weighted]) -> list[bytes]:
    """The hotkeys of the set that have not voted in the highest term that has a vote, in the set's order."""
    votes = list(votes)
    last = max((vote.term for vote in votes), default=0)
    hotkeys = {vote.hotkey for vote in votes if vote.term == last}
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
