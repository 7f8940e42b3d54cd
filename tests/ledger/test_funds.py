"""Balances, stake, registration and publication: what each call moves, and what each refuses."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.errors import DamagedLedger
from ledger.execution import apply_extrinsic, create_state, execute
from ledger.extrinsics import (
    AddStake,
    CommitWeights,
    Publish,
    Register,
    RemoveStake,
    RevealWeights,
    Transfer,
    sign_extrinsic,
)
from ledger.genesis import Genesis, GenesisNeuron
from ledger.keys import Keypair
from ledger.parameters import Parameters
from ledger.rules.funds import pay_into_pool, raise_pool
from ledger.rules.membership import choose_replaced, compute_bumped_price, compute_decayed_price
from ledger.state import State, check_supply
from ledger.units import CAP_RAO, RAO_PER_TAO

KEYS = [Keypair.from_seed(bytes([index]) * 32) for index in range(8)]
PUBLICS = [key.public for key in KEYS]
VALIDATOR, PEER, OWNER, RICH, POOR, STRANGER = 0, 1, 2, 3, 4, 5


def genesis(**parameters) -> Genesis:
    return Genesis(
        network="rules",
        keeper=PUBLICS[7],
        parameters=Parameters(**parameters),
        balances=((PUBLICS[RICH], 50 * RAO_PER_TAO), (PUBLICS[POOR], 1000), (PUBLICS[OWNER], 10 * RAO_PER_TAO)),
        stakes=((PUBLICS[VALIDATOR], PUBLICS[OWNER], 7 * RAO_PER_TAO),),
        neurons=(
            GenesisNeuron(hotkey=PUBLICS[VALIDATOR], coldkey=PUBLICS[OWNER], name="validator", permit=True),
            GenesisNeuron(hotkey=PUBLICS[PEER], coldkey=PUBLICS[OWNER], name="peer"),
        ),
    )


def make_state(**parameters) -> State:
    state = create_state(genesis(**parameters))
    state.accept(state.seal())
    return state


@pytest.fixture
def state() -> State:
    return make_state()


def apply(state: State, signer: int, call, *, kind="open", nonce=None, valid_until=10**6) -> str:
    """The receipt; supply is checked, and a refusal has to leave every row as it was."""
    key = KEYS[signer]
    before = dict(state.encoded_rows())
    nonce = state.nonce(key.public) + 1 if nonce is None else nonce
    extrinsic = sign_extrinsic(call, key, genesis_hash=state.genesis_hash, nonce=nonce, valid_until=valid_until)
    receipt = apply_extrinsic(state, kind, extrinsic)
    check_supply(state)
    if receipt != "ok":
        assert dict(state.encoded_rows()) == before
    return receipt


def test_a_transfer_moves_exactly_the_amount(state):
    assert apply(state, RICH, Transfer(to=PUBLICS[STRANGER], amount_rao=700)) == "ok"
    assert state.account(PUBLICS[STRANGER]) == 700
    assert state.account(PUBLICS[RICH]) == 50 * RAO_PER_TAO - 700
    assert apply(state, RICH, Transfer(to=PUBLICS[RICH], amount_rao=5)) == "ok"
    assert state.account(PUBLICS[RICH]) == 50 * RAO_PER_TAO - 700


def test_an_account_left_below_the_existential_deposit_is_removed_and_its_rest_burned(state):
    assert apply(state, POOR, Transfer(to=PUBLICS[RICH], amount_rao=600)) == "ok"
    assert state.accounts.get(PUBLICS[POOR]) is None
    assert state.supply().burned_rao == 400
    assert state.nonce(PUBLICS[POOR]) == 1
    assert apply(state, RICH, Transfer(to=PUBLICS[POOR], amount_rao=2000)) == "ok"
    assert apply(state, POOR, Transfer(to=PUBLICS[RICH], amount_rao=600), nonce=1) == "bad_nonce"


def test_transfers_are_refused(state):
    assert apply(state, POOR, Transfer(to=PUBLICS[RICH], amount_rao=1001)) == "insufficient_balance"
    assert apply(state, STRANGER, Transfer(to=PUBLICS[RICH], amount_rao=1)) == "insufficient_balance"
    assert apply(state, RICH, Transfer(to=PUBLICS[STRANGER], amount_rao=499)) == "account_too_small"
    assert apply(state, RICH, Transfer(to=PUBLICS[STRANGER], amount_rao=0)) == "amount_too_small"
    assert apply(state, RICH, Transfer(to=PUBLICS[STRANGER], amount_rao=CAP_RAO)) == "insufficient_balance"


def test_the_envelope_is_checked(state):
    call = Transfer(to=PUBLICS[STRANGER], amount_rao=1000)
    assert apply(state, RICH, call, nonce=0) == "bad_nonce"
    assert apply(state, RICH, call, nonce=2) == "bad_nonce"
    assert apply(state, RICH, call) == "ok"
    assert apply(state, RICH, call, nonce=1) == "bad_nonce"
    execute(state, "open", [], height=9, parent=bytes(32))
    assert apply(state, RICH, call, valid_until=8) == "expired"
    assert apply(state, RICH, call, valid_until=9) == "ok"
    assert apply(state, PEER, Publish(manifest=b"\1" * 32), kind="commit") == "wrong_phase"
    assert apply(state, VALIDATOR, CommitWeights(epoch=1, commitment=bytes(32)), kind="open") == "wrong_phase"


def test_stake_goes_in_and_out_at_par_before_any_payout(state):
    hotkey = PUBLICS[VALIDATOR]
    assert apply(state, RICH, AddStake(hotkey=hotkey, amount_rao=3 * RAO_PER_TAO)) == "ok"
    assert (state.stake(hotkey), state.stake_of(hotkey, PUBLICS[RICH])) == (10 * RAO_PER_TAO, 3 * RAO_PER_TAO)
    assert apply(state, RICH, RemoveStake(hotkey=hotkey, amount_rao=3 * RAO_PER_TAO + 1)) == "insufficient_stake"
    assert apply(state, RICH, RemoveStake(hotkey=hotkey, amount_rao=3 * RAO_PER_TAO)) == "ok"
    assert state.account(PUBLICS[RICH]) == 50 * RAO_PER_TAO
    assert state.shares.get(hotkey + PUBLICS[RICH]) is None


def test_stake_is_refused(state):
    hotkey = PUBLICS[VALIDATOR]
    assert apply(state, RICH, AddStake(hotkey=hotkey, amount_rao=499)) == "amount_too_small"
    assert apply(state, RICH, AddStake(hotkey=PUBLICS[STRANGER], amount_rao=10**6)) == "not_registered"
    assert apply(state, POOR, AddStake(hotkey=hotkey, amount_rao=1001)) == "insufficient_balance"
    assert apply(state, RICH, RemoveStake(hotkey=hotkey, amount_rao=500)) == "insufficient_stake"
    assert apply(state, RICH, RemoveStake(hotkey=PUBLICS[STRANGER], amount_rao=500)) == "insufficient_stake"
    assert apply(state, OWNER, RemoveStake(hotkey=hotkey, amount_rao=7 * RAO_PER_TAO)) == "ok"
    assert state.pools.get(hotkey) is None


def mint(state: State, amount_rao: int) -> None:
    scalars = state.globals
    minted = {"issuance_rao": scalars.issuance_rao + amount_rao, "minted_rao": scalars.minted_rao + amount_rao}
    state.scalars.put(b"", replace(scalars, **minted))


amounts = st.integers(500, 20 * RAO_PER_TAO)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "payout", "own"]), st.sampled_from([RICH, OWNER]), amounts))
)
def test_shares_never_take_from_the_other_stakers(steps):
    """Whatever one coldkey does with a pool, the other's stake never falls, and shares always sum to the pool's."""
    state, hotkey = make_state(), PUBLICS[VALIDATOR]
    for action, signer, amount_rao in steps:
        other = PUBLICS[OWNER if signer == RICH else RICH]
        worth_rao = state.stake_of(hotkey, other)
        total_rao = state.stake(hotkey)
        free_rao = state.account(PUBLICS[signer])
        if action == "add" and apply(state, signer, AddStake(hotkey=hotkey, amount_rao=amount_rao)) == "ok":
            assert state.account(PUBLICS[signer]) >= free_rao - amount_rao or free_rao - amount_rao < 500
        elif action == "remove" and apply(state, signer, RemoveStake(hotkey=hotkey, amount_rao=amount_rao)) == "ok":
            assert state.account(PUBLICS[signer]) >= free_rao + amount_rao
        elif action == "payout" and state.pools.get(hotkey) is not None:
            mint(state, amount_rao)
            raise_pool(state, hotkey, amount_rao)
            assert state.stake(hotkey) == total_rao + amount_rao
        elif action == "own":
            mint(state, amount_rao)
            pay_into_pool(state, hotkey, PUBLICS[signer], amount_rao)
            assert state.stake(hotkey) == total_rao + amount_rao
        assert state.stake_of(hotkey, other) >= worth_rao
        pool = state.pools.get(hotkey)
        owned = [row.shares for key, row in state.shares.entries.items() if key.startswith(hotkey)]
        assert sum(owned) == (0 if pool is None else pool.shares)
        assert pool is None or 0 < pool.shares <= pool.total_rao


def test_registration_burns_the_price_and_raises_it(state):
    call = Register(hotkey=PUBLICS[STRANGER], name="new", max_price_rao=RAO_PER_TAO)
    assert apply(state, RICH, call) == "ok"
    neuron = state.neuron_by_hotkey(PUBLICS[STRANGER])
    assert (neuron.uid, neuron.coldkey, neuron.permit, neuron.revealed_epoch) == (2, PUBLICS[RICH], False, -1)
    assert state.supply().burned_rao == RAO_PER_TAO
    assert state.account(PUBLICS[RICH]) == 49 * RAO_PER_TAO
    assert state.globals.price_rao == 1_260_000_000
    assert apply(state, OWNER, Register(hotkey=PUBLICS[6], name="dear", max_price_rao=RAO_PER_TAO)) == "price_too_high"
    assert apply(state, OWNER, Register(hotkey=PUBLICS[PEER], name="x", max_price_rao=CAP_RAO)) == "already_registered"
    assert apply(state, POOR, Register(hotkey=PUBLICS[6], name="x", max_price_rao=CAP_RAO)) == "insufficient_balance"


def test_the_least_earning_neuron_past_immunity_makes_room_and_keeps_its_stake(state):
    state = make_state(max_uids=2, immunity=720)
    call = Register(hotkey=PUBLICS[STRANGER], name="new", max_price_rao=CAP_RAO)
    assert apply(state, RICH, call) == "no_slot"
    for epoch in (1, 2):
        for height, kind in enumerate(("open", "commit", "close"), 3 * epoch):
            execute(state, kind, [], height=height, parent=bytes(32))
    assert state.neuron(0).emission_rao > 0
    assert state.neuron(1).emission_rao == 0
    assert apply(state, RICH, AddStake(hotkey=PUBLICS[PEER], amount_rao=RAO_PER_TAO)) == "ok"
    assert apply(state, RICH, call) == "ok"
    assert state.neuron_by_hotkey(PUBLICS[STRANGER]).uid == 1
    assert state.neuron_by_hotkey(PUBLICS[PEER]) is None
    assert state.stake_of(PUBLICS[PEER], PUBLICS[RICH]) == RAO_PER_TAO
    assert apply(state, RICH, RemoveStake(hotkey=PUBLICS[PEER], amount_rao=RAO_PER_TAO)) == "ok"
    assert apply(state, RICH, Register(hotkey=PUBLICS[PEER], name="mine", max_price_rao=CAP_RAO)) == "not_owner"
    assert apply(state, PEER, Publish(manifest=b"\1" * 32)) == "not_registered"


def test_a_publication_is_in_the_next_roster_and_only_there(state):
    assert apply(state, PEER, Publish(manifest=b"\1" * 32)) == "ok"
    assert apply(state, PEER, Publish(manifest=b"\2" * 32)) == "ok"
    assert apply(state, PEER, Publish(manifest=bytes(32))) == "invalid_call"
    assert apply(state, STRANGER, Publish(manifest=b"\1" * 32)) == "not_registered"
    execute(state, "open", [], height=1, parent=bytes(32))
    assert [(neuron.uid, neuron.manifest, neuron.versions) for neuron in state.roster()] == [(1, b"\2" * 32, 2)]
    for height, kind in enumerate(("commit", "close", "open"), 2):
        execute(state, kind, [], height=height, parent=bytes(32))
    assert state.roster() == []


def _golden(kind: str) -> list[dict]:
    cases = json.loads((Path(__file__).parents[1] / "golden" / "yuma.json").read_text())["cases"]
    return [case for case in cases if case["kind"] == kind]


def test_the_price_of_registration_follows_the_reference():
    case = _golden("burn_price")[0]
    for given_case, expected in zip(case["input"]["cases"], case["expected"]["burns"], strict=True):
        parameters = Parameters(
            registration_half_life=given_case["half_life"],
            registration_bump=(given_case["mult"], 1),
            registration_price_min_rao=given_case["min"],
            registration_price_max_rao=min(given_case["max"], CAP_RAO),
        )
        price_rao = given_case["burn"]
        for operation, after in zip(given_case["ops"], expected, strict=True):
            if operation == "register":
                price_rao = compute_bumped_price(price_rao, parameters)
            else:
                price_rao = compute_decayed_price(price_rao, 1, parameters)
            assert after is None or price_rao == after


@pytest.mark.parametrize(("blocks", "expected"), [(0, 10**9), (360, 5 * 10**8), (720, 25 * 10**7), (10**6, 500_000)])
def test_the_price_halves_exactly_each_half_life_down_to_its_floor(blocks, expected):
    assert compute_decayed_price(10**9, blocks, Parameters()) == expected


def test_who_makes_room_follows_the_reference(state):
    """Cases of the reference in which nobody is kept by a rule that this ledger doesn't have."""
    case = _golden("prune")[0]
    for given_case, expected in zip(case["input"]["cases"], case["expected"]["uid"], strict=True):
        immune = [
            given_case["current_block"] - neuron["registered_at"] < given_case["immunity_period"]
            for neuron in given_case["neurons"]
        ]
        if all(immune) or any("immortal" in neuron for neuron in given_case["neurons"]) or given_case["min_non_immune"]:
            continue
        neurons = [
            replace(
                state.neuron(0),
                uid=neuron["uid"],
                incentive_rao=neuron["emission"],
                registered_at=neuron["registered_at"],
                registered_epoch=neuron["registered_at"],
            )
            for neuron in given_case["neurons"]
        ]
        parameters = Parameters(tempo=1, immunity=given_case["immunity_period"])
        assert choose_replaced(neurons, given_case["current_block"], parameters).uid == expected


