"""A round from bytes to values: one θ for all, every reason to refuse, and values of who is left."""

from typing import Any

import numpy as np
import pytest

from models.errors import UpdateRefused
from models.train.cohort import OuterSettings
from models.train.compression import compress, decode, payload_hash
from models.train.layout import hash_vector
from models.train.round import Check, Committed, Round, Weighed, next_parameters, weigh_round
from models.train.step import apply_step, joint_step

HONEST = 5
PAGES = 32


@pytest.fixture(scope="module")
def pages(cohort: Any) -> dict[int, np.ndarray]:
    """What everybody was to train on, cheats included."""
    return {uid: cohort.draw(100 + uid, PAGES) for uid in range(12)}


@pytest.fixture(scope="module")
def honest(cohort: Any, pages: dict[int, np.ndarray]) -> dict[int, bytes]:
    """Payloads of members who did."""
    return {uid: cohort.payload(pages[uid]) for uid in range(HONEST)}


def weigh(
    cohort: Any, pages: dict[int, np.ndarray], payloads: dict[int, bytes], begin: bytes | None = None, **facts: Any
) -> Weighed:
    """Weigh a round in which everybody committed to what they sent, in order of the mapping."""
    begin = begin or hash_vector(cohort.theta_P, cohort.layout)
    committed = facts.pop("committed", [Committed(uid, begin, payload_hash(p)) for uid, p in payloads.items()])
    round_ = Round(cohort.theta_P, facts.pop("accepted", {}), committed, payloads)
    check = Check(cohort.draw(999, 16), np.arange(16) // 2, pages, cohort.draw(998, PAGES), nodes=3)
    return weigh_round(cohort.model, cohort.layout, round_, check, cohort.outer)


def test_honest_members_are_valued_and_their_step_is_the_next_theta(
    cohort: Any, pages: dict[int, np.ndarray], honest: dict[int, bytes]
) -> None:
    first = weigh(cohort, pages, honest)
    assert first.parameters == hash_vector(cohort.theta_P, cohort.layout)
    assert not first.refused
    assert first.applied_values == {}
    assert min(first.values.values()) > 0
    assert first.path_bits == pytest.approx(first.measured_bits, rel=0.02)
    after_P, momentum_P = next_parameters(cohort.theta_P, cohort.layout, honest, cohort.outer)
    assert momentum_P is None
    nobody = weigh(cohort, pages, {}, accepted=honest)
    assert nobody.parameters == hash_vector(after_P, cohort.layout)
    assert nobody.values == {}
    # The same step on the same windows: what was accepted is worth what it was worth.
    assert nobody.applied_values == pytest.approx(first.values)


def test_every_reason_to_refuse(cohort: Any, pages: dict[int, np.ndarray], honest: dict[int, bytes]) -> None:
    loud_P = np.zeros(cohort.layout.size, np.float32)
    update = decode(honest[1], cohort.layout, cohort.outer)
    loud_P[update.position_N] = update.value_N * np.float32(1000.0)
    payloads = {
        **honest,
        5: honest[2],
        6: compress(np.zeros_like(loud_P), cohort.layout, cohort.outer),
        7: honest[0][:-1] + bytes([honest[0][-1] ^ 1]),
        8: compress(np.roll(loud_P, 1), cohort.layout, cohort.outer),
        9: cohort.payload(cohort.draw(7, PAGES)),
        10: cohort.payload(pages[10]),
    }
    begin = hash_vector(cohort.theta_P, cohort.layout)
    committed = [Committed(uid, begin, payload_hash(payload)) for uid, payload in payloads.items() if uid < 9]
    committed += [
        Committed(9, begin, payload_hash(b"else")),
        Committed(10, bytes(32), payload_hash(payloads[10])),
        Committed(11, begin, bytes(32)),
    ]
    found = weigh(cohort, pages, payloads, committed=committed)
    codes = {uid: refusal.code for uid, refusal in found.refused.items()}
    expected = {5: "copy", 6: "empty", 7: "checksum", 8: "norm", 9: "hash", 10: "stale", 11: "missing"}
    assert codes == expected
    assert {uid: value for uid, value in found.values.items() if uid in codes} == dict.fromkeys(codes, 0.0)
    # Who is refused has no part in the step.
    assert {uid: value for uid, value in found.values.items() if uid < HONEST} == pytest.approx(
        weigh(cohort, pages, honest).values
    )


def test_who_trained_on_other_pages_has_no_trace(
    cohort: Any, pages: dict[int, np.ndarray], honest: dict[int, bytes]
) -> None:
    found = weigh(cohort, pages, {**honest, 9: cohort.payload(cohort.draw(7, PAGES))})
    assert {uid: refusal.code for uid, refusal in found.refused.items()} == {9: "pages"}
    assert found.values[9] == 0.0
    assert found.gains[9].z < found.gains[9].limit < min(found.gains[uid].z for uid in honest)


def test_a_flipped_update_is_not_refused_but_worth_less_than_nothing(
    cohort: Any, pages: dict[int, np.ndarray], honest: dict[int, bytes]
) -> None:
    update = decode(cohort.payload(pages[9]), cohort.layout, cohort.outer)
    flipped_P = np.zeros(cohort.layout.size, np.float32)
    flipped_P[update.position_N] = -update.value_N
    found = weigh(cohort, pages, {**honest, 9: compress(flipped_P, cohort.layout, cohort.outer)})
    assert found.refused == {}
    assert found.gains[9].z < 0
    assert found.values[9] < 0 < min(found.values[uid] for uid in honest)


def test_of_two_alike_the_one_that_committed_first_counts(
    cohort: Any, pages: dict[int, np.ndarray], honest: dict[int, bytes]
) -> None:
    found = weigh(cohort, pages, {5: honest[0], **honest})
    assert {uid: refusal.code for uid, refusal in found.refused.items() if refusal.code == "copy"} == {0: "copy"}


def test_what_was_accepted_last_round_does_not_count_again(
    cohort: Any, pages: dict[int, np.ndarray], honest: dict[int, bytes]
) -> None:
    accepted = {0: honest[0], 3: honest[3]}
    after_P, _ = next_parameters(cohort.theta_P, cohort.layout, accepted, cohort.outer)
    begin = hash_vector(after_P, cohort.layout)
    found = weigh(cohort, pages, {0: honest[0], 4: honest[3], 1: honest[1]}, begin, accepted=accepted)
    assert {uid: refusal.code for uid, refusal in found.refused.items()} == {0: "copy", 4: "copy"}
    assert found.parameters == begin
    assert set(found.applied_values) == {0, 3}


def test_accepted_payloads_that_cannot_be_read_add_nothing(cohort: Any, honest: dict[int, bytes]) -> None:
    some = {0: honest[0], 2: honest[2]}
    one, _ = next_parameters(cohort.theta_P, cohort.layout, some, cohort.outer)
    other, _ = next_parameters(cohort.theta_P, cohort.layout, {1: b"nonsense", **some}, cohort.outer)
    assert one.tobytes() == other.tobytes()
    alone, _ = next_parameters(cohort.theta_P, cohort.layout, {}, cohort.outer)
    assert alone.tobytes() == cohort.theta_P.tobytes()


def test_momentum_goes_from_round_to_round(cohort: Any, honest: dict[int, bytes]) -> None:
    outer = OuterSettings(rate=0.5, momentum=0.9, keep=cohort.outer.keep)
    updates = {uid: decode(payload, cohort.layout, outer) for uid, payload in honest.items()}
    theta_P, momentum_P = cohort.theta_P, None
    expected_P, expected_momentum_P = cohort.theta_P, None
    for _ in range(2):
        theta_P, momentum_P = next_parameters(theta_P, cohort.layout, honest, outer, momentum_P)
        step = joint_step(updates, cohort.layout.size, outer, expected_momentum_P)
        expected_P, expected_momentum_P = apply_step(expected_P, step), step.momentum_P
    assert theta_P.tobytes() == expected_P.tobytes()
    assert momentum_P is not None
    assert momentum_P.tobytes() == expected_momentum_P.tobytes()


def test_a_refusal_says_what_is_wrong(cohort: Any, pages: dict[int, np.ndarray], honest: dict[int, bytes]) -> None:
    found = weigh(cohort, pages, {0: honest[0], 1: honest[0]})
    assert isinstance(found.refused[1], UpdateRefused)
    assert str(found.refused[1]) == "copy: the update is nearly what uid 0 committed before"
