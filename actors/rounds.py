"""What a validator makes of what hosts weighed for it: its word on each cohort's round, and what it tells of it.

Invariants:
* every hash in an answer is compared with the validator's own replica of the ledger; what does not fit is not said;
* errors are by whole documents: groups of windows that share one are joined;
* who contributed an update that counts has answered this epoch.

Legend: U updates, W windows, G groups of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.ballot import ContributionFinding, RoundFinding
from actors.round_wire import Along, WeighAnswer, check_weighed, page_seed
from actors.wire import Query, WireError
from ledger.state import State
from models.train.cohort import cohort_id
from models.value.accounts import NANO
from models.value.updates import Bits, Weighing, whole_values


@dataclass(frozen=True)
class Heard:
    """What a validator says of rounds, ascending by cohort.

    Attributes:
        weighings: its words, each with what it rests on. findings: for people, also of rounds that it is silent on.
        contributed: uids whose update of this epoch counts.
    """

    weighings: tuple[Weighing, ...]
    findings: tuple[RoundFinding, ...]
    contributed: frozenset[int]


def hear(
    answers: Sequence[WeighAnswer], query: Query, *, state: State, operator: bytes, document_W: NDArray[np.integer]
) -> Heard:
    """Check what was weighed on a validator's query, and make its word of it.

    Args:
        state: of its replica, after the open block.
        document_W: the document of each window of the query.
    """
    weighings: list[Weighing] = []
    findings: list[RoundFinding] = []
    contributed: set[int] = set()
    for answer in sorted(answers, key=lambda answer: answer.request.cohort):
        try:
            if any(weighing.cohort == answer.request.cohort for weighing in weighings):
                raise WireError("the round was weighed twice")
            check_weighed(answer, query, operator=operator)
            _check_ledger(answer, state)
        except WireError as error:
            findings.append(_silent(answer, str(error)))
            continue
        weighing = _weighing(answer, state)
        weighings.append(weighing)
        findings.append(_finding(answer, weighing, document_W))
        contributed |= {each.uid for each in answer.request.entrants} - weighing.refused.keys()
    return Heard(tuple(weighings), tuple(findings), frozenset(contributed))


def _check_ledger(answer: WeighAnswer, state: State) -> None:
    """Raise WireError unless the round that was weighed is the ledger's."""
    asked = answer.request
    if cohort_id(asked.first, asked.outer) != asked.cohort:
        raise WireError("the cohort's rules, or the version that it began with, are not those of its name")
    row = state.cohorts().get(asked.cohort)
    standing = (
        (asked.first, None, ())
        if row is None
        else (row.manifest, row.parameters, tuple((each.uid, each.payload) for each in row.accepted))
    )
    if (asked.manifest, asked.parameters, asked.accepted) != standing:
        raise WireError("the round that was weighed does not begin where the ledger's row of the cohort ends")
    owners = {neuron.uid: neuron.hotkey for neuron in state.neurons()}
    close_hash = state.globals.previous_close_hash
    committed = sorted(
        (row.place, uid, row.parameters, row.payload)
        for uid, row in state.contributions().items()
        if row.cohort == asked.cohort
    )
    entrants = [(each.uid, each.parameters, each.payload) for each in asked.entrants]
    if entrants != [each[1:] for each in committed]:
        raise WireError("the updates that were weighed are not those that the open block has")
    if any(each.page_seed != page_seed(close_hash, owners[each.uid]) for each in asked.entrants):
        raise WireError("the pages that were looked at are not those that the members were to train on")


def _weighing(answer: WeighAnswer, state: State) -> Weighing:
    row = state.cohorts().get(answer.request.cohort)
    first, applied = _bits(answer.first), _bits(answer.applied)
    return Weighing(
        cohort=answer.request.cohort,
        parameters=answer.parameters,
        manifest=answer.manifest,
        sums_before={} if row is None else {each.uid: each.value for each in row.sums},
        earning=[] if row is None else [each.uid for each in row.accepted if not each.left],
        window=list(answer.window_W),
        group=list(answer.group_W),
        bytes_G=list(answer.bytes_G),
        first=first,
        applied=applied,
        refused={uid: code for uid, code, _ in sorted(answer.refused)},
        values=whole_values(first, answer.bytes_G),
        applied_values=whole_values(applied, answer.bytes_G),
    )


def _bits(along: Along) -> Bits:
    return Bits(list(along.uids), [list(bits_G) for bits_G in along.bits_UG])


def _silent(answer: WeighAnswer, problem: str) -> RoundFinding:
    return RoundFinding(
        cohort=answer.request.cohort,
        parameters=answer.parameters,
        manifest=answer.manifest,
        path_bits=0.0,
        measured_bits=0.0,
        contributions=(),
        problem=problem,
    )


def _finding(answer: WeighAnswer, weighing: Weighing, document_W: NDArray[np.integer]) -> RoundFinding:
    refusals = {uid: f"{code}: {sentence}" for uid, code, sentence in answer.refused}
    errors = _errors(answer, document_W)
    uids = sorted({*refusals, *weighing.values, *weighing.applied_values})
    return RoundFinding(
        cohort=weighing.cohort,
        parameters=weighing.parameters,
        manifest=weighing.manifest,
        path_bits=answer.first.path_bits,
        measured_bits=answer.first.measured_bits,
        contributions=tuple(
            ContributionFinding(
                uid=uid,
                bits=_bits_of(weighing.values.get(uid)),
                bits_se=errors.get(uid),
                applied_bits=_bits_of(weighing.applied_values.get(uid)),
                refusal=refusals.get(uid, ""),
            )
            for uid in uids
        ),
    )


def _bits_of(whole: int | None) -> float | None:
    return None if whole is None else whole / NANO


def _errors(answer: WeighAnswer, document_W: NDArray[np.integer]) -> dict[int, float]:
    """Standard errors of the first values, by uid; none where all windows are of documents that hang together."""
    from models.train.update_value import ratio_errors  # torch comes with the first round

    joint_G = joint_groups(np.array(answer.group_W), document_W[list(answer.window_W)])
    if joint_G.max() == 0 or not answer.first.uids:
        return {}
    bits_UG = np.zeros((len(answer.first.uids), int(joint_G.max()) + 1))
    for bits_G, own_G in zip(bits_UG, answer.first.bits_UG, strict=True):
        np.add.at(bits_G, joint_G, own_G)
    bytes_G = np.bincount(joint_G, weights=answer.bytes_G).astype(np.int64)
    return dict(zip(answer.first.uids, ratio_errors(bits_UG, bytes_G).tolist(), strict=True))


def joint_groups(group_W: NDArray[np.integer], document_W: NDArray[np.integer]) -> NDArray[np.intp]:
    """By group, its number once groups that share a document are one: numbers ascend from 0."""
    label_G = np.arange(int(group_W.max()) + 1)
    for document in np.unique(document_W):
        labels = np.unique(label_G[group_W[document_W == document]])
        label_G[np.isin(label_G, labels)] = labels[0]
    return np.unique(label_G, return_inverse=True)[1].reshape(-1)
