"""The step of a cohort: what each update adds to θ, and θ after it, the same bits on every machine.

Invariants: θ' = θ + Σ δ_i, in order of uid, in float32, element by element, by NumPy's own operations (each rounds
once; no BLAS, no fused multiply-add); numbers too small for float32's full precision count as 0, because some
libraries make processors drop them; an update's part is never made dense.

δ_i = −rate · clip_i · Δ_i / max(senders, floor · contributors), per coordinate, where clip_i brings the norm down to
the median one. With momentum μ (Nesterov, as torch.optim.SGD has it) over g, the divided sum: m' = μ·m + g and
θ' = θ − rate · (g + μ·m') = θ + Σ (1 + μ)·δ_i − rate · μ² · m; the last term is nobody's: `carried_P`.

Legend: P parameters, N coordinates that were sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np
from numpy.typing import NDArray

from models.train.cohort import OuterSettings
from models.train.layout import Vector
from models.train.update import Update, flushed

LIKENESS = 0.65
"""Cosine from which two sparse updates are one: of members with pages of their own 0.17, in tiny models up to 0.43."""
WHOLE_LIKENESS = 0.85
"""The same of updates that are sent whole: all follow the text's plainest statistics at first, with up to 0.72."""


@dataclass(frozen=True)
class Part:
    """δ_i: what one update adds to θ, `value_N` float32 at `position_N`; None: at every coordinate."""

    position_N: NDArray[np.int64] | None
    value_N: Vector


@dataclass(frozen=True)
class Step:
    """A step of θ.

    Attributes:
        size: P.
        parts: δ_i by uid, ascending.
        carried_P: what momentum adds beside them; None where there is none.
        momentum_P: the momentum after the step; None where the rules know none.
    """

    size: int
    parts: dict[int, Part]
    carried_P: Vector | None
    momentum_P: Vector | None


def joint_step(
    updates: Mapping[int, Update], size: int, outer: OuterSettings, momentum_P: Vector | None = None
) -> Step:
    """The step that `updates`, by uid, make together.

    Args:
        size: how many parameters there are.
        momentum_P: the momentum of the step before; None: the first.
    """
    uids = sorted(updates)
    divisor_P = divisors([updates[uid] for uid in uids], size, outer)
    clip = clips({uid: updates[uid].norm for uid in uids})
    gradients = {uid: divided(updates[uid], clip[uid], divisor_P) for uid in uids}
    factor = np.float32(-outer.rate * (1.0 + outer.momentum))
    parts = {uid: Part(part.position_N, flushed(part.value_N * factor)) for uid, part in gradients.items()}
    if not outer.momentum:
        return Step(size, parts, None, None)
    carried_P = None
    after_P = np.zeros(size, np.float32)
    if momentum_P is not None:
        carried_P = flushed(momentum_P * np.float32(-outer.rate * outer.momentum**2))
        after_P = flushed(momentum_P * np.float32(outer.momentum))
    for part in gradients.values():
        add_part(after_P, part)
    return Step(size, parts, carried_P, after_P)


def clips(norms: Mapping[int, float]) -> dict[int, np.float32]:
    """By how much each update is scaled, so that no norm is above the median (of two in the middle the lower one)."""
    if not norms:
        return {}
    bound = median_low(norms.values())
    return {uid: np.float32(1.0 if norm <= bound else bound / norm) for uid, norm in norms.items()}


def divisors(updates: Sequence[Update], size: int, outer: OuterSettings) -> Vector | np.float32:
    """What each coordinate of the sum is divided by, float32 [P]; one number where all send all coordinates."""
    count = len(updates)
    if all(update.position_N is None for update in updates):
        return np.float32(max(1, count))
    senders_P = np.zeros(size, np.int32)
    for update in updates:
        senders_P[slice(None) if update.position_N is None else update.position_N] += 1
    return np.maximum(senders_P.astype(np.float32), np.float32(max(1.0, outer.senders_floor * count)))


def divided(update: Update, clip: np.float32, divisor_P: Vector | np.float32) -> Part:
    """An update as its share of the mean: clipped, and divided by the senders of each coordinate."""
    divisor = divisor_P
    if isinstance(divisor_P, np.ndarray) and update.position_N is not None:
        divisor = divisor_P[update.position_N]
    return Part(update.position_N, flushed(flushed(update.value_N * clip) / divisor))


def add_part(vector_P: Vector, part: Part) -> None:
    """Add a part to a vector, in place."""
    where = slice(None) if part.position_N is None else part.position_N
    vector_P[where] = flushed(vector_P[where] + part.value_N)


def apply_step(theta_P: Vector, step: Step) -> Vector:
    """θ after a step, float32 [P], a copy: what momentum carries first, then the parts in order of uid."""
    after_P = theta_P.copy()
    if step.carried_P is not None:
        add_part(after_P, Part(None, step.carried_P))
    for uid in sorted(step.parts):
        add_part(after_P, step.parts[uid])
    return after_P


def near_copies(updates: Mapping[int, Update], order: Sequence[int]) -> dict[int, int]:
    """Who sent nearly what somebody before sent, and whom they follow: by uid.

    Nearly equal: a cosine of `LIKENESS` or more, so that scaling, noise or leaving a half out does not help.

    Args:
        order: uids in the order in which they committed; the first of those that are alike is no copy.
    """
    copies: dict[int, int] = {}
    for place, uid in enumerate(order):
        for earlier in order[:place]:
            if earlier not in copies and alike(updates[earlier], updates[uid]):
                copies[uid] = earlier
                break
    return copies


def alike(first: Update, second: Update) -> bool:
    """Whether two updates are nearly one."""
    sparse = first.position_N is not None and second.position_N is not None
    return cosine(first, second) >= (LIKENESS if sparse else WHOLE_LIKENESS)


def cosine(first: Update, second: Update) -> float:
    """The cosine between two updates of one layout; 0 where one of them is 0."""
    if not first.norm or not second.norm:
        return 0.0
    first_N, second_N = first.value_N, second.value_N
    if first.position_N is not None and second.position_N is not None:
        _, at_first, at_second = np.intersect1d(
            first.position_N, second.position_N, assume_unique=True, return_indices=True
        )
        first_N, second_N = first_N[at_first], second_N[at_second]
    elif first.position_N is not None:
        second_N = second_N[first.position_N]
    elif second.position_N is not None:
        first_N = first_N[second.position_N]
    return float(first_N.astype(np.float64) @ second_N.astype(np.float64)) / first.norm / second.norm
