"""What a hotkey and its owner say of a neuron: withdraw, checkpoint, serve, identity, take, and swaps."""

import pytest

from ledger.execution import apply_extrinsic, create_state, execute
from ledger.extrinsics import (
    AddStake,
    Checkpoint,
    Publish,
    Register,
    RemoveStake,
    Serve,
    SetIdentity,
    SetTake,
    SwapHotkey,
    Withdraw,
    sign_extrinsic,
)
from ledger.genesis import Genesis, GenesisNeuron
from ledger.keys import Keypair
from ledger.parameters import Parameters
from ledger.state import State, check_supply
from ledger.units import CAP_RAO, RAO_PER_TAO

KEYS = [Keypair.from_seed(bytes([64 + index]) * 32) for index in range(8)]
PUBLICS = [key.public for key in KEYS]
VALIDATOR, PEER, OWNER, STAKER, FRESH, FRESHER, STRANGER, KEEPER = range(8)


def make_state(**parameters) -> State:
    genesis = Genesis(
        network="standing",
        keeper=PUBLICS[KEEPER],
        parameters=Parameters(**parameters),
        balances=((PUBLICS[OWNER], 50 * RAO_PER_TAO), (PUBLICS[STAKER], 50 * RAO_PER_TAO)),
        stakes=(
            (PUBLICS[VALIDATOR], PUBLICS[OWNER], 7 * RAO_PER_TAO),
            (PUBLICS[VALIDATOR], PUBLICS[STAKER], 3 * RAO_PER_TAO),
        ),
        neurons=(
            GenesisNeuron(hotkey=PUBLICS[VALIDATOR], coldkey=PUBLICS[OWNER], name="validator", permit=True),
            GenesisNeuron(hotkey=PUBLICS[PEER], coldkey=PUBLICS[OWNER], name="peer"),
        ),
    )
    state = create_state(genesis)
    state.accept(state.seal())
    return state


@pytest.fixture
def state() -> State:
    return make_state()


def apply(state: State, signer: int, call, *, kind="open") -> str:
    """The receipt; supply is checked, and a refusal has to leave every row as it was."""
    key, before = KEYS[signer], dict(state.encoded_rows())
    extrinsic = sign_extrinsic(
        call, key, genesis_hash=state.genesis_hash, nonce=state.nonce(key.public) + 1, valid_until=10**6
    )
    receipt = apply_extrinsic(state, kind, extrinsic)
    check_supply(state)
    assert receipt == "ok" or dict(state.encoded_rows()) == before
    return receipt


def turn_epoch(state: State) -> None:
    for kind in ("open", "commit", "close"):
        execute(state, kind, [], height=state.globals.height + 1, parent=bytes(32))
        state.accept(state.seal())


def test_a_withdrawn_version_is_in_no_roster_and_may_be_published_again(state):
    assert apply(state, PEER, Withdraw()) == "no_version"
    assert apply(state, STRANGER, Withdraw()) == "not_registered"
    assert apply(state, PEER, Publish(manifest=b"\1" * 32)) == "ok"
    assert apply(state, PEER, Withdraw(), kind="commit") == "wrong_phase"
    assert apply(state, PEER, Withdraw()) == "ok"
    execute(state, "open", [], height=1, parent=bytes(32))
    assert (state.roster(), state.neuron(1).manifest, state.neuron(1).versions) == ([], None, 1)
    execute(state, "commit", [], height=2, parent=bytes(32))
    execute(state, "close", [], height=3, parent=bytes(32))
    assert apply(state, PEER, Publish(manifest=b"\1" * 32)) == "ok"
    execute(state, "open", [], height=4, parent=bytes(32))
    assert [neuron.uid for neuron in state.roster()] == [1]


def test_the_latest_checkpoint_is_kept_with_its_height(state):
    assert apply(state, STRANGER, Checkpoint(parameters=bytes(32), manifest=bytes(32))) == "not_registered"
    for number, kind in enumerate(("open", "commit", "close")):
        call = Checkpoint(parameters=bytes([number]) * 32, manifest=b"\7" * 32)
        assert apply(state, PEER, call, kind=kind) == "ok"
        execute(state, kind, [], height=number + 1, parent=bytes(32))
    kept = state.neuron(1).checkpoint
    assert (kept.parameters, kept.manifest, kept.height) == (b"\2" * 32, b"\7" * 32, 2)
    assert state.neuron(0).checkpoint is None


def test_an_endpoint_is_shown_until_it_is_cleared(state):
    assert apply(state, PEER, Serve(endpoint="https://peer.example:8091/ask"), kind="close") == "ok"
    assert state.neuron(1).endpoint == "https://peer.example:8091/ask"
    assert apply(state, PEER, Serve(endpoint=None)) == "ok"
    assert state.neuron(1).endpoint is None
    assert apply(state, STRANGER, Serve(endpoint=None)) == "not_registered"


