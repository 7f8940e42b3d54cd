"""Votes: committed in one block, revealed in a later one of the same epoch.

Invariants: a vote counts once, for the epoch it was committed in, with exactly the content committed to; only neurons
with a permit vote; an empty row is a vote.
"""

from itertools import pairwise

from msgspec.structs import replace

from ledger.entries import Commitment, Neuron, Revealed
from ledger.errors import Refusal
from ledger.extrinsics import (
    BASELINE_MANIFEST,
    BASELINE_UID,
    CommitWeights,
    Member,
    RevealWeights,
    commitment_hash,
    seed_message,
)
from ledger.keys import verify
from ledger.rules.cohorts import validate_rounds
from ledger.rules.publications import validate_neuron
from ledger.state import State, uid_key


def apply_commit_weights(state: State, signer: bytes, call: CommitWeights) -> None:
    """Record the commitment with the height of its block."""
    neuron = _validate_validator(state, signer, call.epoch)
    if state.commitment_rows.get(uid_key(neuron.uid)) is not None:
        raise Refusal("already_committed", f"uid {neuron.uid} has committed in epoch {call.epoch}")
    row = Commitment(commitment=call.commitment, height=state.globals.height)
    state.commitment_rows.put(uid_key(neuron.uid), row)


def apply_reveal_weights(state: State, signer: bytes, call: RevealWeights) -> None:
    """Take in a vote that matches its commitment; the close step of this block counts it."""
    neuron = _validate_validator(state, signer, call.epoch)
    committed = _validate_commitment(state, neuron, call)
    validate_row(state, call)
    validate_collective(state, call)
    validate_rounds(state, call)
    key = uid_key(neuron.uid)
    revealed = Revealed(
        uids=call.uids,
        values=call.values,
        evidence=call.evidence,
        strata=call.strata,
        members=call.members,
        rounds=call.rounds,
        height=committed.height,
    )
    state.reveal_rows.put(key, revealed)
    voted = replace(neuron, last_update=committed.height, revealed_epoch=call.epoch, evidence=call.evidence)
    state.neuron_rows.put(key, voted)


def validate_row(state: State, call: RevealWeights) -> None:
    """Refusal `bad_weights` unless uids ascend, are registered, and have one value each."""
    if len(call.uids) != len(call.values):
        raise Refusal(
            "bad_weights", f"{len(call.uids)} uids and {len(call.values)} values; give one value for each uid"
        )
    if any(first >= second for first, second in pairwise(call.uids)):
        raise Refusal("bad_weights", "uids must ascend without repetition")
    if call.uids and call.uids[-1] >= state.globals.neuron_count:
        raise Refusal("bad_weights", f"uid {call.uids[-1]} is not registered")


def validate_collective(state: State, call: RevealWeights) -> None:
    """Refusal `invalid_collective` unless strata and members ascend and each member is known and has one weight per
    stratum.
    """
    if (
        not call.strata
        or len(call.strata) > state.parameters.max_strata
        or any(first >= second for first, second in pairwise(call.strata))
    ):
        most = state.parameters.max_strata
        raise Refusal("invalid_collective", f"expected 1 to {most} stratum names in ascending order")
    if any((first.uid, first.manifest) >= (second.uid, second.manifest) for first, second in pairwise(call.members)):
        raise Refusal("invalid_collective", "members must ascend by uid, then manifest, without repetition")
    known = {(member.uid, member.manifest) for member in state.collective.members}
    known.add((BASELINE_UID, BASELINE_MANIFEST))
    for member in call.members:
        _validate_member(state, member, len(call.strata), known)


def _validate_member(state: State, member: Member, strata: int, known: set[tuple[int, bytes]]) -> None:
    if len(member.weights) != strata:
        raise Refusal("invalid_collective", f"a member of uid {member.uid} has not one weight for each stratum")
    if (member.uid, member.manifest) not in known and not state.in_roster(member.uid, member.manifest):
        name = f"uid {member.uid}, manifest {member.manifest.hex()[:16]}"
        raise Refusal("invalid_collective", f"{name} is neither in this epoch's roster nor in the collective")


def _validate_validator(state: State, signer: bytes, epoch: int) -> Neuron:
    neuron = validate_neuron(state, signer)
    barred_until = state.barred_until(signer)
    if barred_until > state.globals.epoch:
        raise Refusal("barred", f"uid {neuron.uid} contradicted itself; it may vote again from epoch {barred_until} on")
    if not neuron.permit:
        raise Refusal("no_permit", f"uid {neuron.uid} holds no validator permit; permits go to the largest stakes")
    if epoch != state.globals.epoch:
        raise Refusal("wrong_epoch", f"the vote is for epoch {epoch}, this is epoch {state.globals.epoch}")
    return neuron


def _validate_commitment(state: State, neuron: Neuron, call: RevealWeights) -> Commitment:
    committed = state.commitment_rows.get(uid_key(neuron.uid))
    if committed is None or committed.height >= state.globals.height:
        raise Refusal("no_commitment", f"uid {neuron.uid} has no commitment in an earlier block of epoch {call.epoch}")
    if state.reveal_rows.get(uid_key(neuron.uid)) is not None:
        raise Refusal("already_revealed", f"uid {neuron.uid} has revealed in epoch {call.epoch}")
    shown = commitment_hash(
        genesis_hash=state.genesis_hash,
        epoch=call.epoch,
        hotkey=neuron.hotkey,
        uids=call.uids,
        values=call.values,
        evidence=call.evidence,
        strata=call.strata,
        members=call.members,
        rounds=call.rounds,
        salt=call.salt,
    )
    if shown != committed.commitment:
        raise Refusal("commitment_mismatch", f"uid {neuron.uid} reveals something else than it committed to")
    message = seed_message(state.genesis_hash, call.epoch, state.globals.previous_close_hash)
    if not verify(neuron.hotkey, message, call.seed_signature):
        raise Refusal(
            "bad_seed", f"the seed signature of uid {neuron.uid} is not of this epoch and previous close block"
        )
    return committed
