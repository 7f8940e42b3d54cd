"""Terms in pure code: what is promised, followed and signed, and every order of messages in small scopes."""

import pytest
from msgspec.structs import replace

from benchmarks.terms_machine import Scope, Search, Unsafe
from benchmarks.terms_model import SCOPES
from ledger.blocks import Block, Header, sign_header
from ledger.errors import Refusal
from ledger.keys import Keypair
from ledger.trust.finality import Weighted, final_term, sign_vote
from ledger.trust.terms import (
    Base,
    Pledge,
    Signer,
    choose_base,
    follow_mandate,
    promise_term,
    sign_mandate,
    sign_promise,
    validate_mandate,
    validate_pledge,
    validate_signing,
    verify_promise,
)

pytestmark = pytest.mark.thorough

NETWORK = bytes([7]) * 32
KEEPER = Keypair.from_seed(bytes([9]) * 32)
KEYS = [Keypair.from_seed(bytes([index]) * 32) for index in range(1, 5)]
SET = tuple(Weighted(hotkey=key.public, stake_rao=1) for key in KEYS)


def header(height: int, term: int = 0, mark: int = 0) -> Header:
    """A block's header; `mark` tells blocks of one height and term apart."""
    nothing = bytes(32)
    return Header(
        height=height,
        parent=nothing,
        term=term,
        epoch=1,
        kind="open",
        extrinsics_root=bytes([mark]) * 32,
        receipts_root=nothing,
        state_root=nothing,
        keeper=KEEPER.public,
    )


def base(of: Header) -> Base:
    return Base(height=of.height, block_hash=of.hash)


def promises(term, lasts):
    return [sign_promise(term, last, key, NETWORK) for key, last in zip(KEYS, lasts, strict=False)]


def votes(of, keys, term=None):
    return [sign_vote(of, key, NETWORK, term=term) for key in keys]


def refused(code, function, *arguments, **named):
    with pytest.raises(Refusal) as refusal:
        function(*arguments, **named)
    assert refusal.value.code == code
    return str(refusal.value)


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_no_order_of_messages_makes_two_histories_final(scope):
    search = Search(scope)
    states, whole = search.run(2500)
    assert whole or states >= 2500
    assert search.finals_seen >= 1


def test_a_whole_scope_is_visited():
    search = Search(Scope(terms=1, heights=2))
    states, whole = search.run(10**6, finish_share=0.2)
    assert whole
    assert states > 2000
    assert search.taken_over == 1


def _final_always(promises, final, finality_set):
    return final


def _lowest(promises, final, finality_set):
    above = [one.last for one in promises if one.last is not None and one.last.height > final.height]
    low = min(above, key=lambda vote: (vote.term, vote.height), default=None)
    return final if low is None else Base(height=low.height, block_hash=low.block_hash)


@pytest.mark.parametrize(
    "scope",
    [
        Scope(terms=1, heights=1, forgetful=True),
        Scope(terms=1, heights=1, choose=_final_always),
        Scope(terms=2, heights=1, choose=_lowest),
        Scope(terms=1, heights=1, liars=2),
    ],
    ids=["promises forgotten", "votes told of are passed over", "lowest vote adopted", "too many liars"],
)
def test_the_search_finds_what_is_wrong(scope):
    with pytest.raises(Unsafe):
        Search(scope).run(10**6, finish_share=1.0)


def test_a_term_is_promised_once_and_binds():
    signer = promise_term(Signer(), 3)
    assert signer.term == 3
    for term in (3, 2, 0):
        refused("wrong_term", promise_term, signer, term)
    refused("no_mandate", validate_signing, signer, header(1), 0, SET)
    refused("no_mandate", validate_signing, signer, header(1, term=3), 0, SET)


def test_one_mandate_of_a_term_is_followed():
    given = promises(2, [None] * 3)
    one = sign_mandate(2, base(header(1)), given, KEEPER, NETWORK)
    other = sign_mandate(2, base(header(1, mark=1)), given, KEEPER, NETWORK)
    signer = follow_mandate(Signer(term=2), one)
    assert follow_mandate(signer, one) == signer
    assert "contradicts itself" in refused("wrong_term", follow_mandate, signer, other)
    refused("wrong_term", follow_mandate, Signer(term=3), one)


def test_what_may_be_signed_under_a_mandate():
    adopted = header(5, term=1)
    mandate = sign_mandate(2, base(adopted), promises(2, [None] * 3), KEEPER, NETWORK)
    signer = follow_mandate(Signer(), mandate)
    validate_signing(signer, adopted, 4, SET)
    validate_signing(signer, header(6, term=2), 5, SET)
    refused("wrong_block", validate_signing, signer, header(5, term=2), 4, SET)
    refused("wrong_block", validate_signing, signer, header(4, term=2), 4, SET)
    refused("wrong_term", validate_signing, signer, header(6, term=1), 5, SET)
    refused("wrong_term", validate_signing, signer, header(6, term=3), 5, SET)
    refused("not_final", validate_signing, signer, header(6, term=2), 4, SET)
    others = tuple(replace(member, hotkey=bytes(32)) for member in SET)
    refused("no_mandate", validate_signing, signer, header(6, term=2), 5, others)
    validate_signing(signer, header(7, term=2), 6, others)


