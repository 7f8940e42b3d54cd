"""The main line: what a block does to the state. Keeper, replicas and replay all run exactly this.

Invariants: blocks come in the order open, commit, close; extrinsics are applied in order, then the kind's own step; a
refused extrinsic leaves the state, its nonce included, exactly as it was, and shows its code in the receipts.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from ledger.blocks import APPLIED, Kind
from ledger.entries import NEVER, Account, FinalitySet, Globals, Neuron, Nonce, Owner, Slot, Weighted
from ledger.epoch.close import apply_close
from ledger.epoch.collective import BASELINE_ALONE
from ledger.errors import Refusal
from ledger.extrinsics import (
    AddStake,
    Call,
    Checkpoint,
    CommitWeights,
    Contribute,
    Equivocation,
    Extrinsic,
    Publish,
    Register,
    RemoveStake,
    RevealWeights,
    Serve,
    SetIdentity,
    SetTake,
    SwapHotkey,
    Transfer,
    Withdraw,
)
from ledger.genesis import Genesis
from ledger.rules.cohorts import apply_contribute
from ledger.rules.equivocation import apply_equivocation
from ledger.rules.funds import add_shares, apply_add_stake, apply_remove_stake, apply_transfer
from ledger.rules.membership import apply_register, compute_decayed_price
from ledger.rules.presence import apply_serve, apply_set_identity, apply_set_take
from ledger.rules.publications import apply_checkpoint, apply_publish, apply_withdraw
from ledger.rules.swaps import apply_swap_hotkey
from ledger.rules.timing import validate_in_time
from ledger.rules.votes import apply_commit_weights, apply_reveal_weights
from ledger.state import State, uid_key

_FOLLOWS: dict[str, Kind] = {"closed": "open", "open": "commit", "commit": "close"}
_ANY: tuple[type, ...] = (Transfer, AddStake, RemoveStake, Checkpoint, Serve, SetIdentity, Equivocation)
_ACCEPTED: dict[str, tuple[type, ...]] = {
    "open": (*_ANY, Register, Publish, Withdraw, Contribute, SetTake, SwapHotkey),
    "commit": (*_ANY, CommitWeights),
    "close": (*_ANY, RevealWeights),
}


def create_state(genesis: Genesis) -> State:
    """The state at height 0, written and not yet sealed. The genesis is validated."""
    state = State(genesis)
    state.scalars.put(
        b"",
        Globals(
            issuance_rao=genesis.issuance_rao,
            genesis_rao=genesis.issuance_rao,
            price_rao=genesis.parameters.registration_price_rao,
            neuron_count=len(genesis.neurons),
            previous_close_hash=genesis.hash,
        ),
    )
    for public, rao in genesis.balances:
        state.accounts.put(public, Account(free_rao=rao))
    for hotkey, coldkey, rao in genesis.stakes:
        add_shares(state, hotkey, coldkey, rao, rao)
    for uid, seat in enumerate(genesis.neurons):
        state.owners.put(seat.hotkey, Owner(coldkey=seat.coldkey, origin=seat.hotkey))
        state.slots.put(seat.hotkey, Slot(uid=uid))
        neuron = Neuron(
            uid=uid,
            name=seat.name,
            hotkey=seat.hotkey,
            coldkey=seat.coldkey,
            registered_at=0,
            registered_epoch=0,
            last_update=0,
            revealed_epoch=0 if seat.permit else NEVER,
            permit=seat.permit,
            active=seat.permit,
        )
        state.neuron_rows.put(uid_key(uid), neuron)
    state.collectives.put(b"", BASELINE_ALONE)
    first = [seat.hotkey for seat in genesis.neurons if seat.permit and state.stake(seat.hotkey)]
    members = tuple(Weighted(hotkey=hotkey, stake_rao=state.stake(hotkey)) for hotkey in first)
    state.finality_sets.put(b"", FinalitySet(members=members))
    return state


def execute(state: State, kind: Kind, extrinsics: Sequence[Extrinsic], *, height: int, parent: bytes) -> list[str]:
    """Apply one block; the receipts are "ok" or a refusal's code. Refusal `wrong_kind` if this kind isn't next.

    Signatures are checked by whoever brings the block; `parent` is the hash of the block before.
    """
    scalars = state.globals
    if kind != _FOLLOWS[scalars.phase]:
        raise Refusal("wrong_kind", f"the next block is of kind {_FOLLOWS[scalars.phase]!r}, not {kind!r}")
    state.scalars.put(b"", replace(scalars, height=height))
    receipts = [apply_extrinsic(state, kind, extrinsic) for extrinsic in extrinsics]
    if kind == "open":
        _open_epoch(state, parent)
    elif kind == "commit":
        state.scalars.put(b"", replace(state.globals, phase="commit"))
    else:
        apply_close(state)
        state.scalars.put(b"", replace(state.globals, phase="closed"))
    return receipts


def next_kind(state: State) -> Kind:
    """The kind of the block that comes next."""
    return _FOLLOWS[state.globals.phase]


def accepts(kind: Kind, call: Call) -> bool:
    """Whether a block of this kind takes this call: what moves no roster and no vote always, the rest in its step."""
    return isinstance(call, _ACCEPTED.get(kind, ()))


def apply_extrinsic(state: State, kind: Kind, extrinsic: Extrinsic) -> str:
    """Apply one extrinsic whole or not at all, and give its receipt."""
    mark = state.mark()
    try:
        validate_envelope(state, kind, extrinsic)
        apply_call(state, extrinsic.signer, extrinsic.call)
        state.nonces.put(extrinsic.signer, Nonce(value=extrinsic.nonce))
    except Refusal as refusal:
        state.undo(mark)
        return refusal.code
    return APPLIED


def validate_envelope(state: State, kind: Kind, extrinsic: Extrinsic) -> None:
    """Refusal unless the extrinsic is in time, in its phase, and next of its signer."""
    height = state.globals.height
    if extrinsic.valid_until < height:
        raise Refusal("expired", f"valid until height {extrinsic.valid_until}, this is {height}")
    validate_in_time(state, kind, extrinsic.call)
    if not accepts(kind, extrinsic.call):
        raise Refusal("wrong_phase", f"a block of kind {kind!r} takes no {type(extrinsic.call).__name__}")
    expected = state.nonce(extrinsic.signer) + 1
    if extrinsic.nonce != expected:
        raise Refusal("bad_nonce", f"the signer's next nonce is {expected}, not {extrinsic.nonce}")


def apply_call(state: State, signer: bytes, call: Call) -> None:
    """Run the rule of the call; Refusal if it says no, possibly after it wrote (the caller undoes)."""
    match call:
        case Register():
            apply_register(state, signer, call)
        case Publish():
            apply_publish(state, signer, call)
        case Withdraw():
            apply_withdraw(state, signer, call)
        case Checkpoint():
            apply_checkpoint(state, signer, call)
        case Contribute():
            apply_contribute(state, signer, call)
        case Serve():
            apply_serve(state, signer, call)
        case SetIdentity():
            apply_set_identity(state, signer, call)
        case SetTake():
            apply_set_take(state, signer, call)
        case SwapHotkey():
            apply_swap_hotkey(state, signer, call)
        case Transfer():
            apply_transfer(state, signer, call)
        case AddStake():
            apply_add_stake(state, signer, call)
        case RemoveStake():
            apply_remove_stake(state, signer, call)
        case CommitWeights():
            apply_commit_weights(state, signer, call)
        case RevealWeights():
            apply_reveal_weights(state, signer, call)
        case Equivocation():
            apply_equivocation(state, signer, call)


def _open_epoch(state: State, parent: bytes) -> None:
    """Fix the roster, forget the last epoch's votes and contributions, and let the price of registration decay by one
    tempo.
    """
    for table in (state.commitment_rows, state.reveal_rows):
        for key in list(table.entries):
            table.put(key, None)
    for key, row in list(state.contribution_rows.entries.items()):
        if row.epoch != state.block_epoch:
            state.contribution_rows.put(key, None)
    scalars, parameters = state.globals, state.parameters
    state.scalars.put(
        b"",
        replace(
            scalars,
            epoch=scalars.epoch + 1,
            phase="open",
            price_rao=compute_decayed_price(scalars.price_rao, parameters.tempo, parameters),
            previous_close_hash=parent,
        ),
    )
