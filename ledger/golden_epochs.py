"""Golden cases of whole epochs: a sequence is run through the ledger's own consensus and emission.

Invariants: bonds are carried from epoch to epoch as the reference stores them, truncated to u16 (classic: each column
scaled to a largest of 65535), for that is what its numbers come from; everything within an epoch is the ledger's.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sized
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from ledger.epoch.consensus import Inputs, Outcome, Rules, compute_epoch
from ledger.epoch.emission import Emission, split_emission
from ledger.epoch.fixed import ONE_Q31
from ledger.epoch.rows import Row
from ledger.golden_compare import GoldenInputError, UnsupportedError, read_as

U16 = 65535
MILLION = 1_000_000
NOTES = {"note", "notes", "comment", "source"}
"""Fields for people, which may stand anywhere."""

Pairs = list[list[tuple[int, int]]]
"""Per uid the (target, u16) of a sparse row."""


class Params(Struct, frozen=True, forbid_unknown_fields=True):
    """`input.params`; the defaults are the reference's."""

    kappa: int = 32767
    bonds_penalty: int = U16
    bonds_moving_average: int = 900_000
    tempo: int = 360
    activity_cutoff: int = 5000
    max_allowed_validators: int = 64
    stake_threshold: int = 0
    owner_uid: int | None = None
    yuma3: bool = False
    liquid_alpha: bool = False
    alpha_low: int = 45875
    alpha_high: int = 58982
    alpha_sigmoid_steepness: int = 1000

    @property
    def rules(self) -> Rules:
        """The same in the ledger's ratios; UnsupportedError if they are beyond what a network can choose."""
        try:
            return self._to_rules()
        except ValueError as error:
            raise UnsupportedError(str(error)) from None

    def _to_rules(self) -> Rules:
        return Rules(
            profile="yuma3" if self.yuma3 else "classic",
            kappa=(self.kappa, U16),
            alpha=(MILLION - self.bonds_moving_average, MILLION),
            bonds_penalty=(self.bonds_penalty, U16),
            liquid_alpha=self.yuma3 and self.liquid_alpha,
            alpha_low=(self.alpha_low, U16),
            alpha_high=(self.alpha_high, U16),
            alpha_steepness=(self.alpha_sigmoid_steepness, 100),
            max_validators=self.max_allowed_validators,
            minimum_stake_rao=max(1, self.stake_threshold),
        )