def test_an_identity_is_the_coldkeys_word(state):
    call = SetIdentity(hotkey=PUBLICS[PEER], name="Ada", url="https://ada.example", description="")
    assert apply(state, STRANGER, call) == "not_owner"
    assert apply(state, PEER, call) == "not_owner"
    assert apply(state, OWNER, call) == "ok"
    assert state.identities.get(PUBLICS[PEER]).name == "Ada"
    assert apply(state, OWNER, call) == "rate_limited"
    assert (
        apply(state, OWNER, SetIdentity(hotkey=PUBLICS[STRANGER], name="x", url="", description="")) == "not_registered"
    )


def test_limits_are_per_hotkey_and_epoch(state):
    state = make_state(publish_limit=2, serve_limit=1)
    publish, serve = Publish(manifest=b"\1" * 32), Serve(endpoint=None)
    assert [apply(state, PEER, publish) for _ in range(3)] == ["ok", "ok", "rate_limited"]
    assert [apply(state, PEER, serve) for _ in range(2)] == ["ok", "rate_limited"]
    assert apply(state, VALIDATOR, serve) == "ok"
    execute(state, "open", [], height=1, parent=bytes(32))
    assert apply(state, PEER, serve, kind="commit") == "rate_limited"
    execute(state, "commit", [], height=2, parent=bytes(32))
    execute(state, "close", [], height=3, parent=bytes(32))
    assert apply(state, PEER, publish) == "ok"
    assert apply(state, PEER, serve) == "ok"


def test_a_take_is_bounded_and_rises_only_after_its_interval():
    state = make_state(take_min=(1, 100), take_max=(1, 2), take_raise_interval=720, set_take_limit=9)

    def set_take(take: int, signer: int = OWNER, kind: str = "open") -> str:
        return apply(state, signer, SetTake(hotkey=PUBLICS[VALIDATOR], take=take), kind=kind)

    assert state.take(PUBLICS[VALIDATOR]) == (18, 100)
    assert set_take(655) == "take_out_of_bounds"
    assert set_take(32768) == "take_out_of_bounds"
    assert set_take(20000, signer=STAKER) == "not_owner"
    assert set_take(20000, kind="close") == "wrong_phase"
    assert set_take(32767) == "ok"
    assert set_take(656) == "ok"
    assert state.take(PUBLICS[VALIDATOR]) == (656, 65535)
    assert set_take(657) == "take_raised_early"
    turn_epoch(state)
    assert set_take(657) == "take_raised_early"
    turn_epoch(state)
    assert set_take(657) == "ok"


