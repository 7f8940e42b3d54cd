"""Two keepers on real replicas: whatever is lost between them, one history, and the one that contradicts itself is
proven.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.blocks import Block, Kind
from ledger.errors import Refusal, StoreError
from ledger.extrinsics import AddStake, Equivocation, SignedHeader, Transfer, TwoHeaders
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.store.replay import verify
from ledger.store.replica import absorb, follow, lead, promise
from ledger.trust.terms import sign_promise
from ledger.units import RAO_PER_TAO

pytestmark = pytest.mark.thorough

KINDS: tuple[Kind, ...] = ("open", "commit", "close")
FIRST_THREE, LAST_THREE = (0, 1, 2), (1, 2, 3)


class Cast:
    """Two keepers and four validators, each with a chain of its own; the stakes are such that any three suffice."""

    def __init__(self, network, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.key: Keypair = network.keeper
        self.validators = network.hotkeys[:4]
        self.keepers = [Chain.create(folder / f"keeper {index}.db", network.genesis) for index in range(2)]
        self.replicas = [Chain.create(folder / f"validator {index}.db", network.genesis) for index in range(4)]
        self.final: dict[int, bytes] = {}

    def build(self, keeper: int, mark: int = 0) -> Block:
        """The keeper's next block, with an extrinsic in it that tells it from any other's."""
        chain = self.keepers[keeper]
        moved = Transfer(to=bytes([mark + 1]) * 32, amount_rao=10**6 + mark)
        nonce = chain.state.nonce(self.network.treasury.public) + 1
        kind = KINDS[chain.head.height % 3]
        return chain.build(
            kind, [self.network.sign(moved, self.network.treasury, nonce=nonce)], term=chain.term, keypair=self.key
        )

    def show(self, keeper: int, validators=range(4)) -> list[int]:
        """Offer a keeper's blocks to validators and bring back their votes; who signed."""
        chain, signed = self.keepers[keeper], []
        for index in validators:
            replica = self.replicas[index]
            first = min(replica.final_height, chain.final_height) + 1
            known = [vote for height in range(first - 1, chain.head.height + 1) for vote in chain.votes(height)]
            mandate = chain.mandate(chain.term)
            try:
                votes = follow(replica, chain.blocks(first), known, mandate, self.validators[index])
            except Refusal:
                continue
            for vote in votes:
                if vote.block_hash == chain.head_hash:
                    chain.add_votes(vote.height, [vote])
                    signed.append(index)
        self.note()
        return signed

    def note(self) -> None:
        """Remember every block that is final anywhere; no height may ever have two."""
        for chain in (*self.keepers, *self.replicas):
            for height in range(1, chain.final_height + 1):
                block_hash = chain.block(height).hash
                assert self.final.setdefault(height, block_hash) == block_hash, f"two final blocks of height {height}"

    def take_over(self, keeper: int, validators, term: int) -> None:
        """Ask validators for promises, absorb what they know to be final, and lead."""
        pledges = []
        for index in validators:
            try:
                pledges.append(promise(self.replicas[index], term, self.validators[index]))
            except Refusal:
                continue
        self.learn(keeper, validators)
        lead(self.keepers[keeper], term, pledges, self.key)

    def learn(self, keeper: int, validators) -> None:
        """Let a keeper take in what replicas know to be final."""
        chain = self.keepers[keeper]
        for index in validators:
            replica = self.replicas[index]
            if replica.final_height > chain.final_height:
                first, last = chain.final_height + 1, replica.final_height
                votes = [vote for height in range(first, last + 1) for vote in replica.votes(height)]
                absorb(chain, replica.blocks(first, last), votes)

    def restart(self, validator: int) -> None:
        """Close and open a replica."""
        path = self.replicas[validator].path
        self.replicas[validator].close()
        self.replicas[validator] = Chain.open(path, write=True)

    def close(self) -> None:
        """Everything again from its genesis, and one history."""
        self.note()
        for chain in (*self.keepers, *self.replicas):
            chain.close()
            assert verify(chain.path).final_height == chain.final_height


