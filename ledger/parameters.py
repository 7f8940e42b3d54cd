"""The ledger's parameters: all of them are in the genesis, and none can change under a running network.

Invariants: whole numbers and ratios of whole numbers only; time is in notional blocks (`tempo` of them an epoch),
whatever number of real blocks there are.
"""

from typing import Annotated

from msgspec import Meta, Struct

from ledger.epoch.consensus import Profile, Rules
from ledger.errors import GenesisError
from ledger.units import RAO_PER_TAO, Rao

Ratio = tuple[int, int]
"""Numerator and denominator."""

Blocks = Annotated[int, Meta(ge=0, le=2**31)]
Limit = Annotated[int, Meta(ge=1, le=2**31)]
"""Calls of one kind that a hotkey has in the blocks of one epoch."""

BOND_RATIOS = ("bonds_alpha", "bonds_penalty", "alpha_low", "alpha_high")


class Parameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every rule of the ledger that a network may choose; the defaults are Bittensor's where it has the thing."""

    tempo: Annotated[int, Meta(ge=1, le=2**31)] = 360
    """Notional blocks an epoch."""
    kappa: Ratio = (32767, 65535)
    """The share of active stake that must agree on a weight."""
    bonds_alpha: Ratio = (1, 10)
    """How much of the new bonds enters the moving average each epoch."""
    profile: Profile = "classic"
    """How bonds follow votes: `classic` by columns that stake enters, `yuma3` pair by pair with stake at dividends."""
    bonds_penalty: Ratio = (1, 1)
    """How far the vote that a bond stands for is moved towards its clipped form; below 1 a majority of stake can not be
    sure of its share of the pay.
    """
    liquid_alpha: bool = False
    """In `yuma3`: every pair has a rate of its own, from alpha_low to alpha_high, by a curve of alpha_steepness."""
    alpha_low: Ratio = (7, 10)
    alpha_high: Ratio = (9, 10)
    alpha_steepness: Ratio = (10, 1)
    take: Ratio = (18, 100)
    """What a validator keeps of its dividends before its stakers share the rest, unless it sets its own."""
    take_min: Ratio = (0, 100)
    take_max: Ratio = (18, 100)
    take_raise_interval: Blocks = 216_000
    """Notional blocks that a take stands before it can be raised; lowering it is free."""
    max_uids: Annotated[int, Meta(ge=1, le=16384)] = 256
    max_validators: Annotated[int, Meta(ge=1, le=16384)] = 64
    permit_stake_rao: Annotated[int, Meta(ge=1, le=2**62)] = 1
    """The least stake with which a neuron may validate."""
    activity_cutoff: Blocks = 5000
    """Notional blocks after which a validator that reveals nothing no longer counts."""
    immunity: Blocks = 4096
    """Notional blocks during which a new neuron can't be replaced."""
    registration_price_rao: Rao = RAO_PER_TAO
    registration_price_min_rao: Rao = 500_000
    registration_price_max_rao: Rao = 100 * RAO_PER_TAO
    registration_half_life: Annotated[int, Meta(ge=1, le=2**14)] = 360
    """Notional blocks in which the price of registration halves. The exact root takes half a second at most."""
    registration_bump: Ratio = (126, 100)
    """What each registration multiplies the price by."""
    publish_limit: Limit = 16
    checkpoint_limit: Limit = 16
    contribute_limit: Limit = 16
    serve_limit: Limit = 16
    set_identity_limit: Limit = 1
    set_take_limit: Limit = 1
    swap_hotkey_limit: Limit = 1
    equivocation_epochs: Annotated[int, Meta(ge=1, le=2**31)] = 20
    """Epochs without a vote for who signed two blocks of one height and term."""
    existential_rao: Rao = 500
    """An account that falls below this is removed, and its rest burned."""
    collective_size: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Most members of the collective, beside the baseline."""
    member_floor: Ratio = (1, 1000)
    """A member whose weight is below this in every stratum is left out."""
    max_cohorts: Annotated[int, Meta(ge=1, le=4096)] = 16
    """Most cohorts that the ledger knows; a new one takes the place of the one that has been idle for longest."""
    max_strata: Annotated[int, Meta(ge=1, le=4096)] = 256
    max_extrinsic_bytes: Annotated[int, Meta(ge=1024, le=2**24)] = 1 << 20
    max_block_bytes: Annotated[int, Meta(ge=1024, le=2**28)] = 1 << 24

    @property
    def rules(self) -> Rules:
        """What consensus reads of these."""
        return Rules(
            profile=self.profile,
            kappa=self.kappa,
            alpha=self.bonds_alpha,
            bonds_penalty=self.bonds_penalty,
            liquid_alpha=self.liquid_alpha,
            alpha_low=self.alpha_low,
            alpha_high=self.alpha_high,
            alpha_steepness=self.alpha_steepness,
            max_validators=self.max_validators,
            minimum_stake_rao=self.permit_stake_rao,
        )


def validate_parameters(parameters: Parameters) -> None:
    """GenesisError, naming the field, for what the types can't say."""
    for field in ("kappa", *BOND_RATIOS, "take", "take_min", "take_max", "member_floor"):
        numerator, denominator = getattr(parameters, field)
        if not 0 <= numerator <= denominator < 2**31 or denominator == 0:
            raise GenesisError(f"parameters.{field}", "expected a ratio of whole numbers between 0 and 1")
    for field in ("kappa", "bonds_alpha"):
        if getattr(parameters, field)[0] == 0:
            raise GenesisError(f"parameters.{field}", "expected a ratio above 0")
    take = parameters.take
    if not (ratio_at_most(parameters.take_min, take) and ratio_at_most(take, parameters.take_max)):
        raise GenesisError("parameters.take", "expected a ratio from take_min to take_max")
    _validate_bonds(parameters)
    numerator, denominator = parameters.registration_bump
    if not 0 < denominator <= numerator < 2**31:
        raise GenesisError("parameters.registration_bump", "expected a ratio of whole numbers of at least 1")
    lowest, highest = parameters.registration_price_min_rao, parameters.registration_price_max_rao
    if not lowest <= parameters.registration_price_rao <= highest:
        raise GenesisError("parameters.registration_price_rao", f"expected a price from {lowest} to {highest} RAO")
    if parameters.max_extrinsic_bytes > parameters.max_block_bytes:
        raise GenesisError("parameters.max_extrinsic_bytes", "expected at most max_block_bytes")


def _validate_bonds(parameters: Parameters) -> None:
    if parameters.liquid_alpha and parameters.profile != "yuma3":
        raise GenesisError("parameters.liquid_alpha", 'expected false, unless profile is "yuma3"')
    (low, low_of), (high, high_of) = parameters.alpha_low, parameters.alpha_high
    if low * high_of > high * low_of:
        raise GenesisError("parameters.alpha_low", "expected a ratio of at most alpha_high")
    numerator, denominator = parameters.alpha_steepness
    if not (0 <= numerator < 2**31 and 0 < denominator < 2**31):
        raise GenesisError("parameters.alpha_steepness", "expected a ratio of whole numbers of at least 0")


def ratio_at_most(lower: Ratio, upper: Ratio) -> bool:
    """Whether the first ratio is no larger than the second."""
    return lower[0] * upper[1] <= upper[0] * lower[1]
