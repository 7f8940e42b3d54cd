"""A small network's keys and genesis, its votes and its proofs, for the scripts that use and abuse a ledger."""

from collections.abc import Sequence

from msgspec.structs import replace

from ledger.blocks import Header, sign_header
from ledger.extrinsics import (
    BASELINE_MANIFEST,
    BASELINE_UID,
    CommitWeights,
    Member,
    RevealWeights,
    RoundVote,
    SignedHeader,
    TwoHeaders,
    TwoVotes,
    UpdateValue,
    commitment_hash,
    seed_message,
)
from ledger.genesis import Genesis, GenesisNeuron
from ledger.keys import Keypair
from ledger.parameters import Parameters
from ledger.state import State
from ledger.trust.finality import sign_vote
from ledger.units import RAO_PER_TAO

KEEPER, *COLDKEYS = (Keypair.from_seed(bytes([100 + index]) * 32) for index in range(5))
HOTKEYS = [Keypair.from_seed(bytes([200 + index]) * 32) for index in range(30)]
KEYS = {key.public: key for key in (KEEPER, *COLDKEYS, *HOTKEYS)}
GENESIS = Genesis(
    network="machine",
    keeper=KEEPER.public,
    parameters=Parameters(
        max_uids=5,
        max_validators=2,
        immunity=360,
        activity_cutoff=720,
        take_max=(1, 2),
        take_raise_interval=360,
        publish_limit=2,
        serve_limit=1,
        max_cohorts=2,
        equivocation_epochs=2,
    ),
    balances=tuple((key.public, 40 * RAO_PER_TAO) for key in COLDKEYS[:3]),
    stakes=tuple((HOTKEYS[uid].public, COLDKEYS[uid].public, (5 - uid) * RAO_PER_TAO) for uid in range(3)),
    neurons=tuple(
        GenesisNeuron(hotkey=HOTKEYS[uid].public, coldkey=COLDKEYS[uid].public, name=f"neuron {uid}", permit=uid < 2)
        for uid in range(4)
    ),
)


def make_ballot(
    state: State,
    signer: Keypair,
    uids: tuple[int, ...],
    values: tuple[int, ...],
    rounds: tuple[RoundVote, ...] = (),
) -> RevealWeights:
    """A vote of the current epoch, with the baseline as the whole collective."""
    scalars = state.globals
    message = seed_message(state.genesis_hash, scalars.epoch, scalars.previous_close_hash)
    return RevealWeights(
        epoch=scalars.epoch,
        uids=uids,
        values=values,
        evidence=bytes(32),
        salt=signer.public,
        seed_signature=signer.sign(message),
        strata=("code", "tests"),
        members=(Member(uid=BASELINE_UID, manifest=BASELINE_MANIFEST, weights=(1, 2)),),
        rounds=rounds,
    )


def make_rounds(state: State, worth: Sequence[int]) -> tuple[RoundVote, ...]:
    """What a validator says of all cohorts that are known: each uid's updates are worth `worth` at its place."""
    rows, contributions = state.cohorts(), state.contributions()
    rounds = []
    for name in sorted({*rows, *(each.cohort for each in contributions.values())}):
        begun = {uid: each.parameters for uid, each in contributions.items() if each.cohort == name}
        accepted = [each.uid for each in rows[name].accepted] if name in rows else []
        rounds.append(
            RoundVote(
                cohort=name,
                parameters=next(iter(begun.values()), name),
                manifest=name,
                values=tuple(UpdateValue(uid=uid, value=worth[uid % len(worth)]) for uid in begun),
                applied=tuple(UpdateValue(uid=uid, value=worth[uid % len(worth)]) for uid in accepted),
            )
        )
    return tuple(rounds)


def make_commitment(state: State, signer: Keypair, ballot: RevealWeights) -> CommitWeights:
    """What commits the signer to the vote."""
    shown = {field: getattr(ballot, field) for field in ballot.__struct_fields__ if field != "seed_signature"}
    hashed = commitment_hash(genesis_hash=state.genesis_hash, hotkey=signer.public, **shown)
    return CommitWeights(epoch=ballot.epoch, commitment=hashed)


def two_votes(header: Header, signer: Keypair, genesis_hash: bytes, other_root: bytes = bytes(32)) -> TwoVotes:
    """The signer's votes for the block and for another of its height and term."""
    headers = header, replace(header, state_root=other_root)
    first, second = (sign_vote(each, signer, genesis_hash) for each in headers)
    return TwoVotes(first=first, second=second)


def two_headers(header: Header, signer: Keypair, genesis_hash: bytes, other_root: bytes = bytes(32)) -> TwoHeaders:
    """The block and another of its height and term, both with the signer's signature."""
    headers = header, replace(header, state_root=other_root)
    first, second = (SignedHeader(header=each, signature=sign_header(each, signer, genesis_hash)) for each in headers)
    return TwoHeaders(first=first, second=second)
