"""The rounds of cohorts: which parameters stand, whose updates are accepted, and what they have earned.

Invariants: whole numbers only; parameters stand if more than half of the stake that revealed names them, and an update
is accepted if more than half of it values the update above 0, so that a minority of stake can neither carry nor stop
anything; who is silent about an update, or values it at other parameters, says 0; a round without agreement leaves its
row as it was, so that nothing is applied twice.
"""

from collections.abc import Iterable, Mapping, Sequence

from ledger.entries import Accepted, Cohort, Contribution, Revealed
from ledger.extrinsics import RoundVote, UpdateValue
from ledger.units import NANO_BITS_MAX

DECAY = (9, 10)
"""What stays of the sum of a uid's values from round to round."""

Standing = tuple[bytes, bytes]
"""Hash of the parameters and of the manifest that a round begins at."""
Said = tuple[int, Mapping[int, int]]
"""The stake of a validator in RAO and the values that it gives, by uid."""


def compute_cohorts(
    proposals: Sequence[tuple[int, Revealed]],
    before: Mapping[bytes, Cohort],
    contributions: Mapping[int, Contribution],
    epoch: int,
    most: int,
) -> dict[bytes, Cohort]:
    """The rows after this epoch, at most `most`: those idle for longest make room, then those with the lowest name.

    Args:
        proposals: stake in RAO and reveal of every validator with a permit that revealed.
        contributions: of this epoch, by uid.
    """
    names = {vote.cohort for _, revealed in proposals for vote in revealed.rounds}
    after = dict(before)
    for name in names:
        votes = [
            (stake_rao, next((vote for vote in revealed.rounds if vote.cohort == name), None))
            for stake_rao, revealed in proposals
        ]
        payloads = {uid: (row.parameters, row.payload) for uid, row in contributions.items() if row.cohort == name}
        row = compute_round(votes, before.get(name), payloads, epoch)
        if row is not None:
            after[name] = row
    kept = sorted(after, key=lambda name: (after[name].epoch, name), reverse=True)[:most]
    return {name: after[name] for name in sorted(kept)}


def compute_round(
    votes: Sequence[tuple[int, RoundVote | None]],
    before: Cohort | None,
    payloads: Mapping[int, tuple[bytes, bytes]],
    epoch: int,
) -> Cohort | None:
    """A cohort's row after a round; None if nothing was agreed on.

    Args:
        votes: stake in RAO of everybody who revealed, and what they say of this cohort.
        before: its row of the last round.
        payloads: by uid, the hash of the parameters that a contribution of this epoch begins at, and its own.
    """
    standing = agreed([(stake_rao, _standing(vote) if vote else None) for stake_rao, vote in votes])
    if standing is None:
        return None
    heard = [(stake_rao, vote if vote and _standing(vote) == standing else None) for stake_rao, vote in votes]
    values = [(stake, _by_uid(vote.values if vote else ())) for stake, vote in heard]
    applied = [(stake, _by_uid(vote.applied if vote else ())) for stake, vote in heard]
    begun = {uid: payload for uid, (parameters, payload) in payloads.items() if parameters == standing[0]}
    earning = [each.uid for each in before.accepted if not each.left] if before else []
    return Cohort(
        epoch=epoch,
        parameters=standing[0],
        manifest=standing[1],
        accepted=tuple(Accepted(uid=uid, payload=begun[uid]) for uid in accept(values, begun)),
        sums=decay(before.sums if before else (), medians(applied, earning)),
    )


def agreed(votes: Sequence[tuple[int, Standing | None]]) -> Standing | None:
    """What more than half of the stake that revealed names; None if nothing."""
    named: dict[Standing, int] = {}
    for stake_rao, standing in votes:
        if standing is not None:
            named[standing] = named.get(standing, 0) + stake_rao
    total_rao = sum(stake_rao for stake_rao, _ in votes)
    return next((standing for standing, stake_rao in named.items() if 2 * stake_rao > total_rao), None)


def accept(said: Sequence[Said], uids: Iterable[int]) -> list[int]:
    """Those of the uids, ascending, that more than half of the stake values above 0."""
    return [uid for uid, median in sorted(medians(said, uids).items()) if median > 0]


def medians(said: Sequence[Said], uids: Iterable[int]) -> dict[int, int]:
    """The stake-weighted median of each uid's value; who does not name it says 0."""
    return {uid: weighted_median([(stake_rao, values.get(uid, 0)) for stake_rao, values in said]) for uid in uids}


def weighted_median(values: Sequence[tuple[int, int]]) -> int:
    """Of (weight, value) the smallest value that at least half of the weight does not exceed; 0 without weight."""
    total, reached = sum(weight for weight, _ in values), 0
    if total:
        for value, weight in sorted((value, weight) for weight, value in values):
            reached += weight
            if weight and 2 * reached >= total:
                return value
    return 0


def decay(sums: Iterable[UpdateValue], applied: Mapping[int, int]) -> tuple[UpdateValue, ...]:
    """The sums after a round: what stays of the old ones, and the positive of the new values; those at 0 left out."""
    old, (part, whole) = _by_uid(sums), DECAY
    new = {uid: old.get(uid, 0) * part // whole + max(0, applied.get(uid, 0)) for uid in old.keys() | applied.keys()}
    return tuple(UpdateValue(uid=uid, value=min(value, NANO_BITS_MAX)) for uid, value in sorted(new.items()) if value)


def _standing(vote: RoundVote) -> Standing:
    return vote.parameters, vote.manifest


def _by_uid(values: Iterable[UpdateValue]) -> dict[int, int]:
    return {each.uid: each.value for each in values}
