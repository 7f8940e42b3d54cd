"""Equivocation: a key that signed two blocks of one height and term, or votes for two, is proven and recorded.

Invariants: the proof is whole in itself: two signatures that verify, for this network; a proof counts once, and one of
a later height and term covers those before it; whoever is barred has no permit, so its votes count in no epoch until
the bar ends, and it is in no finality set that is fixed meanwhile.
"""

from typing import NamedTuple

from msgspec.structs import replace

from ledger.blocks import verify_header
from ledger.entries import Offence
from ledger.errors import Refusal
from ledger.extrinsics import Equivocation, TwoHeaders, TwoVotes
from ledger.state import State, uid_key
from ledger.trust.finality import verify_vote


class Contradiction(NamedTuple):
    """Whose two signatures, and for what."""

    key: bytes
    height: int
    term: int


def apply_equivocation(state: State, signer: bytes, call: Equivocation) -> None:
    """Record the offence, and take the offender's vote for the network's number of epochs, the current one included."""
    proven = validate_proof(call.proof, genesis_hash=state.genesis_hash, keeper=state.keeper)
    if proven.height > state.globals.height:
        raise Refusal("bad_proof", f"the proof is of height {proven.height}, the ledger is at {state.globals.height}")
    if isinstance(call.proof, TwoVotes) and state.owners.get(proven.key) is None:
        raise Refusal("not_registered", "the key that contradicted itself was never registered as a hotkey")
    origin = state.origin(proven.key)
    before = state.offences.get(origin)
    if before is not None and (proven.height, proven.term) <= (before.height, before.term):
        raise Refusal("already_proven", f"an equivocation of height {before.height} was proven already")
    offence = Offence(
        height=proven.height,
        term=proven.term,
        proofs=1 if before is None else before.proofs + 1,
        barred_until=state.block_epoch + state.parameters.equivocation_epochs,
    )
    state.offences.put(origin, offence)
    neuron = state.neuron_by_hotkey(state.current_hotkey(proven.key))
    if neuron is not None:
        state.neuron_rows.put(uid_key(neuron.uid), replace(neuron, permit=False))


def validate_proof(proof: TwoHeaders | TwoVotes, *, genesis_hash: bytes, keeper: bytes) -> Contradiction:
    """Who contradicted itself; Refusal `bad_proof` unless one key signed two blocks of one height and term."""
    if isinstance(proof, TwoHeaders):
        return _validate_headers(proof, genesis_hash, keeper)
    first, second = proof.first, proof.second
    one = (first.hotkey, first.height, first.term)
    if one != (second.hotkey, second.height, second.term) or first.block_hash == second.block_hash:
        raise Refusal("bad_proof", "expected votes of one hotkey for two blocks of one height and term")
    if not (verify_vote(first, genesis_hash) and verify_vote(second, genesis_hash)):
        raise Refusal("bad_proof", "a vote's signature does not verify for this network")
    return Contradiction(*one)


def _validate_headers(proof: TwoHeaders, genesis_hash: bytes, keeper: bytes) -> Contradiction:
    first, second = proof.first.header, proof.second.header
    one = (first.keeper, first.height, first.term)
    if one != (second.keeper, second.height, second.term) or first == second:
        raise Refusal("bad_proof", "expected two blocks of one keeper, height and term")
    if first.keeper != keeper:
        raise Refusal("bad_proof", "the blocks are not of the keeper that the genesis names")
    for signed in (proof.first, proof.second):
        if not verify_header(signed.header, signed.signature, genesis_hash):
            raise Refusal("bad_proof", "a block's signature does not verify for this network")
    return Contradiction(*one)
