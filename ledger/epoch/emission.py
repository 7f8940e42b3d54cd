"""What an epoch mints, and how it is divided between incentive and dividends.

Invariants:
* Block emission depends on issuance alone; minting can never lift issuance above the cap.
* What is paid is what is minted, to the last RAO; if nobody can be paid, nothing is minted.
"""

import msgspec

from ledger.epoch.consensus import Outcome
from ledger.epoch.fixed import split_largest_remainder

CAP_RAO = 21_000_000 * 10**9
"""No more TAO than this will ever exist."""

FIRST_BLOCK_EMISSION_RAO = 10**9
"""Each notional block mints one TAO until half of the cap is issued."""


class Emission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each uid is paid for one epoch, in RAO: as a miner (incentive) and as a validator (dividends)."""

    incentive_rao: list[int]
    dividends_rao: list[int]

    @property
    def minted_rao(self) -> int:
        """The sum of all payments: what issuance grows by."""
        return sum(self.incentive_rao) + sum(self.dividends_rao)


def block_emission_rao(issuance_rao: int) -> int:
    """RAO minted per notional block: 10^9, halved whenever half of what remained below the cap is issued; 0 at the cap.

    The number of halvings is floor(-log2(1 - issuance / cap)), in integers of 32 fractional bits.
    """
    if issuance_rao >= CAP_RAO:
        return 0
    used = (issuance_rao << 32) // CAP_RAO
    halvings = ((1 << 64) // ((1 << 32) - used)).bit_length() - 33
    return FIRST_BLOCK_EMISSION_RAO >> halvings


def epoch_emission_rao(issuance_rao: int, blocks: int) -> int:
    """RAO minted by an epoch of `blocks` notional blocks, at the block emission of the issuance that it starts with."""
    return blocks * block_emission_rao(issuance_rao)


def split_emission(total_rao: int, outcome: Outcome) -> Emission:
    """Pay half of `total_rao` by incentive and half by dividends.

    If no vote carries weight, all of it goes as dividends by active stake, and if there is none, by stake; without any
    stake nobody is paid, and `minted_rao` is 0.
    """
    if not any(outcome.incentive_q31):
        stake_q31 = outcome.active_stake_q31 if any(outcome.active_stake_q31) else outcome.stake_q31
        return Emission([0] * len(stake_q31), split_largest_remainder(total_rao, stake_q31))
    miners_rao, validators_rao = split_largest_remainder(total_rao, [1, 1])
    return Emission(
        split_largest_remainder(miners_rao, outcome.incentive_q31),
        split_largest_remainder(validators_rao, outcome.dividends_q31),
    )
