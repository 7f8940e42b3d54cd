"""Terms: how a keeper takes over, so that a final block is never lost. Pure: values in, values or a Refusal out.

A keeper leads a term; the genesis names who leads term 0. Every later term needs a mandate: promises from more than 2/3
of the finality set's stake not to sign for lower terms, each with the last vote of who promises. The mandate's base is
the block of the highest of those votes, by term, then height; it is proposed again under the new term as it is.

Invariants: a term is promised once; a signer signs at most one block of a height in a term, none below the mandate's
base, and none whose parent isn't final; a mandate of a term, once followed, is the only one of that term. What is
decided here is on disk before anybody hears of it. docs/finality.md has the argument.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ledger.blocks import Block, Header, verify_header
from ledger.errors import Refusal
from ledger.keys import MANDATE_DOMAIN, PROMISE_DOMAIN, Keypair, verify
from ledger.trust.finality import Vote, Weighted, verify_vote
from ledger.units import Hash32, Natural, PublicKey, Signature64


class Promise(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Not to sign for a term below this one; `last` is the signer's last vote, None if it never voted."""

    term: Natural
    hotkey: PublicKey
    last: Vote | None
    signature: Signature64


class Base(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The block that a term goes on from."""

    height: Natural
    block_hash: Hash32


class Mandate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a keeper shows to lead a term: the promises, and the block that follows from them; signed by the keeper."""

    term: Natural
    base: Base
    promises: tuple[Promise, ...]
    signature: Signature64


class Pledge(Struct, frozen=True, kw_only=True):
    """A validator's answer to a candidate: its promise, the block of its last vote and, where that vote is of a later
    term than the block, the mandate that made it so.
    """

    promise: Promise
    block: Block | None
    mandate: Mandate | None


class Signer(Struct, frozen=True, kw_only=True):
    """What binds a validator: the term it promised or follows, that term's mandate once it has seen it, its last vote.

    Term 0 needs no mandate.
    """

    term: Natural = 0
    mandate: Mandate | None = None
    last: Vote | None = None


def promise_term(signer: Signer, term: int) -> Signer:
    """The signer after it promised a term; Refusal `wrong_term` unless the term is higher than any before."""
    if term <= signer.term:
        raise Refusal("wrong_term", f"term {signer.term} is promised already, {term} is not higher")
    return replace(signer, term=term, mandate=None)


def follow_mandate(signer: Signer, mandate: Mandate) -> Signer:
    """The signer under a (checked) mandate; Refusal `wrong_term` if it promised a higher term or follows another
    mandate of this one.
    """
    if mandate.term < signer.term:
        raise Refusal("wrong_term", f"term {signer.term} is promised already, {mandate.term} is lower")
    if mandate.term == signer.term and signer.mandate is not None and signer.mandate.base != mandate.base:
        raise Refusal("wrong_term", f"term {mandate.term} has another mandate already: its keeper contradicts itself")
    return replace(signer, term=mandate.term, mandate=mandate)


def validate_signing(signer: Signer, header: Header, final_height: int, finality_set: Sequence[Weighted]) -> None:
    """Whether the signer may sign this block, which its replica executed, under its term.

    Args:
        final_height: the highest that the signer knows to be final.
        finality_set: who votes on the block.

    Refusal `no_mandate`, `wrong_term`, `wrong_block` or `not_final`.
    """
    mandate, last = signer.mandate, signer.last
    if mandate is None and signer.term > 0:
        raise Refusal("no_mandate", f"term {signer.term} is promised, and nobody has shown a mandate for it yet")
    if mandate is not None and header.height <= mandate.base.height:
        if (header.height, header.hash) != (mandate.base.height, mandate.base.block_hash):
            raise Refusal("wrong_block", f"term {signer.term} goes on from another block of height {header.height}")
    elif header.term != signer.term:
        raise Refusal("wrong_term", f"the block is of term {header.term}, the signer follows term {signer.term}")
    if header.height > final_height + 1:
        raise Refusal("not_final", f"block {header.height - 1} isn't final, so block {header.height} isn't signed")
    near = mandate is not None and header.height <= mandate.base.height + 1
    if mandate is not None and near and not is_promised(signer.term, mandate.promises, finality_set):
        raise Refusal("no_mandate", f"who votes on block {header.height} has not promised term {signer.term}")
    bound = last is not None and last.term == signer.term and last.height >= header.height
    if last is not None and bound and last.block_hash != header.hash:
        raise Refusal("wrong_block", f"another block of term {signer.term} was signed at height {last.height}")


def choose_base(promises: Iterable[Promise], final: Base, finality_set: Sequence[Weighted]) -> Base:
    """The block that a new term has to go on from: that of the highest vote, by term, then height, where it is above
    the block that is known to be final.

    Only a keeper that contradicts itself can leave two such blocks; more than 1/3 of the stake then tells of the one
    that can be final, and less of the other. `finality_set` votes on the block after the final one.
    """
    votes = [promise.last for promise in promises if promise.last is not None and promise.last.height > final.height]
    if not votes:
        return final
    top = max((vote.term, vote.height) for vote in votes)
    stakes = {member.hotkey: member.stake_rao for member in finality_set}
    told: dict[bytes, int] = {}
    for vote in votes:
        if (vote.term, vote.height) == top:
            told[vote.block_hash] = told.get(vote.block_hash, 0) + stakes.get(vote.hotkey, 0)
    return Base(height=top[1], block_hash=max(told, key=lambda block_hash: (told[block_hash], block_hash)))


def is_promised(term: int, promises: Iterable[Promise], finality_set: Sequence[Weighted]) -> bool:
    """Whether more than two thirds of the set's stake promised this term."""
    hotkeys = {promise.hotkey for promise in promises if promise.term == term}
    promised_rao = sum(member.stake_rao for member in finality_set if member.hotkey in hotkeys)
    return 3 * promised_rao > 2 * sum(member.stake_rao for member in finality_set)


def validate_mandate(
    mandate: Mandate, final: Base, finality_set: Sequence[Weighted], keeper: bytes, genesis_hash: bytes
) -> None:
    """Refusal `no_mandate` unless the keeper signed it, and its promises suffice and lead to its base.

    Args:
        final: the highest block known to be final.
        finality_set: who votes on the block after that.
    """
    if not verify(keeper, _mandate_message(mandate, genesis_hash), mandate.signature):
        raise Refusal("no_mandate", f"the mandate for term {mandate.term} is not signed by the keeper")
    for promise in mandate.promises:
        if promise.term != mandate.term or not verify_promise(promise, genesis_hash):
            raise Refusal("no_mandate", f"the promise of {promise.hotkey.hex()[:16]} is not one for {mandate.term}")
    if not is_promised(mandate.term, mandate.promises, finality_set):
        raise Refusal("no_mandate", f"the promises for term {mandate.term} are not of more than 2/3 of the stake")
    chosen = choose_base(mandate.promises, final, finality_set)
    if mandate.base.height > final.height and mandate.base != chosen:
        raise Refusal("no_mandate", f"the promises for term {mandate.term} lead to another block than the mandate says")
    if mandate.base.height <= final.height < chosen.height:
        raise Refusal("no_mandate", f"the mandate for term {mandate.term} leaves out block {chosen.height}")
    if mandate.base.height == final.height and mandate.base != final:
        raise Refusal("no_mandate", f"the mandate for term {mandate.term} names another block than the final one")


def validate_pledge(pledge: Pledge, term: int, keeper: bytes, genesis_hash: bytes) -> None:
    """Refusal `no_mandate` unless the promise is for the term and shows that its last vote is for a block that the
    keeper proposed in the vote's term.
    """
    promise, block, mandate = pledge.promise, pledge.block, pledge.mandate
    who = promise.hotkey.hex()[:16]
    if promise.term != term or not verify_promise(promise, genesis_hash):
        raise Refusal("no_mandate", f"the promise of {who} is not one for term {term}")
    if promise.last is None:
        return
    if block is None or (block.height, block.hash) != (promise.last.height, promise.last.block_hash):
        raise Refusal("no_mandate", f"the promise of {who} comes without the block of its last vote")
    if not verify_header(block.header, block.signature, genesis_hash) or block.header.keeper != keeper:
        raise Refusal("no_mandate", f"{who} shows a block that the keeper did not sign")
    if promise.last.term == block.header.term:
        return
    shown = mandate is not None and (mandate.term, mandate.base.block_hash) == (promise.last.term, block.hash)
    if mandate is None or not shown or not verify(keeper, _mandate_message(mandate, genesis_hash), mandate.signature):
        raise Refusal("no_mandate", f"{who} shows no mandate of term {promise.last.term} for its last vote")


def sign_promise(term: int, last: Vote | None, keypair: Keypair, genesis_hash: bytes) -> Promise:
    """The signed promise; the caller has written it down first."""
    message = _promise_message(term, last, genesis_hash)
    return Promise(term=term, hotkey=keypair.public, last=last, signature=keypair.sign(message))


def verify_promise(promise: Promise, genesis_hash: bytes) -> bool:
    """Whether the hotkey signed it, and the vote in it, on the network of this genesis; the vote is of a lower term."""
    message = _promise_message(promise.term, promise.last, genesis_hash)
    if not verify(promise.hotkey, message, promise.signature):
        return False
    last = promise.last
    return last is None or (
        last.hotkey == promise.hotkey and last.term < promise.term and verify_vote(last, genesis_hash)
    )


def sign_mandate(term: int, base: Base, promises: Iterable[Promise], keypair: Keypair, genesis_hash: bytes) -> Mandate:
    """The mandate of a keeper for a term."""
    bare = Mandate(term=term, base=base, promises=tuple(promises), signature=bytes(64))
    return replace(bare, signature=keypair.sign(_mandate_message(bare, genesis_hash)))


def _promise_message(term: int, last: Vote | None, genesis_hash: bytes) -> bytes:
    return PROMISE_DOMAIN + genesis_hash + msgspec.msgpack.encode((term, last))


def _mandate_message(mandate: Mandate, genesis_hash: bytes) -> bytes:
    return MANDATE_DOMAIN + genesis_hash + msgspec.msgpack.encode((mandate.term, mandate.base, mandate.promises))
