"""From bits to votes: credits, accounts that fade while the collective learns, and weights.

Invariants: integers only, in 10^-9 bit per byte; credits sum to the credit exactly; an account does not change while
nobody brings news, but for remote peers', which follow what they add; votes follow from accounts exactly.
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import msgspec
import numpy as np

NANO = 10**9
LAMBDA_NUMERATOR = 4053909305
LAMBDA_DENOMINATOR = 2**32
"""λ = 2^(−1/12): a royalty halves in 12 epochs of full credit."""
FULL_CREDIT = NANO // 100
"""c_0 = 0.01 bit per byte: a credit of so much or more fades accounts by a whole λ."""
LARGEST_VOTE = 65535
CREDIT_ERRORS = 2
"""Standard errors by which the gain is shrunk before it is credited."""


class Books(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bookkeeping of one validator's epoch, by uid, in 10^-9 bit per byte.

    new_bits and new_bits_se are of every uid that tried a version: φ and its error, or 0 and its trial's error where it
    was not admitted; and of every remote peer that was measured: what it adds, or 0. credits are of versions.
    A cohort's version is credited to its members, in proportion to their claims.
    remote_credits are of every remote peer that was measured. accounts are those after the epoch, without zeros. votes
    are u16; none: an empty row. All are in ascending order of uid.
    """

    gain: int
    gain_se: int
    credit_total: int
    new_bits: dict[int, int]
    new_bits_se: dict[int, int]
    credits: dict[int, int]
    remote_credits: dict[int, int]
    accounts: dict[int, int]
    votes: dict[int, int]


def nano(bits: float) -> int:
    """Bits per byte as a whole number of 10^-9, halves to even."""
    return int(np.rint(bits * NANO))


def keep_books(
    *,
    gain: int,
    gain_se: int,
    new_bits: Mapping[int, int],
    new_bits_se: Mapping[int, int],
    accounts_before: Mapping[int, int],
    answered: Collection[int],
    remote_bits: Mapping[int, int] = MappingProxyType({}),
    remote_bits_se: Mapping[int, int] = MappingProxyType({}),
    members: Mapping[int, Mapping[int, int]] = MappingProxyType({}),
) -> Books:
    """Credits, accounts and votes from whole numbers. new_bits in order of publication; it settles ties of credits.

    remote_bits and their errors: of every remote peer that was measured, 0 where it was not admitted.
    members: by the uid that published a cohort's version, the claims by which its members divide the credit.
    """
    credit_total = max(0, gain - CREDIT_ERRORS * gain_se)
    shares = divide_largest_remainder(credit_total, [max(0, bits) for bits in new_bits.values()])
    credits = divide_among(dict(zip(new_bits, shares, strict=True)), members)
    remote_credits = {uid: max(0, bits - CREDIT_ERRORS * remote_bits_se[uid]) for uid, bits in remote_bits.items()}
    after = {
        uid: fade(accounts_before.get(uid, 0), credit_total) + credits.get(uid, 0)
        for uid in {*accounts_before, *credits}
    } | {uid: approach(accounts_before.get(uid, 0), credit) for uid, credit in remote_credits.items()}
    accounts = {uid: account for uid, account in after.items() if account}
    bits, bits_se = {**new_bits, **remote_bits}, {**new_bits_se, **remote_bits_se}
    by_uid = (bits, bits_se, credits, remote_credits, accounts, votes(accounts, answered))
    return Books(gain, gain_se, credit_total, *(dict(sorted(amounts.items())) for amounts in by_uid))


def divide_among(credits: Mapping[int, int], members: Mapping[int, Mapping[int, int]]) -> dict[int, int]:
    """Credits by the uid that is paid, without zeros: a cohort's go to its members, to nobody if none claims any."""
    paid: dict[int, int] = {}
    for uid, credit in credits.items():
        claims = members.get(uid)
        parts = {uid: credit}
        if claims is not None:
            order = sorted(claims)
            shares = divide_largest_remainder(credit, [claims[member] for member in order])
            parts = dict(zip(order, shares, strict=True))
        for each, part in parts.items():
            paid[each] = paid.get(each, 0) + part
    return {uid: credit for uid, credit in paid.items() if credit}


def fade(account: int, credit_total: int) -> int:
    """K·(1 − (1 − λ)·min(1, C/c_0)), rounded down; K itself where C = 0."""
    faded = (LAMBDA_DENOMINATOR - LAMBDA_NUMERATOR) * min(credit_total, FULL_CREDIT)
    whole = LAMBDA_DENOMINATOR * FULL_CREDIT
    return account * (whole - faded) // whole


def approach(account: int, credit: int) -> int:
    """λK + (1 − λ)·credit, each part rounded down: where a remote peer's account goes while it answers."""
    added = (LAMBDA_DENOMINATOR - LAMBDA_NUMERATOR) * credit // LAMBDA_DENOMINATOR
    return fade(account, FULL_CREDIT) + added


def divide_largest_remainder(total: int, claims: Sequence[int]) -> list[int]:
    """`total` in proportion to non-negative claims, summing to it exactly (all 0 if no claim is above 0).

    Largest remainder; ties to the earlier claim.
    """
    whole = sum(claims)
    if not whole:
        return [0] * len(claims)
    parts = [total * claim // whole for claim in claims]
    by_remainder = sorted(range(len(claims)), key=lambda index: (-(total * claims[index] % whole), index))
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return parts


def votes(accounts: Mapping[int, int], answered: Collection[int]) -> dict[int, int]:
    """floor(65535·K/max K) of the uids that answered this epoch, without zeros; empty if all accounts are zero."""
    present = {uid: accounts[uid] for uid in sorted(answered) if accounts.get(uid, 0) > 0}
    largest = max(present.values(), default=0)
    scaled = {uid: LARGEST_VOTE * account // largest for uid, account in present.items()}
    return {uid: vote for uid, vote in scaled.items() if vote}


def median_accounts(accounts: Sequence[Mapping[int, int]], stakes_rao: Sequence[int]) -> dict[int, int]:
    """Where a new validator starts: by uid, the smallest account that validators with half the stake do not exceed.

    A validator without an account of a uid counts with 0. Zeros are left out; no stake at all gives no accounts.
    """
    half_rao = sum(stakes_rao)
    medians: dict[int, int] = {}
    for uid in sorted({uid for account in accounts for uid in account}):
        below_rao = 0
        for amount, stake_rao in sorted(
            (account.get(uid, 0), stake) for account, stake in zip(accounts, stakes_rao, strict=True)
        ):
            below_rao += stake_rao
            if 2 * below_rao >= half_rao > 0:
                medians[uid] = amount
                break
    return {uid: amount for uid, amount in medians.items() if amount}