class Given(Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of `input.epochs`, with what it left out taken from the one before."""

    stake: list[int]
    weights: Pairs
    last_update: list[int]
    block_at_registration: list[int]
    current_block: int
    rao_emission: int
    first_commit_block: list[int] | None = None
    clear_uids: list[int] = []
    reset_bonds_for_uid: int | list[int] | None = None
    params: dict[str, Any] = {}


class Generator(Struct, frozen=True, forbid_unknown_fields=True):
    """`input.generator`: a uniform graph."""

    n: int
    validators: int
    stake_per_validator: int
    layout: str = "block"
    server_self: bool = False
    epochs: int = 1
    current_block: int = 1
    last_update: int = 1
    registered_at: int = 0
    rao_emission: int = 10**9


class Initial(Struct, frozen=True, forbid_unknown_fields=True):
    """`input.initial`."""

    validator_permit: list[bool] | None = None
    bonds: Pairs | None = None


class Sequence(Struct, frozen=True, forbid_unknown_fields=True):
    """`input` of a case."""

    n: int | None = None
    params: dict[str, Any] = {}
    initial: Initial = Initial()
    epochs: list[dict[str, Any]] = []
    generator: Generator | None = None


class Epoch(NamedTuple):
    """What the ledger made of an epoch."""

    outcome: Outcome
    emission: Emission
    active: list[bool]
    bonds_u16: dict[int, Row]
    """Bonds as the reference stores them."""


def read_sequence(data: Any) -> Sequence:
    """The input of a case, a generator written out; UnsupportedError if it uses what this runner does not know."""
    _refuse_unknown(data, Sequence, "input")
    _refuse_unknown(data.get("params", {}), Params, "input.params")
    for epoch in data.get("epochs", []):
        _refuse_unknown(epoch, Given, "input.epochs")
        _refuse_unknown(epoch.get("params", {}), Params, "input.epochs.params")
    return read_as(_without_notes(data), Sequence, "input")


def find_validators(sequence: Sequence) -> list[bool]:
    """Who validates at first: by the generator's layout, else by the initial permits."""
    generator = sequence.generator
    if sequence.initial.validator_permit is not None:
        return sequence.initial.validator_permit
    if generator is None:
        return [False] * (sequence.n or 0)
    if not 0 < generator.validators <= generator.n:
        raise GoldenInputError(f"input.generator.validators is {generator.validators} of {generator.n} uids")
    if generator.layout == "block":
        return [uid < generator.validators for uid in range(generator.n)]
    if generator.layout == "regular":
        return [uid % (generator.n // generator.validators) == 0 for uid in range(generator.n)]
    raise UnsupportedError(f"generator layout {generator.layout!r}")


def run_sequence(sequence: Sequence, truncate: bool = True) -> Iterator[Epoch]:
    """Run the epochs one after the other; without `truncate`, bonds are carried in Q31 as the ledger keeps them."""
    params = read_as(sequence.params, Params, "input.params")
    if params.owner_uid is not None:
        raise UnsupportedError("subnet owners: an owner's vote for itself does not count here")
    permits = find_validators(sequence)
    bonds = _to_q31_rows(_to_rows(sequence.initial.bonds or []))
    entries = [{}] * sequence.generator.epochs if sequence.generator else sequence.epochs
    state: dict[str, Any] = {} if sequence.generator is None else _expand(sequence.generator, permits)
    for index, changes in enumerate(entries):
        events: dict[str, Any] = {"clear_uids": [], "reset_bonds_for_uid": None, "params": {}}
        state = {**state, **events, **changes}
        given = read_as(state, Given, f"input.epochs[{index}]") if sequence.generator is None else Given(**state)
        params = read_as({**msgspec.structs.asdict(params), **given.params}, Params, f"input.epochs[{index}].params")
        inputs = _to_inputs(given, params, permits, bonds, sequence)
        outcome = compute_epoch(inputs, params.rules)
        stored = store_bonds(outcome, params.yuma3)
        yield Epoch(outcome, split_emission(given.rao_emission, outcome), inputs.active, stored)
        permits = outcome.permits
        bonds = outcome.kept_bonds
        if truncate:
            bonds = _to_q31_rows({uid: stored[uid] for uid in bonds})


def store_bonds(outcome: Outcome, yuma3: bool) -> dict[int, Row]:
    """Bonds in u16 as the reference stores them, truncated: in classic each column scaled so that its largest is
    65535.
    """
    arrays = {uid: (np.array(uids), np.array(values)) for uid, (uids, values) in outcome.bonds.items()}
    largest_N = np.full(len(outcome.permits), ONE_Q31 if yuma3 else 0)
    for uids, values in arrays.values():
        largest_N[uids] = np.maximum(largest_N[uids], values)
    return {
        uid: (outcome.bonds[uid][0], (values * U16 // largest_N[uids]).tolist())
        for uid, (uids, values) in arrays.items()
    }


def find_bond(rows: Mapping[int, Row], uid: int, target: int) -> int:
    """A bond of sparse rows, 0 if it is not there."""
    uids, values = rows.get(uid, ((), ()))
    place = bisect_left(uids, target)
    return values[place] if place < len(uids) and uids[place] == target else 0


def _expand(generator: Generator, permits: list[bool]) -> dict[str, Any]:
    size = generator.n
    servers = [(uid, U16) for uid, permit in enumerate(permits) if not permit]
    own = [[(uid, U16)] if generator.server_self else [] for uid in range(size)]
    return {
        "stake": [generator.stake_per_validator if permit else 0 for permit in permits],
        "weights": [servers if permit else own[uid] for uid, permit in enumerate(permits)],
        "last_update": [generator.last_update] * size,
        "block_at_registration": [generator.registered_at] * size,
        "current_block": generator.current_block,
        "rao_emission": generator.rao_emission,
    }


def _to_inputs(
    given: Given, params: Params, permits: list[bool], bonds: Mapping[int, Row], sequence: Sequence
) -> Inputs:
    block, registered_at, last_update = given.current_block, given.block_at_registration, given.last_update
    size = sequence.n if sequence.n is not None else len(given.stake)
    committed = given.first_commit_block or [2**62] * size
    by_uid: tuple[Sized, ...] = (given.stake, given.weights, last_update, registered_at, committed, permits)
    if any(len(values) != size for values in by_uid):
        raise GoldenInputError(
            f"lists by uid must have n = {size} entries, they have {[len(values) for values in by_uid]}"
        )
    reset = given.reset_bonds_for_uid
    reset_uids = set() if reset is None else {reset} if isinstance(reset, int) else set(reset)
    kept = {uid: row for uid, row in bonds.items() if uid not in given.clear_uids}
    return Inputs(
        stake_rao=given.stake,
        active=[update + params.activity_cutoff >= block for update in last_update],
        permits=[permit and uid not in given.clear_uids for uid, permit in enumerate(permits)],
        # A vote is masked if last_update ≤ registration, or if the commitment is before it.
        last_update=[min(update, commit + 1) for update, commit in zip(last_update, committed, strict=True)],
        registered_at=registered_at,
        newly_registered=[
            uid in reset_uids or max(0, block - params.tempo) <= registered
            for uid, registered in enumerate(registered_at)
        ],
        weights=_to_rows(given.weights),
        bonds=kept,
    )


def _to_rows(pairs: Pairs) -> dict[int, Row]:
    rows = {uid: sorted(row) for uid, row in enumerate(pairs) if row}
    return {uid: ([target for target, _ in row], [value for _, value in row]) for uid, row in rows.items()}


def _to_q31_rows(rows: Mapping[int, Row]) -> dict[int, Row]:
    """u16 to Q31, rounded up so that truncation gives the same u16 again."""
    return {uid: (uids, [-(-value * ONE_Q31 // U16) for value in values]) for uid, (uids, values) in rows.items()}


def _refuse_unknown(data: Any, type_: type[Struct], what: str) -> None:
    if not isinstance(data, dict):
        raise GoldenInputError(f"{what}: expected an object")
    unknown = sorted(set(data) - set(type_.__struct_fields__) - NOTES)
    if unknown:
        raise UnsupportedError(f"{what} has {', '.join(unknown)}, which this runner does not know")


def _without_notes(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _without_notes(value) for name, value in data.items() if name not in NOTES}
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return [_without_notes(value) for value in data]
    return data


def share(value_q31: int) -> Fraction:
    """A Q31 share as an exact fraction."""
    return Fraction(value_q31, ONE_Q31)