def test_a_second_block_of_a_height_and_term_is_not_signed():
    first = header(1)
    signer = Signer(last=sign_vote(first, KEYS[0], NETWORK))
    validate_signing(signer, first, 0, SET)
    refused("wrong_block", validate_signing, signer, header(1, mark=1), 0, SET)
    later = Signer(last=sign_vote(header(2), KEYS[0], NETWORK))
    refused("wrong_block", validate_signing, later, header(1, mark=1), 1, SET)


def test_the_base_is_of_the_highest_term_then_height_then_stake():
    final = base(header(3))
    low, high, newer = header(4), header(5), header(4, term=1)
    assert choose_base(promises(2, [None] * 3), final, SET) == final
    old = sign_vote(header(2, mark=5), KEYS[0], NETWORK)
    assert choose_base(promises(2, [old]), final, SET) == final
    lasts = [sign_vote(of, key, NETWORK) for of, key in zip((low, high, newer), KEYS, strict=False)]
    assert choose_base(promises(2, lasts[:2]), final, SET) == base(high)
    assert choose_base(promises(2, lasts), final, SET) == base(newer)
    again = sign_vote(low, KEYS[3], NETWORK, term=1)
    assert choose_base(promises(2, [*lasts[:2], None, again]), final, SET) == base(low)
    forks = [sign_vote(header(4, mark=mark), key, NETWORK) for mark, key in zip((1, 2, 2), KEYS, strict=False)]
    assert choose_base(promises(2, forks), final, SET) == base(header(4, mark=2))


def test_votes_of_two_terms_do_not_add_up():
    block = header(1)
    mixed = [*votes(block, KEYS[:2]), *votes(block, KEYS[2:], term=1)]
    assert final_term(mixed, SET) is None
    assert final_term([*mixed, *votes(block, KEYS[:1], term=1)], SET) == 1
    assert final_term(votes(block, KEYS), SET) == 0


def test_a_mandate_is_checked_whole():
    final, block = base(header(1)), header(2)
    last = sign_vote(block, KEYS[0], NETWORK)
    given = promises(4, [last, None, None])
    sound = sign_mandate(4, base(block), given, KEEPER, NETWORK)
    check = (final, SET, KEEPER.public, NETWORK)
    validate_mandate(sound, *check)
    wrong = [
        replace(sound, signature=bytes(64)),
        sign_mandate(4, base(block), given, KEYS[0], NETWORK),
        sign_mandate(4, base(block), given[:2], KEEPER, NETWORK),
        sign_mandate(5, base(block), given, KEEPER, NETWORK),
        sign_mandate(4, final, given, KEEPER, NETWORK),
        sign_mandate(4, base(header(2, mark=1)), given, KEEPER, NETWORK),
        sign_mandate(4, base(header(1, mark=1)), promises(4, [None] * 3), KEEPER, NETWORK),
        sign_mandate(4, base(block), [replace(given[0], last=None), *given[1:]], KEEPER, NETWORK),
    ]
    for mandate in wrong:
        refused("no_mandate", validate_mandate, mandate, *check)
    refused("no_mandate", validate_mandate, sound, final, SET, KEEPER.public, bytes(32))


def test_a_promise_tells_of_an_own_vote_of_a_lower_term():
    last = sign_vote(header(2), KEYS[0], NETWORK)
    good = sign_promise(1, last, KEYS[0], NETWORK)
    assert verify_promise(good, NETWORK)
    assert not verify_promise(good, bytes(32))
    assert not verify_promise(replace(good, term=2), NETWORK)
    assert not verify_promise(sign_promise(1, last, KEYS[1], NETWORK), NETWORK)
    assert not verify_promise(sign_promise(1, replace(last, height=3), KEYS[0], NETWORK), NETWORK)
    assert not verify_promise(sign_promise(0, last, KEYS[0], NETWORK), NETWORK)


def test_a_pledge_shows_that_the_keeper_proposed_what_was_voted_on():
    of = header(2)
    block = Block(header=of, extrinsics=(), receipts=(), signature=sign_header(of, KEEPER, NETWORK))
    first = sign_promise(1, sign_vote(of, KEYS[0], NETWORK), KEYS[0], NETWORK)
    validate_pledge(Pledge(promise=first, block=block, mandate=None), 1, KEEPER.public, NETWORK)
    bare = sign_promise(1, None, KEYS[0], NETWORK)
    validate_pledge(Pledge(promise=bare, block=None, mandate=None), 1, KEEPER.public, NETWORK)
    again = sign_promise(3, sign_vote(of, KEYS[0], NETWORK, term=2), KEYS[0], NETWORK)
    mandate = sign_mandate(2, base(of), promises(2, [None] * 3), KEEPER, NETWORK)
    validate_pledge(Pledge(promise=again, block=block, mandate=mandate), 3, KEEPER.public, NETWORK)
    forged = replace(block, signature=sign_header(of, KEYS[0], NETWORK))
    for term, pledge in (
        (2, Pledge(promise=first, block=block, mandate=None)),
        (1, Pledge(promise=first, block=None, mandate=None)),
        (1, Pledge(promise=first, block=forged, mandate=None)),
        (3, Pledge(promise=again, block=block, mandate=None)),
        (3, Pledge(promise=again, block=block, mandate=replace(mandate, signature=bytes(64)))),
    ):
        refused("no_mandate", validate_pledge, pledge, term, KEEPER.public, NETWORK)
