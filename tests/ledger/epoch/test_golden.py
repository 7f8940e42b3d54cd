"""The golden cases of the classic profile, run through the ledger's own consensus and emission.

Not run, for the ledger does not have what they are about: epochs of the yuma3 profile or with a subnet owner, the parts
of root and owner in an `emission_split`, `dividend_distribution`, `ema_alpha`, `interpolate`, `col_max_upscale`,
`sigmoid`, `consensus_2023`, `whitepaper_cabal`, `blocks_until_next_epoch` (epochs count, not blocks), `max_upscale_*`
and `check_max_limited` (votes are scaled by the validator), `difficulty_adjust`.
`burn_price` and `prune` are about membership, and run with its rules.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from ledger.epoch.consensus import Inputs, Outcome, Row, Rules, compute_classic, compute_consensus, compute_permits
from ledger.epoch.emission import Emission, block_emission_rao, split_emission
from ledger.epoch.fixed import ONE_Q31, normalize_q31, split_largest_remainder

GOLDEN = Path(__file__).parents[2] / "golden" / "yuma.json"
CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["cases"]


class Epoch(NamedTuple):
    outcome: Outcome
    emission: Emission

    @property
    def paid_rao(self) -> list[int]:
        return [sum(pair) for pair in zip(self.emission.incentive_rao, self.emission.dividends_rao, strict=True)]


def cases(*kinds: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES if case["kind"] in kinds]


def classic_epochs() -> list[Any]:
    """Each case of the classic profile, and each with several epochs in both ways of storing bonds between them."""

    def has_all_features(case: dict[str, Any]) -> bool:
        params = case["input"]["params"]
        return not params.get("yuma3") and "owner_uid" not in params

    chosen = [case for case in CASES if case["kind"] == "epoch_sequence" and has_all_features(case)]
    several = [case for case in chosen if len(case["expected"]["epochs"]) > 1]
    return [pytest.param(case, q31_bonds, id=f"{case['id']}-q31") for case in chosen] + [
        pytest.param(case, truncated_bonds, id=f"{case['id']}-truncated") for case in several
    ]


def generated_validators(spec: dict[str, Any]) -> set[int]:
    size, count = spec["n"], spec["validators"]
    return set(range(count)) if spec["layout"] == "block" else set(range(0, size, size // count))


def expand_generator(spec: dict[str, Any]) -> dict[str, Any]:
    """A uniform graph as an ordinary case: each validator gives the full weight to every server."""
    size, validators = spec["n"], generated_validators(spec)
    servers = [uid for uid in range(size) if uid not in validators]
    rows = [[[target, 65535] for target in servers] if uid in validators else [] for uid in range(size)]
    if spec["server_self"]:
        for uid in servers:
            rows[uid] = [[uid, 65535]]
    first = {
        "stake": [spec["stake_per_validator"] if uid in validators else 0 for uid in range(size)],
        "weights": rows,
        "last_update": [spec["last_update"]] * size,
        "block_at_registration": [spec["registered_at"]] * size,
        "current_block": spec["current_block"],
        "rao_emission": spec["rao_emission"],
    }
    initial = {"validator_permit": [uid in validators for uid in range(size)], "bonds": [[]] * size}
    return {"n": size, "initial": initial, "epochs": [first] + [{}] * (spec["epochs"] - 1)}


def to_rows(pairs_by_uid: list[list[list[int]]], scale: int = 1, unit: int = 1) -> dict[int, Row]:
    return {
        uid: ([target for target, _ in pairs], [value * scale // unit for _, value in pairs])
        for uid, pairs in enumerate(pairs_by_uid)
        if pairs
    }


def to_inputs(params: dict[str, Any], epoch: dict[str, Any], permits: list[bool], bonds: dict[int, Row]) -> Inputs:
    block, registered_at = epoch["current_block"], epoch["block_at_registration"]
    last_update = epoch["last_update"]
    first_commit = epoch.get("first_commit_block", last_update)
    cleared = epoch.get("clear_uids", [])
    return Inputs(
        stake_rao=epoch["stake"],
        active=[update + params["activity_cutoff"] >= block for update in last_update],
        permits=[permit and uid not in cleared for uid, permit in enumerate(permits)],
        last_update=[min(pair) for pair in zip(last_update, first_commit, strict=True)],
        registered_at=registered_at,
        newly_registered=[max(0, block - params["tempo"]) <= registered for registered in registered_at],
        weights=to_rows(epoch["weights"]),
        bonds={uid: row for uid, row in bonds.items() if uid not in cleared},
    )


def run_epochs(case: dict[str, Any], store_bonds: Callable[[Outcome], dict[int, Row]]) -> Iterator[Epoch]:
    params = case["input"]["params"]
    source = expand_generator(case["input"]["generator"]) if "generator" in case["input"] else case["input"]
    rules = Rules(
        kappa=(params["kappa"], 65535),
        alpha=(1_000_000 - params["bonds_moving_average"], 1_000_000),
        max_validators=params["max_allowed_validators"],
        minimum_stake_rao=params.get("stake_threshold", 1),
    )
    permits = source["initial"]["validator_permit"]
    bonds = to_rows(source["initial"]["bonds"], ONE_Q31, 65535)
    epoch: dict[str, Any] = {}
    outcome: Outcome | None = None
    for changes in source["epochs"]:
        if outcome is not None:
            permits, bonds = outcome.permits, store_bonds(outcome)
        epoch = {**epoch, **changes, "clear_uids": changes.get("clear_uids", [])}
        outcome = compute_classic(to_inputs(params, epoch, permits, bonds), rules)
        yield Epoch(outcome, split_emission(epoch["rao_emission"], outcome))


def upscaled_bonds_u16(outcome: Outcome) -> dict[tuple[int, int], int]:
    """Bonds as the reference stores them: each column scaled so that its largest is 65535, truncated."""
    bonds = {(i, j): value for i, row in outcome.bonds.items() for j, value in zip(*row, strict=True)}
    largest: dict[int, int] = {}
    for (_, j), value in bonds.items():
        largest[j] = max(largest.get(j, 0), value)
    return {(i, j): value * 65535 // largest[j] for (i, j), value in bonds.items()}


def q31_bonds(outcome: Outcome) -> dict[int, Row]:
    return outcome.bonds


def truncated_bonds(outcome: Outcome) -> dict[int, Row]:
    bonds = upscaled_bonds_u16(outcome)
    return {i: (targets, [bonds[i, j] for j in targets]) for i, (targets, _) in outcome.bonds.items()}


def assert_near(actual: list[Any], expected: list[Any], tolerance: float, what: str) -> None:
    assert len(actual) == len(expected), what
    for uid, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        assert theirs is None or abs(ours - theirs) <= tolerance, f"{what} of uid {uid}: {ours}, expected {theirs}"


def assert_vectors(epoch: Epoch, expected: dict[str, Any], u16: float, rao: float) -> None:
    outcome = epoch.outcome
    paid = {
        "emission": epoch.paid_rao,
        "server_emission": epoch.emission.incentive_rao,
        "validator_emission": epoch.emission.dividends_rao,
    }
    for name, value in expected.items():
        if name == "validator_permit":
            assert outcome.permits == value
        elif name == "bonds_u16":
            ours = upscaled_bonds_u16(outcome)
            assert_near([ours.get((i, j), 0) for i, j, _ in value], [bond for _, _, bond in value], u16, name)
        elif name in paid:
            assert_near(paid[name], value, rao, name)
        elif name.endswith("_u16"):
            shares = getattr(outcome, name.replace("_u16", "_q31"))
            assert_near([share * 65535 // ONE_Q31 for share in shares], value, u16, name)
        else:
            assert name in {"trace", "by_role", "relations"}, f"{name} is not compared by any test"


def assert_trace(outcome: Outcome, trace: dict[str, Any], tolerance: float) -> None:
    for name, value in trace.items():
        if name == "ema_bonds":
            bonds = {(i, j): share for i, row in outcome.bonds.items() for j, share in zip(*row, strict=True)}
            shares, values = [bonds[i, j] for i, j, _ in value], [bond for _, _, bond in value]
        else:
            shares, values = getattr(outcome, f"{name}_q31"), value
        assert_near([share / ONE_Q31 for share in shares], values, tolerance, name)


def assert_roles(case: dict[str, Any], epoch: Epoch, by_role: dict[str, dict[str, int]]) -> None:
    validators = generated_validators(case["input"]["generator"])
    permits = [uid in validators for uid in range(case["input"]["generator"]["n"])]
    bonds = upscaled_bonds_u16(epoch.outcome) if "bond_on_first_server" in by_role["servers"] else {}
    paid_rao = epoch.paid_rao
    for role, expected in by_role.items():
        uids = [uid for uid, permit in enumerate(permits) if permit == (role == "validators")]
        for name, value in expected.items():
            if name == "emission":
                ours, slack = [paid_rao[uid] for uid in uids], case["tolerance"]["rao"]
            elif name.startswith("bond_on_first_"):
                first = permits.index(name == "bond_on_first_validator")
                ours, slack = [bonds.get((uid, first), 0) for uid in uids], case["tolerance"]["u16"]
            else:
                shares = getattr(epoch.outcome, name.replace("_u16", "_q31"))
                ours, slack = [shares[uid] * 65535 // ONE_Q31 for uid in uids], case["tolerance"]["u16"]
            assert_near(ours, [value] * len(uids), slack, f"{role}' {name}")


@pytest.mark.parametrize(("case", "store_bonds"), classic_epochs())
def test_an_epoch_sequence_gives_the_values_of_the_reference(
    case: dict[str, Any], store_bonds: Callable[[Outcome], dict[int, Row]]
) -> None:
    """Within the tolerance of each case when bonds are truncated to u16 between epochs, as the reference does.

    As the ledger keeps them, without that drift, payments of a long sequence may differ by what 5 units are worth.
    """
    tolerance = case["tolerance"]
    slack = {name: tolerance.get(f"{name}_float", tolerance[name]) for name in ("u16", "rao", "trace")}
    if store_bonds is q31_bonds and "rao_float" in tolerance:
        slack["rao"] = 10**9 // 2 * 5 / 65535
    epochs = list(run_epochs(case, store_bonds))
    names = {
        "abs": abs,
        "inc": lambda e, i: epochs[e].outcome.incentive_q31[i] / ONE_Q31,
        "se": lambda e, i: epochs[e].emission.incentive_rao[i],
        "total": lambda e: epochs[e].emission.minted_rao,
    }
    for epoch, expected in zip(epochs, case["expected"]["epochs"], strict=True):
        assert_vectors(epoch, expected, slack["u16"], slack["rao"])
        assert_trace(epoch.outcome, expected.get("trace", {}), slack["trace"])
        if "by_role" in expected:
            assert_roles(case, epoch, expected["by_role"])
        for relation in expected.get("relations", []):
            assert eval(relation, {"__builtins__": {}}, names), relation


@pytest.mark.parametrize("case", cases("weighted_median", "weighted_median_col"))
def test_consensus_is_the_stake_weighted_median(case: dict[str, Any]) -> None:
    million = 10**6
    score = np.array(case["input"]["score"], dtype=np.float64)
    score = score[:, None] if case["kind"] == "weighted_median" else score
    weights_VN = np.round(score * million).astype(np.int64)
    stake_V = np.array(normalize_q31([round(stake * million) for stake in case["input"]["stake"]]), dtype=np.int64)
    # Shares are rounded to Q31, the cases' exact ties (0.51 of 1) are not, hence one unit of room below the majority.
    majority = (round(case["input"]["majority"] * ONE_Q31) - 1, ONE_Q31 - 1)
    median_N = compute_consensus(stake_V, weights_VN, majority)
    expected = np.atleast_1d(case["expected"]["median"])
    assert_near((median_N / million).tolist(), expected.tolist(), case["tolerance"]["abs"], "median")


@pytest.mark.parametrize("case", cases("block_emission"))
def test_block_emission_halves_with_issuance(case: dict[str, Any]) -> None:
    assert [block_emission_rao(issuance) for issuance in case["input"]["issuance"]] == case["expected"]["emission"]


@pytest.mark.parametrize("case", cases("topk"))
def test_permits_are_the_largest_stakes(case: dict[str, Any]) -> None:
    for arguments, mask in zip(case["input"]["cases"], case["expected"]["masks"], strict=True):
        stake = [round(value * 10) for value in arguments["values"]]
        assert compute_permits(stake, arguments["k"], minimum_stake_rao=0) == mask


@pytest.mark.parametrize("case", cases("emission_split"))
def test_half_goes_to_each_side(case: dict[str, Any]) -> None:
    for arguments, split in zip(case["input"]["cases"], case["expected"]["splits"], strict=True):
        if arguments["owner_cut"] == 0 and "server" in split:
            halves = split_largest_remainder(arguments["alpha_out"], [1, 1])
            assert halves == [split["server"], split["validator"] + split["root"]]


def majority_graph(
    rng: np.random.Generator, stake: float, major: float, minor: float, spread: float
) -> tuple[Inputs, list[bool]]:
    """A random graph of two camps, and who belongs to the majority: 512 nodes, of which the first 64 validate."""
    size, count = 512, 64
    sides = [int(stake * count), int(stake * (size - count))]
    in_major = [uid < sides[0] if uid < count else uid - count < sides[1] for uid in range(size)]
    major_v, major_s = np.array(in_major[:count]), np.array(in_major[count:])
    drawn_V = np.maximum(rng.normal(1, 0.3, count), 0)
    for side, share in ((major_v, stake), (~major_v, 1 - stake)):
        drawn_V[side] *= share / drawn_V[side].sum()
    weights_VS = np.maximum(rng.normal(1, spread, (count, size - count)), 0)
    for rows, on_major in ((major_v, major), (~major_v, 1 - minor)):
        for columns, share in ((major_s, on_major), (~major_s, 1 - on_major)):
            quadrant = np.ix_(rows, columns)
            weights_VS[quadrant] *= share / np.maximum(weights_VS[quadrant].sum(axis=1, keepdims=True), 1e-300)
    votes_VS = np.floor(65535 * weights_VS).astype(int)  # as coarse as in the reference's test, rows sum to about 65535
    targets = list(range(count, size))
    inputs = Inputs(
        stake_rao=[int(value * 10**15) for value in drawn_V] + [0] * (size - count),
        active=[True] * size,
        permits=[uid < count for uid in range(size)],
        last_update=[1] * size,
        registered_at=[0] * size,
        newly_registered=[False] * size,
        weights={uid: (targets, votes_VS[uid].tolist()) for uid in range(count)},
        bonds={},
    )
    return inputs, in_major


@pytest.mark.parametrize("case", cases("consensus_guarantee"))
def test_the_majority_earns_at_least_its_share_of_stake(case: dict[str, Any]) -> None:
    rng = np.random.default_rng(2023)
    for stake, major, minor, spread in case["input"]["tuples"]:
        for _ in range(case["input"]["seeds"]):
            inputs, in_major = majority_graph(rng, stake, major, minor, spread)
            emission = split_emission(10**9, compute_classic(inputs, Rules()))
            paid = zip(emission.incentive_rao, emission.dividends_rao, in_major, strict=True)
            earned = sum(incentive + dividends for incentive, dividends, majority in paid if majority)
            assert earned >= stake * emission.minted_rao, (stake, major, minor, spread)