@pytest.fixture
def cast(network, tmp_path) -> "object":
    """Six chains, replayed at the end of the test."""
    made = Cast(network, tmp_path)
    yield made
    made.close()


def run_to(cast: Cast, keeper: int, height: int) -> None:
    """Blocks that all sign."""
    while cast.keepers[keeper].head.height < height:
        cast.build(keeper)
        assert cast.show(keeper) == [0, 1, 2, 3]


def test_the_first_keeper_goes_on_believing_and_gets_nowhere(cast):
    run_to(cast, 0, 4)
    cast.take_over(1, LAST_THREE, term=1)
    lost = cast.build(0, mark=1)
    assert cast.show(0) == [0], "only who promised nothing signs"
    won = cast.build(1, mark=2)
    assert won.height == lost.height
    assert cast.show(1) == [0, 1, 2, 3], "the one that signed the other block follows the mandate"
    assert cast.keepers[1].final_height == 5
    for attempt in range(3):
        assert cast.show(0) == [], attempt
    run_to(cast, 1, 9)
    cast.learn(0, LAST_THREE)
    assert cast.keepers[0].head_hash == cast.keepers[1].block(cast.keepers[0].head.height).hash
    with pytest.raises(Refusal, match="no_mandate"):
        cast.build(0)


def test_a_block_that_was_final_before_anybody_heard_is_adopted_as_it_is(cast):
    run_to(cast, 0, 1)
    block = cast.build(0, mark=1)
    for index in FIRST_THREE:
        follow(cast.replicas[index], [block], cast.keepers[0].votes(1), None, cast.validators[index])
    cast.keepers[0].close()
    cast.keepers[0] = Chain.open(cast.keepers[0].path, write=True)
    cast.take_over(1, LAST_THREE, term=1)
    assert cast.keepers[1].head_hash == block.hash
    assert cast.keepers[1].mandate(1).base.block_hash == block.hash
    assert sorted(cast.show(1)) == [0, 1, 2, 3]
    assert {vote.term for vote in cast.keepers[1].votes(2)} == {1}
    assert cast.keepers[1].is_final(2)
    run_to(cast, 1, 4)
    assert cast.keepers[1].head.term == 1


def test_a_block_that_one_validator_signed_is_adopted_where_it_promises(cast):
    run_to(cast, 0, 3)
    block = cast.build(0, mark=1)
    assert cast.show(0, [2]) == [2]
    cast.take_over(1, LAST_THREE, term=1)
    assert cast.keepers[1].head_hash == block.hash
    assert not cast.keepers[1].is_final(4)
    cast.take_over(0, FIRST_THREE, term=2)
    assert cast.show(1) == [3], "only who did not promise term 2 still signs for term 1"
    assert sorted(cast.show(0)) == [0, 1, 2, 3]
    assert cast.keepers[0].is_final(4)
    cast.take_over(1, LAST_THREE, term=3)
    run_to(cast, 1, 6)


def test_promises_and_votes_outlive_a_restart(cast):
    run_to(cast, 0, 1)
    block = cast.build(0, mark=1)
    assert cast.show(0, [1]) == [1]
    for index in LAST_THREE:
        promise(cast.replicas[index], 2, cast.validators[index])
    for index in range(4):
        cast.restart(index)
    assert cast.show(0) == [0]
    for term in (1, 2):
        with pytest.raises(Refusal, match="wrong_term"):
            promise(cast.replicas[1], term, cast.validators[1])
    pledge = promise(cast.replicas[1], 3, cast.validators[1])
    assert pledge.promise.last.block_hash == block.hash == pledge.block.hash


def test_a_block_adopted_twice_is_still_shown_to_be_the_keepers(cast):
    run_to(cast, 0, 1)
    block = cast.build(0, mark=1)
    assert cast.show(0, [1]) == [1]
    cast.take_over(1, LAST_THREE, term=1)
    assert cast.show(1, [1, 2]) == [1, 2]
    for index in LAST_THREE:
        promise(cast.replicas[index], 2, cast.validators[index])
    pledge = promise(cast.replicas[2], 3, cast.validators[2])
    assert (pledge.promise.last.term, pledge.block.header.term, pledge.mandate.term) == (1, 0, 1)
    cast.take_over(0, LAST_THREE, term=4)
    assert cast.keepers[0].head_hash == block.hash
    assert cast.show(0, LAST_THREE) == [1, 2, 3]


