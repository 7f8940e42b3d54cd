"""What binds a validator, apart from its replica: so that it can be kept elsewhere and outlives the replica's disk.

Invariants: an oath is as much as a promise or a vote ever needs to be kept, repeated and shown; a replica that is bound
by one signs as the lost replica would have, and never below it; binding again changes nothing.
"""

from msgspec import Struct

from ledger.blocks import Block
from ledger.errors import DamagedLedger, Refusal
from ledger.store.chain import Chain
from ledger.store.leading import read_bound_block, write_bound, write_mandate
from ledger.trust.finality import Vote
from ledger.trust.terms import Mandate
from ledger.units import Natural


class Oath(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The term that a validator promised or follows, that term's mandate, its last vote, and the block voted on.

    `shown` is the mandate of the vote's term, where it has one: it shows why the vote is of a later term than the
    block. `turn` counts the processes that signed for the validator: only the last may go on.
    """

    turn: Natural = 0
    term: Natural
    mandate: Mandate | None
    last: Vote | None
    block: Block | None
    shown: Mandate | None


def current_oath(chain: Chain, hotkey: bytes, vote: Vote | None = None, *, turn: int = 0) -> Oath:
    """What binds a key that signs blocks of this chain, with a vote for its head that is about to be given."""
    signer = chain.signer(hotkey)
    last = signer.last if vote is None else vote
    return Oath(
        turn=turn,
        term=signer.term,
        mandate=signer.mandate,
        last=last,
        block=None if last is None else voted_block(chain, last),
        shown=None if last is None else chain.mandate(last.term),
    )


def bind(chain: Chain, oath: Oath) -> None:
    """Bind a replica that may be new, or older than the oath; what binds it more already stays."""
    held = chain.signer(oath.last.hotkey if oath.last else b"")
    if oath.last is not None and oath.block is not None and _is_later(oath.last, held.last):
        with chain.database.transaction():
            write_bound(chain.database, oath.last, oath.block)
            if oath.shown is not None and chain.mandate(oath.shown.term) is None:
                write_mandate(chain.database, oath.shown)
    if oath.term > held.term or (oath.term == held.term and held.mandate is None and oath.mandate is not None):
        chain.set_term(oath.term, oath.mandate)


def forgotten(who: str, place: str) -> Refusal:
    """Why a validator that voted before and has nothing left that says how signs nothing."""
    return Refusal("no_oath", f"{who} voted before, and {place} is gone: it may have forgotten, and signs nothing")


def voted_block(chain: Chain, vote: Vote) -> Block:
    """The block that a key of this chain voted on last, from the chain or from its oath."""
    if vote.height <= chain.head.height and chain.header(vote.height).hash == vote.block_hash:
        return chain.block(vote.height)
    block = read_bound_block(chain.database, chain.head.height)
    if block is None or block.hash != vote.block_hash:
        raise DamagedLedger(vote.height, "the block of the last vote is gone")
    return block


def _is_later(vote: Vote, held: Vote | None) -> bool:
    return held is None or (vote.term, vote.height) > (held.term, held.height)
