"""Cohorts: a member binds itself to its update, and validators say what the updates of a round are worth.

Invariants: an update is bound to by its hash, in the open block, before anybody can read it; a uid has one of an epoch,
the last one before the open block; a vote values nothing but what the ledger knows of.
"""

from itertools import pairwise

from msgspec.structs import replace

from ledger.entries import Contribution
from ledger.errors import Refusal
from ledger.extrinsics import Contribute, RevealWeights, RoundVote, UpdateValue
from ledger.rules.limits import count_call
from ledger.rules.publications import validate_neuron
from ledger.state import State, uid_key


def apply_contribute(state: State, signer: bytes, call: Contribute) -> None:
    """Set the neuron's contribution to the epoch that this block opens."""
    neuron = validate_neuron(state, signer)
    if call.epoch != state.block_epoch:
        raise Refusal("wrong_epoch", f"the update is for epoch {call.epoch}, this is epoch {state.block_epoch}")
    count_call(state, signer, "contribute")
    scalars = replace(state.globals, contributions=state.globals.contributions + 1)
    state.scalars.put(b"", scalars)
    row = Contribution(
        cohort=call.cohort,
        epoch=call.epoch,
        parameters=call.parameters,
        payload=call.payload,
        place=scalars.contributions,
    )
    state.contribution_rows.put(uid_key(neuron.uid), row)


def leave_cohorts(state: State, uid: int) -> None:
    """Take what a uid earned in cohorts from whoever holds it next.

    An accepted update stays part of its step: other members may have taken the step already.
    """
    state.contribution_rows.put(uid_key(uid), None)
    for name, row in state.cohorts().items():
        accepted = tuple(replace(each, left=True) if each.uid == uid else each for each in row.accepted)
        sums = tuple(each for each in row.sums if each.uid != uid)
        if (accepted, sums) != (row.accepted, row.sums):
            state.cohort_rows.put(name, replace(row, accepted=accepted, sums=sums))


def validate_rounds(state: State, call: RevealWeights) -> None:
    """Refusal `invalid_rounds` unless the cohorts ascend and are known, and the values are of their contributions."""
    most = state.parameters.max_cohorts
    if len(call.rounds) > most:
        raise Refusal("invalid_rounds", f"{len(call.rounds)} rounds, the network has {most} cohorts at most")
    if any(first.cohort >= second.cohort for first, second in pairwise(call.rounds)):
        raise Refusal("invalid_rounds", "rounds must ascend by cohort, without repetition")
    for vote in call.rounds:
        _validate_round(state, vote)


def _validate_round(state: State, vote: RoundVote) -> None:
    row, name = state.cohorts().get(vote.cohort), vote.cohort.hex()[:16]
    contributors = {uid for uid, row in state.contributions().items() if row.cohort == vote.cohort}
    if row is None and not contributors:
        raise Refusal("invalid_rounds", f"cohort {name} has had no round, and nobody contributes to it in this epoch")
    accepted = set() if row is None else {each.uid for each in row.accepted}
    _validate_values(vote.values, contributors, f"uids that contribute to cohort {name} in this epoch")
    _validate_values(vote.applied, accepted, f"uids whose updates of cohort {name} the last round accepted")


def _validate_values(values: tuple[UpdateValue, ...], known: set[int], who: str) -> None:
    uids = [each.uid for each in values]
    if any(first >= second for first, second in pairwise(uids)) or not known.issuperset(uids):
        raise Refusal("invalid_rounds", f"expected values of {who}, ascending, without repetition")