random_calls = st.one_of(
    st.builds(Transfer, to=st.sampled_from(PUBLICS), amount_rao=st.integers(0, 60 * RAO_PER_TAO)),
    st.builds(Transfer, to=st.sampled_from(PUBLICS), amount_rao=st.integers(0, 2000)),
    st.builds(AddStake, hotkey=st.sampled_from(PUBLICS), amount_rao=st.integers(0, 20 * RAO_PER_TAO)),
    st.builds(RemoveStake, hotkey=st.sampled_from(PUBLICS), amount_rao=st.integers(0, 20 * RAO_PER_TAO)),
    st.builds(Register, hotkey=st.sampled_from(PUBLICS), name=st.just("n"), max_price_rao=st.just(CAP_RAO)),
    st.builds(Publish, manifest=st.sampled_from(PUBLICS)),
    st.builds(CommitWeights, epoch=st.integers(0, 3), commitment=st.just(bytes(32))),
    st.builds(
        RevealWeights,
        epoch=st.integers(0, 3),
        uids=st.just((1,)),
        values=st.just((1,)),
        evidence=st.just(bytes(32)),
        salt=st.just(bytes(32)),
        seed_signature=st.just(bytes(64)),
        strata=st.just(("all",)),
        members=st.just(()),
    ),
)
steps = st.lists(st.tuples(st.integers(0, 7), random_calls, st.integers(0, 9)), max_size=25)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, min_size=1, max_size=5))
def test_no_sequence_of_extrinsics_makes_or_loses_a_rao(blocks):
    """Supply is checked after each extrinsic and block, a refusal leaves every row, running sums equal a recount."""
    state = make_state(max_uids=4, immunity=0)
    for height, block in enumerate(blocks, 1):
        kind = ("open", "commit", "close")[(height - 1) % 3]
        for signer, call, slip in block:
            apply(state, signer, call, kind=kind, nonce=state.nonce(PUBLICS[signer]) + (1 if slip else 2))
        execute(state, kind, [], height=height, parent=bytes(32))
        sealed = state.seal()
        state.accept(sealed)
        assert state.root == sealed.root
    supply = state.supply()
    assert supply.free_rao == sum(row.free_rao for row in state.accounts.entries.values())
    assert supply.pools_rao == sum(row.total_rao for row in state.pools.entries.values())
    assert all(row.free_rao >= 500 for row in state.accounts.entries.values())
    restored = State(genesis(max_uids=4, immunity=0))
    restored.load(state.encoded_rows())
    assert restored.root == state.root


def test_a_state_whose_sums_are_off_is_damage(state):
    state.accounts.put(PUBLICS[STRANGER], state.accounts.get(PUBLICS[POOR]))
    with pytest.raises(DamagedLedger, match="issuance"):
        state.seal()
    state.undo()
    check_supply(state)


def test_sums_over_all_epochs_may_pass_the_cap():
    state = make_state()
    scalars = state.globals
    minted, burned = scalars.minted_rao + CAP_RAO + 1, scalars.burned_rao + CAP_RAO + 1
    state.scalars.put(b"", replace(scalars, minted_rao=minted, burned_rao=burned))
    state.accept(state.seal())
    restored = State(genesis())
    restored.load(state.encoded_rows())
    assert restored.root == state.root