def test_a_take_decides_what_stakers_get():
    """All emission of an epoch without votes goes to the only stake as dividends."""
    worth = {}
    for take in (None, 0):
        state = make_state()
        if take is not None:
            assert apply(state, OWNER, SetTake(hotkey=PUBLICS[VALIDATOR], take=take)) == "ok"
        turn_epoch(state)
        worth[take] = state.stake_of(PUBLICS[VALIDATOR], PUBLICS[STAKER]) - 3 * RAO_PER_TAO
    minted_rao = 360 * RAO_PER_TAO
    assert abs(worth[0] - minted_rao * 3 // 10) <= 1
    assert abs(worth[None] - minted_rao * 82 // 100 * 3 // 10) <= 1


def test_a_swapped_hotkey_keeps_stake_uid_and_history(state):
    state = make_state(swap_hotkey_limit=2)
    assert apply(state, OWNER, SetTake(hotkey=PUBLICS[VALIDATOR], take=5)) == "ok"
    before = state.neuron(0)
    swap = SwapHotkey(old=PUBLICS[VALIDATOR], new=PUBLICS[FRESH])
    assert apply(state, STAKER, swap) == "not_owner"
    assert apply(state, OWNER, swap, kind="commit") == "wrong_phase"
    assert apply(state, OWNER, SwapHotkey(old=PUBLICS[VALIDATOR], new=PUBLICS[PEER])) == "hotkey_known"
    assert apply(state, OWNER, swap) == "ok"

    neuron = state.neuron_by_hotkey(PUBLICS[FRESH])
    kept = {field: getattr(neuron, field) for field in neuron.__struct_fields__ if field != "hotkey"}
    assert kept == {field: getattr(before, field) for field in kept}
    assert state.neuron_by_hotkey(PUBLICS[VALIDATOR]) is None
    assert state.stake(PUBLICS[FRESH]) == 10 * RAO_PER_TAO
    assert state.stake_of(PUBLICS[FRESH], PUBLICS[STAKER]) == 3 * RAO_PER_TAO
    assert state.take(PUBLICS[FRESH]) == (5, 65535)
    assert apply(state, STAKER, RemoveStake(hotkey=PUBLICS[FRESH], amount_rao=RAO_PER_TAO)) == "ok"
    assert apply(state, STAKER, AddStake(hotkey=PUBLICS[VALIDATOR], amount_rao=RAO_PER_TAO)) == "not_registered"
    assert apply(state, OWNER, swap) == "not_registered"
    register = Register(hotkey=PUBLICS[VALIDATOR], name="again", max_price_rao=CAP_RAO)
    assert apply(state, OWNER, register) == "hotkey_retired"
    assert apply(state, OWNER, SwapHotkey(old=PUBLICS[FRESH], new=PUBLICS[VALIDATOR])) == "hotkey_known"
    assert apply(state, OWNER, SwapHotkey(old=PUBLICS[FRESH], new=PUBLICS[FRESHER])) == "ok"
    assert state.current_hotkey(PUBLICS[VALIDATOR]) == PUBLICS[FRESHER]
    assert apply(state, OWNER, SwapHotkey(old=PUBLICS[FRESHER], new=PUBLICS[STRANGER])) == "rate_limited"

    turn_epoch(state)
    assert state.stake(PUBLICS[FRESHER]) == 369 * RAO_PER_TAO
    assert [member.hotkey for member in state.finality_set] == [PUBLICS[FRESHER]]


def test_a_swap_costs_the_same_for_many_stakers(state):
    written = []
    for stakers in (0, 40):
        state = make_state()
        for number in range(stakers):
            state.shares.put(
                PUBLICS[VALIDATOR] + bytes([number]) * 32, state.shares.get(PUBLICS[VALIDATOR] + PUBLICS[2])
            )
        mark = state.mark()
        assert apply(state, OWNER, SwapHotkey(old=PUBLICS[VALIDATOR], new=PUBLICS[FRESH])) == "ok"
        written.append(state.mark() - mark)
    assert written[0] == written[1]


def test_a_manifest_belongs_to_who_published_it_first(state):
    assert apply(state, PEER, Publish(manifest=b"m" * 32)) == "ok"
    assert apply(state, VALIDATOR, Publish(manifest=b"m" * 32)) == "already_published"
    assert apply(state, PEER, Withdraw()) == "ok"
    assert apply(state, VALIDATOR, Publish(manifest=b"m" * 32)) == "already_published"
    assert apply(state, OWNER, SwapHotkey(old=PUBLICS[PEER], new=PUBLICS[FRESH])) == "ok"
    assert apply(state, FRESH, Publish(manifest=b"m" * 32)) == "ok", "it is the same neuron's"


def test_the_roster_stands_in_order_of_publication(state):
    assert apply(state, PEER, Publish(manifest=b"p" * 32)) == "ok"
    assert apply(state, VALIDATOR, Publish(manifest=b"v" * 32)) == "ok"
    execute(state, "open", [], height=1, parent=bytes(32))
    assert [neuron.uid for neuron in state.roster()] == [1, 0]


def test_who_takes_over_a_uid_starts_with_nothing_and_who_comes_back_keeps_its_own():
    state = make_state(max_uids=2, immunity=0)
    turn_epoch(state)
    assert apply(state, PEER, Publish(manifest=b"\1" * 32)) == "ok"
    assert apply(state, PEER, Serve(endpoint="http://peer.example")) == "ok"
    assert apply(state, PEER, Checkpoint(parameters=b"\1" * 32, manifest=b"\2" * 32)) == "ok"
    assert apply(state, OWNER, SetTake(hotkey=PUBLICS[PEER], take=77)) == "ok"
    assert apply(state, STAKER, AddStake(hotkey=PUBLICS[PEER], amount_rao=RAO_PER_TAO)) == "ok"
    assert apply(state, STAKER, Register(hotkey=PUBLICS[FRESH], name="new", max_price_rao=CAP_RAO)) == "ok"
    taken = state.neuron_by_hotkey(PUBLICS[FRESH])
    shown = (taken.manifest, taken.endpoint, taken.checkpoint, taken.versions, taken.last_update, taken.emission_rao)
    assert shown == (None, None, None, 0, 0, 0)
    assert state.take(PUBLICS[FRESH]) == (18, 100)
    assert apply(state, PEER, Serve(endpoint=None)) == "not_registered"

    turn_epoch(state)
    assert apply(state, OWNER, Register(hotkey=PUBLICS[PEER], name="again", max_price_rao=CAP_RAO)) == "ok"
    assert apply(state, OWNER, SwapHotkey(old=PUBLICS[PEER], new=PUBLICS[STRANGER])) == "ok"
    assert state.take(PUBLICS[STRANGER]) == (77, 65535)
    assert state.stake_of(PUBLICS[STRANGER], PUBLICS[STAKER]) >= RAO_PER_TAO
