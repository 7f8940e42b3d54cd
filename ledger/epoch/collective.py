"""The next collective: the stake-weighted mean of what the validators that revealed propose.

Invariants: whole numbers only; in every stratum the weights sum to exactly 2^31; the baseline is always a member; a
stratum or a member's weight needs stake behind it, so one validator can neither add a stratum nor lift a member beyond
its share of stake.
"""

from collections.abc import Mapping, Sequence

from ledger.entries import Collective, CollectiveMember, Revealed
from ledger.epoch.fixed import ONE_Q31, normalize_q31
from ledger.extrinsics import BASELINE_MANIFEST, BASELINE_UID
from ledger.parameters import Parameters

Version = tuple[int, bytes]
"""Uid and manifest hash."""
BASELINE: Version = (BASELINE_UID, BASELINE_MANIFEST)
BASELINE_ALONE = Collective(
    strata=("all",),
    members=(CollectiveMember(uid=BASELINE_UID, manifest=BASELINE_MANIFEST, weights=(ONE_Q31,)),),
)
"""The collective of the genesis."""


def compute_collective(
    proposals: Sequence[tuple[int, Revealed]], previous: Collective, parameters: Parameters
) -> Collective:
    """Merge proposals, given as (stake in RAO, reveal); without any that has stake and weight, the previous collective
    stays.

    Members below `member_floor` in every stratum are left out, then the `collective_size` with the largest weight over
    all strata are kept beside the baseline, ties to the lower uid, then the lower manifest.
    """
    merged = _merge(proposals)
    if not merged:
        return previous
    kept = _choose_members(merged, parameters)
    strata = tuple(sorted(merged))
    columns = {stratum: _normalize_column(merged[stratum], kept) for stratum in strata}
    return Collective(
        strata=strata,
        members=tuple(
            CollectiveMember(uid=uid, manifest=manifest, weights=tuple(columns[stratum][index] for stratum in strata))
            for index, (uid, manifest) in enumerate(kept)
        ),
    )


def _merge(proposals: Sequence[tuple[int, Revealed]]) -> dict[str, dict[Version, int]]:
    """Per stratum the Q31 weight of each version; strata known to at most half of the stake are left out."""
    columns: dict[str, list[tuple[int, dict[Version, int]]]] = {}
    proposing_rao = 0
    for stake_rao, proposal in proposals:
        weighted = _columns(proposal)
        if weighted and stake_rao:
            proposing_rao += stake_rao
        for stratum, column in weighted.items():
            columns.setdefault(stratum, []).append((stake_rao, column))
    known = {
        stratum: rows
        for stratum, rows in columns.items()
        if 2 * sum(stake_rao for stake_rao, _ in rows) > proposing_rao
    }
    return {stratum: _mean(rows) for stratum, rows in known.items()}


def _columns(proposal: Revealed) -> dict[str, dict[Version, int]]:
    """A proposal's Q31 weights per stratum; strata without any weight are left out."""
    columns = {}
    for index, stratum in enumerate(proposal.strata):
        shares = normalize_q31([member.weights[index] for member in proposal.members])
        if any(shares):
            versions = [(member.uid, member.manifest) for member in proposal.members]
            columns[stratum] = dict(zip(versions, shares, strict=True))
    return columns


def _mean(rows: Sequence[tuple[int, Mapping[Version, int]]]) -> dict[Version, int]:
    sums: dict[Version, int] = {}
    for stake_rao, column in rows:
        for version, share in column.items():
            sums[version] = sums.get(version, 0) + stake_rao * share
    versions = sorted(sums)
    return dict(zip(versions, normalize_q31([sums[version] for version in versions]), strict=True))


def _choose_members(merged: Mapping[str, Mapping[Version, int]], parameters: Parameters) -> list[Version]:
    numerator, denominator = parameters.member_floor
    totals: dict[Version, int] = {}
    above: set[Version] = set()
    for column in merged.values():
        for version, share in column.items():
            totals[version] = totals.get(version, 0) + share
            if share and share * denominator >= numerator * ONE_Q31:
                above.add(version)
    ranked = sorted(above - {BASELINE}, key=lambda version: (-totals[version], version))
    return sorted([*ranked[: parameters.collective_size], BASELINE])


def _normalize_column(column: Mapping[Version, int], kept: Sequence[Version]) -> list[int]:
    """Q31 weights of the kept versions; if none of them has weight here, all of it is the baseline's."""
    shares = normalize_q31([column.get(version, 0) for version in kept])
    return shares if any(shares) else [ONE_Q31 if version == BASELINE else 0 for version in kept]