def test_who_cannot_show_promises_writes_nothing(cast):
    run_to(cast, 0, 2)
    pledges = [promise(cast.replicas[index], 1, cast.validators[index]) for index in (0, 1)]
    cast.learn(1, [0])
    with pytest.raises(Refusal, match="no_mandate") as refused:
        lead(cast.keepers[1], 1, pledges, cast.key)
    assert cast.validators[2].public.hex()[:16] in str(refused.value)
    assert cast.keepers[1].term == 0
    cast.keepers[1].set_term(1, None)
    with pytest.raises(Refusal, match="no_mandate"):
        cast.build(1)
    more = [*pledges, promise(cast.replicas[2], 1, cast.validators[2])]
    lead(cast.keepers[1], 2, [promise(cast.replicas[i], 2, cast.validators[i]) for i in range(3)], cast.key)
    with pytest.raises(Refusal, match="wrong_term"):
        lead(cast.keepers[1], 1, more, cast.key)
    assert cast.show(1) == [0, 1, 2, 3]
    run_to(cast, 1, 3)


def test_a_keeper_that_contradicts_itself_gets_one_block_final_and_is_proven(cast):
    run_to(cast, 0, 3)
    cast.keepers[1].close()
    twin = cast.folder / "keeper 1.db"
    cast.keepers[0].close()
    shutil.copy(cast.keepers[0].path, twin)
    cast.keepers = [Chain.open(cast.folder / f"keeper {index}.db", write=True) for index in range(2)]
    blocks = [cast.build(index, mark=index + 1) for index in range(2)]
    assert blocks[0].hash != blocks[1].hash
    assert (blocks[0].height, blocks[0].header.term) == (blocks[1].height, blocks[1].header.term)
    assert cast.show(0, [0]) == [0]
    assert cast.show(1) == [1, 2, 3]
    assert cast.show(0) == [0]
    assert (cast.keepers[0].final_height, cast.keepers[1].final_height) == (3, 4)
    cast.take_over(1, LAST_THREE, term=1)
    assert sorted(cast.show(1)) == [0, 1, 2, 3], "the validator that signed the loser follows"
    first, second = (SignedHeader(header=block.header, signature=block.signature) for block in blocks)
    chain, reporter = cast.keepers[1], cast.network.coldkeys[0]
    proof = Equivocation(proof=TwoHeaders(first=first, second=second))
    report = cast.network.sign(proof, reporter, nonce=chain.state.nonce(reporter.public) + 1)
    block = chain.build("commit", [report], term=1, keypair=cast.key)
    assert block.receipts == ("ok",)
    assert cast.show(1) == [0, 1, 2, 3]


def test_a_head_is_taken_back_exactly_and_never_when_it_is_final(cast):
    run_to(cast, 0, 5)
    chain = cast.keepers[0]
    with pytest.raises(Refusal, match="final and stays"):
        chain.withdraw_head()
    before = (chain.head_hash, chain.state.root, dict(chain.state.encoded_rows()))
    block = cast.build(0, mark=3)
    assert block.header.kind == "close"
    assert chain.withdraw_head() == block
    assert (chain.head_hash, chain.state.root, dict(chain.state.encoded_rows())) == before
    assert verify(chain.path).height == 5
    chain.close()
    cast.keepers[0] = chain = Chain.open(chain.path, write=True)
    assert chain.head_hash == before[0]
    run_to(cast, 0, 7)


