"""A replica and its part in finality: it follows blocks, promises terms and signs; or it takes over and leads.

Invariants: what is signed or promised is on disk before it is returned; a head that is not final gives way to a block
that is, or to one that a mandate goes on with, and to nothing else; who leads has the mandate on disk first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from ledger.blocks import Block
from ledger.entries import Weighted
from ledger.errors import Refusal
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.store.oath import voted_block
from ledger.trust.finality import Vote, is_final, sign_vote, verify_vote
from ledger.trust.terms import (
    Base,
    Mandate,
    Pledge,
    Promise,
    choose_base,
    follow_mandate,
    is_promised,
    promise_term,
    sign_mandate,
    sign_promise,
    validate_mandate,
    validate_pledge,
    validate_signing,
)


class Known(Struct, frozen=True, kw_only=True):
    """What somebody's chain has.

    Attributes:
        term: that it promised, follows or leads. leads: whether it may write under it.
        height, head_hash, head_term: of its head, which need not be final.
        final_height: of its highest final block.
        last: the last vote of its key.
    """

    term: int
    leads: bool
    height: int
    head_hash: bytes
    head_term: int
    final_height: int
    last: Vote | None


def known(chain: Chain, hotkey: bytes = b"") -> Known:
    """What a chain has, and how its key voted last."""
    signer = chain.signer(hotkey)
    return Known(
        term=signer.term,
        leads=signer.term == 0 or signer.mandate is not None,
        height=chain.head.height,
        head_hash=chain.head_hash,
        head_term=chain.head.term,
        final_height=chain.final_height,
        last=signer.last,
    )


def voters(chain: Chain) -> tuple[Weighted, ...]:
    """Who votes on the block after the highest final one, with their stake."""
    return _voting_after(chain, chain.final_height)


def votes_between(chain: Chain, first: int, last: int | None = None) -> list[Vote]:
    """The votes kept for the blocks from a height to another, included; None: the head."""
    top = chain.head.height if last is None else min(last, chain.head.height)
    return [vote for height in range(max(0, first), top + 1) for vote in chain.votes(height)]


def promise(chain: Chain, term: int, keypair: Keypair) -> Pledge:
    """Promise not to sign for lower terms, for good; Refusal `wrong_term` unless the term is higher than any before."""
    signer = chain.signer(keypair.public)
    chain.set_term(promise_term(signer, term).term, None)
    signed = sign_promise(term, signer.last, keypair, chain.genesis_hash)
    if signer.last is None:
        return Pledge(promise=signed, block=None, mandate=None)
    return Pledge(promise=signed, block=voted_block(chain, signer.last), mandate=chain.mandate(signer.last.term))


def absorb(chain: Chain, blocks: Iterable[Block], votes: Sequence[Vote], mandate: Mandate | None = None) -> None:
    """Bring the chain up to these blocks (in order of height), and keep the votes for them.

    Refusal where a block does not follow, or contradicts one that need not give way.
    """
    by_height: dict[int, list[Vote]] = {}
    for vote in votes:
        by_height.setdefault(vote.height, []).append(vote)
    for height in range(chain.final_height + 1, chain.head.height + 1):
        _keep_votes(chain, height, by_height)
    for block in blocks:
        if block.height <= chain.head.height and chain.header(block.height).hash != block.hash:
            _check_gives_way(chain, block, by_height.get(block.height, []), mandate)
            chain.withdraw_head()
        if block.height > chain.head.height:
            chain.append(block)
        if block.height > chain.final_height:
            _keep_votes(chain, block.height, by_height)


def follow(
    chain: Chain,
    blocks: Iterable[Block],
    votes: Sequence[Vote],
    mandate: Mandate | None,
    keypair: Keypair,
    swear: Callable[[Vote], None] = lambda vote: None,
) -> list[Vote]:
    """Absorb the blocks, and sign the head where the key is in the finality set.

    Args:
        votes: those that made blocks final, of these or held ones; a block is signed only if its parent is final.
        mandate: what the keeper leads with; None in term 0.
        swear: keeps a vote elsewhere too, before the chain does; what it raises leaves the vote ungiven.

    Raises:
        Refusal: a block does not follow, or may not be signed.
    """
    absorb(chain, blocks, votes, mandate)
    if mandate is not None:
        _follow_mandate(chain, mandate)
    signer, head = chain.signer(keypair.public), chain.head
    voting = chain.finality_set(head.height)
    if head.height == 0 or keypair.public not in {member.hotkey for member in voting}:
        return []
    last = signer.last
    if last is not None and (last.block_hash, last.term) == (chain.head_hash, signer.term):
        return [last]
    try:
        validate_signing(signer, head, chain.final_height, voting)
    except Refusal:
        if chain.is_final(head.height):
            return [] if last is None or last.block_hash != chain.head_hash else [last]
        raise
    vote = sign_vote(head, keypair, chain.genesis_hash, term=signer.term)
    swear(vote)
    chain.add_votes(head.height, [vote])
    return [vote]


def lead(chain: Chain, term: int, pledges: Sequence[Pledge], keypair: Keypair) -> Mandate:
    """Take over: adopt the block that the pledges lead to, and lead the term from it.

    The chain has absorbed what is final; a head that is not, and that no promise knows, gives way. The block adopted is
    to be proposed again (signed under the mandate, which is on disk by now) before any other. Asked again with the same
    pledges, it answers the same.

    Refusal `no_mandate` where the pledges are not enough, not sound, or tell of blocks that were not absorbed.
    """
    genesis_hash, keeper = chain.genesis_hash, chain.genesis.keeper
    held = chain.mandate(term)
    if held is not None and held.term == chain.term and held.promises == tuple(pledge.promise for pledge in pledges):
        return held
    if term <= chain.term:
        raise Refusal("wrong_term", f"this ledger is at term {chain.term} already; ask promises for a higher one")
    for pledge in pledges:
        validate_pledge(pledge, term, keeper, genesis_hash)
    promises = [pledge.promise for pledge in pledges]
    final = Base(height=chain.final_height, block_hash=chain.header(chain.final_height).hash)
    voting = _voting_after(chain, final.height)
    _check_promised(term, promises, voting)
    base = choose_base(promises, final, voting)
    if base.height > final.height + 1:
        raise Refusal("no_mandate", f"block {base.height - 1} is not known to be final here; absorb it first")
    if chain.head.height > final.height and chain.head_hash != base.block_hash:
        chain.withdraw_head()
    if base.height > chain.head.height:
        chain.append(next(p.block for p in pledges if p.block is not None and p.block.hash == base.block_hash))
    _check_promised(term, promises, chain.next_finality_set)
    mandate = sign_mandate(term, base, promises, keypair, genesis_hash)
    chain.set_term(term, mandate)
    return mandate


def _check_promised(term: int, promises: list[Promise], voting: Sequence[Weighted]) -> None:
    if not is_promised(term, promises, voting):
        silent = {member.hotkey for member in voting} - {one.hotkey for one in promises}
        names = ", ".join(sorted(hotkey.hex()[:16] for hotkey in silent))
        raise Refusal("no_mandate", f"promises of more than 2/3 of the stake are needed for term {term}: ask {names}")


def _follow_mandate(chain: Chain, mandate: Mandate) -> None:
    """Check a mandate that is new here, and write it down."""
    signer = chain.signer(b"")
    if signer.mandate == mandate:
        return
    followed = follow_mandate(signer, mandate)
    # A mandate may be older than what is final by now: it is judged by who voted when it was given.
    height = min(chain.final_height, mandate.base.height)
    final = Base(height=height, block_hash=chain.header(height).hash)
    validate_mandate(mandate, final, _voting_after(chain, height), chain.genesis.keeper, chain.genesis_hash)
    chain.set_term(followed.term, followed.mandate)


def _check_gives_way(chain: Chain, block: Block, votes: Sequence[Vote], mandate: Mandate | None) -> None:
    """Refusal unless this block takes the place of the head: by its votes, or by the mandate."""
    held = f"the replica holds another block at height {block.height}"
    if block.height != chain.head.height or chain.is_final(block.height):
        raise Refusal("wrong_block", f"{held}, and it is final or below the head")
    block_hash = block.hash
    sound = [vote for vote in votes if vote.block_hash == block_hash and verify_vote(vote, chain.genesis_hash)]
    if is_final(sound, chain.finality_set(block.height)):
        return
    if mandate is None:
        raise Refusal("wrong_block", held)
    _follow_mandate(chain, mandate)
    signer = chain.signer(b"")
    validate_signing(signer, block.header, chain.final_height, chain.finality_set(block.height))
    if chain.head.term >= signer.term:
        raise Refusal("wrong_block", f"{held}, of the same term: its keeper contradicts itself")


def _keep_votes(chain: Chain, height: int, votes: Mapping[int, list[Vote]]) -> None:
    block_hash = chain.header(height).hash
    own = [vote for vote in votes.get(height, ()) if vote.block_hash == block_hash]
    if own:
        chain.add_votes(height, own)


def _voting_after(chain: Chain, height: int) -> tuple[Weighted, ...]:
    return chain.finality_set(height + 1) if height < chain.head.height else chain.next_finality_set
