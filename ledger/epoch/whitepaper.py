"""The consensus of the Bittensor white paper, for study: a smooth majority instead of a median.

Invariants: pure, and integers only, like the profiles that a network can choose; this one it can not.

Shapes: as in `ledger.epoch.consensus`. Source: Bittensor: A Peer-to-Peer Intelligence Market, sections 4 to 10; the
chain ran this rule until March 2023.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ledger.epoch.bonds import compute_classic_bonds, compute_classic_dividends
from ledger.epoch.consensus import Inputs, Outcome, Rules, Verdict, compute_ballot, describe_outcome
from ledger.epoch.exponential import LARGEST_Q31, sigmoid, sigmoid_q31
from ledger.epoch.fixed import Int64s, Ratio, normalize_q31, threshold_q31

STUDY_BITS = 128
"""Fractional bits of `compute_cabal_shares`."""

RHO: Ratio = (10, 1)
KAPPA: Ratio = (1, 2)


def compute_whitepaper(inputs: Inputs, rules: Rules, rho: Ratio = RHO, kappa: Ratio = KAPPA) -> Outcome:
    """One epoch by the paper: trust T = Sᵀ[W > 0], consensus C = σ(ρ (T - κ)), rank R = Sᵀ W, incentive I = R · C.

    Bonds are classic, and stand for unclipped votes. Of `rules` it reads alpha and what concerns permits.
    """
    ballot = compute_ballot(inputs, rules)
    trust_M = ballot.stake_V @ (ballot.weights_VM > 0)
    consensus_M = compute_smooth_consensus(trust_M, rho, kappa)
    consensus: list[int] = consensus_M.tolist()
    rank: list[int] = (ballot.stake_V @ ballot.weights_VM).tolist()
    incentive = normalize_q31([value * share for value, share in zip(rank, consensus, strict=True)])
    bonds_VM = compute_classic_bonds(ballot.stake_V, ballot.weights_VM, ballot.bonds_VM, rules.alpha)
    dividends = compute_classic_dividends(bonds_VM, np.array(incentive, dtype=np.int64))
    trust: list[int] = trust_M.tolist()
    verdict = Verdict(consensus_M, ballot.weights_VM, rank, trust, incentive, dividends, bonds_VM)
    return describe_outcome(ballot, verdict)


def compute_smooth_consensus(trust_M: Int64s, rho: Ratio, kappa: Ratio) -> Int64s:
    """σ(ρ (T - κ)) in Q31."""
    numerator, denominator = rho
    arguments = [numerator * (trust - threshold_q31(kappa)) // denominator for trust in trust_M.tolist()]
    bounded = [max(-LARGEST_Q31, min(LARGEST_Q31, argument)) for argument in arguments]
    return sigmoid_q31(np.array(bounded, dtype=np.int64))


def compute_cabal_shares(
    stakes: Sequence[Fraction], tau: Fraction, rho: Fraction, kappa: Fraction, blocks: int
) -> list[Fraction]:
    """The share of stake of the last of several camps after each of `blocks` blocks, if each votes only for itself.

    A camp's trust and rank are its share s; it earns the part s · σ(ρ (s - κ)) of the τ that a block adds to all stake.
    Steps are rounded to 2^-128.
    """
    shares = [stake / sum(stakes) for stake in stakes]
    after = []
    for _ in range(blocks):
        arguments = [rho * (share - kappa) for share in shares]
        earned = [
            share * sigmoid(argument.numerator, argument.denominator, STUDY_BITS)
            for share, argument in zip(shares, arguments, strict=True)
        ]
        grown = [share + tau * part / sum(earned) for share, part in zip(shares, earned, strict=True)]
        shares = [Fraction(int(part / sum(grown) * 2**STUDY_BITS), 2**STUDY_BITS) for part in grown]
        after.append(shares[-1])
    return after