def test_a_set_that_changed_must_have_promised_too(cast):
    run_to(cast, 0, 1)
    treasury, chain = cast.network.treasury, cast.keepers[0]
    call = AddStake(hotkey=cast.validators[3].public, amount_rao=950 * RAO_PER_TAO)
    staked = cast.network.sign(call, treasury, nonce=chain.state.nonce(treasury.public) + 1)
    assert chain.build("commit", [staked], term=0, keypair=cast.key).receipts == ("ok",)
    cast.show(0)
    cast.build(0)
    assert cast.show(0, FIRST_THREE) == [0, 1, 2]
    opened = cast.build(0)
    assert cast.show(0, (0, 3)) == [0, 3]
    assert cast.keepers[0].final_height == 4, "the stake of two suffices in the new set"
    with pytest.raises(Refusal, match="no_mandate") as refused:
        cast.take_over(1, FIRST_THREE, term=1)
    assert cast.validators[3].public.hex()[:16] in str(refused.value)
    cast.take_over(1, (0, 3), term=2)
    assert cast.keepers[1].head_hash == opened.hash
    run_to(cast, 1, 6)


def test_nothing_is_told_that_is_not_on_disk(cast, monkeypatch):
    run_to(cast, 0, 1)
    replica, key = cast.replicas[0], cast.validators[0]

    def sign_after_the_disk(term, last, keypair, genesis_hash):
        with Chain.open(cast.replicas[cast.validators.index(keypair)].path) as reader:
            assert reader.term == term
        return sign_promise(term, last, keypair, genesis_hash)

    monkeypatch.setattr("ledger.store.replica.sign_promise", sign_after_the_disk)
    promise(replica, 1, key)
    cast.take_over(1, LAST_THREE, term=2)
    block = cast.build(1)
    (vote,) = follow(replica, [block], cast.keepers[1].votes(1), cast.keepers[1].mandate(2), key)
    with Chain.open(replica.path) as reader:
        assert vote in reader.votes(2)
    monkeypatch.setattr(Chain, "set_term", _full_disk)
    monkeypatch.setattr(Chain, "add_votes", _full_disk)
    with pytest.raises(StoreError):
        promise(replica, 3, key)
    with pytest.raises(StoreError):
        follow(cast.replicas[1], [block], cast.keepers[1].votes(1), None, cast.validators[1])
    monkeypatch.undo()
    assert sorted(cast.show(1)) == [0, 1, 2, 3]


def _full_disk(*arguments: object) -> None:
    raise StoreError("the disk is full")


moves = st.one_of(
    st.tuples(st.just("build"), st.integers(0, 1), st.just(())),
    st.tuples(st.just("show"), st.integers(0, 1), st.sets(st.integers(0, 3))),
    st.tuples(st.just("show"), st.integers(0, 1), st.just({0, 1, 2, 3})),
    st.tuples(st.just("lead"), st.integers(0, 1), st.sets(st.integers(0, 3), min_size=3)),
    st.tuples(st.just("learn"), st.integers(0, 1), st.sets(st.integers(0, 3))),
    st.tuples(st.just("restart"), st.integers(0, 3), st.just(())),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=st.lists(moves, max_size=25))
def test_any_order_of_steps_leaves_one_history(network, tmp_path_factory: pytest.TempPathFactory, plan):
    cast = Cast(network, tmp_path_factory.mktemp("cast"))
    term = 0
    for step, (name, who, whom) in enumerate(plan):
        if name == "restart":
            cast.restart(who)
        elif name == "show":
            cast.show(who, sorted(whom))
        elif name == "lead":
            term += 1
            _try(cast.take_over, who, sorted(whom), term)
        elif name == "learn":
            _try(cast.learn, who, sorted(whom))
        elif cast.keepers[who].is_final(cast.keepers[who].head.height):
            _try(cast.build, who, step)
        cast.note()
    finals = dict(cast.final)
    cast.take_over(0, FIRST_THREE, term + 1)
    goal = cast.keepers[0].final_height + 2
    while cast.keepers[0].final_height < goal:
        if cast.keepers[0].is_final(cast.keepers[0].head.height):
            cast.build(0, 99)
        assert set(cast.show(0)) >= set(FIRST_THREE), "who answers is enough to go on"
    assert all(cast.keepers[0].block(height).hash == block_hash for height, block_hash in finals.items())
    cast.close()


def _try(action: Callable[..., object], *arguments: object) -> None:
    """What a keeper may not do now, it doesn't."""
    try:
        action(*arguments)
    except Refusal:
        return
