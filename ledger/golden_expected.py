"""What golden cases expect of epochs, held against what the ledger made of them.

Invariants: a name that is not understood is never passed over: the case is skipped and says so.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from ledger.golden_compare import (
    Function,
    GoldenInputError,
    Mismatch,
    UnsupportedError,
    check_relation,
    find_mismatch,
)
from ledger.golden_epochs import NOTES, U16, Epoch, find_bond, find_validators, read_sequence, run_sequence, share

SHARES = (
    "stake",
    "active_stake",
    "prerank",
    "consensus",
    "rank",
    "trust",
    "validator_trust",
    "incentive",
    "dividends",
)
"""Vectors of an outcome that cases may name, as `NAME_u16`, `NAME_float` or within `trace`."""

PAYMENTS = ("emission", "server_emission", "validator_emission")


def check_sequence(data: Any, expected: Any, tolerance: Mapping[str, Fraction]) -> Mismatch | None:
    """Run an epoch_sequence and compare every epoch with what is expected of it."""
    sequence = read_sequence(data)
    wanted = _field(expected, "epochs")
    epochs = list(run_sequence(sequence))
    if not isinstance(wanted, list) or len(wanted) > len(epochs):
        raise GoldenInputError(f"expected.epochs must be a list of at most {len(epochs)} epochs")
    validators = find_validators(sequence)
    for index, (epoch, entry) in enumerate(zip(epochs, wanted, strict=False)):
        for name, value in _entries(entry):
            found = _check_entry(epochs, epoch, name, value, tolerance, validators)
            if found:
                return found._replace(what=f"epoch {index}: {found.what}")
    return None


def _check_entry(
    epochs: list[Epoch],
    epoch: Epoch,
    name: str,
    value: Any,
    tolerance: Mapping[str, Fraction],
    validators: list[bool],
) -> Mismatch | None:
    if value is None:
        return None
    if name == "trace":
        found = (_check_values(epoch, part, values, tolerance, trace=True) for part, values in _entries(value))
        return next((mismatch for mismatch in found if mismatch), None)
    if name == "by_role":
        return _check_roles(epoch, value, tolerance, validators)
    if name == "relations":
        functions = _functions(epochs, tolerance)
        failed = [relation for relation in value if not check_relation(relation, functions)]
        return Mismatch(failed[0], True, False) if failed else None
    return _check_values(epoch, name, value, tolerance, trace=False)


def _check_values(
    epoch: Epoch, name: str, value: Any, tolerance: Mapping[str, Fraction], trace: bool
) -> Mismatch | None:
    if "bonds" in name and isinstance(value, list):
        triples = [_triple(entry, name) for entry in value]
        got: Any = [[uid, target, _bond(epoch, name, uid, target)] for uid, target, _ in triples]
    else:
        got = _vector(epoch, name, trace)
    return find_mismatch(name, value, got, _allowed(name, tolerance, trace))


def _triple(entry: Any, name: str) -> tuple[int, int, Any]:
    if not isinstance(entry, list) or len(entry) != 3:
        raise GoldenInputError(f"{name}: expected [uid, target, value], got {entry!r}")
    return entry[0], entry[1], entry[2]


def _vector(epoch: Epoch, name: str, trace: bool) -> list[Any]:
    incentive_rao, dividends_rao = epoch.emission.incentive_rao, epoch.emission.dividends_rao
    if name == "emission":
        return [sum(parts) for parts in zip(incentive_rao, dividends_rao, strict=True)]
    if name in PAYMENTS:
        return incentive_rao if name == "server_emission" else dividends_rao
    if name in ("validator_permit", "active"):
        return epoch.outcome.permits if name == "validator_permit" else epoch.active
    base, _, form = name.rpartition("_")
    if trace and name in SHARES:
        base, form = name, "float"
    if base not in SHARES or form not in ("u16", "float"):
        raise UnsupportedError(f"expects {name}, which this runner does not compute")
    values: list[int] = getattr(epoch.outcome, f"{base}_q31")
    return [share(value) for value in values] if form == "float" else [value * U16 // 2**31 for value in values]


def _bond(epoch: Epoch, name: str, uid: int, target: int) -> int | Fraction:
    if name == "bonds_u16":
        return find_bond(epoch.bonds_u16, uid, target)
    if name in ("bonds_float", "ema_bonds", "bonds"):
        return share(find_bond(epoch.outcome.bonds, uid, target))
    raise UnsupportedError(f"expects {name}, which this runner does not compute")


def _check_roles(
    epoch: Epoch, by_role: Any, tolerance: Mapping[str, Fraction], validators: list[bool]
) -> Mismatch | None:
    for role, entry in _entries(by_role):
        if role not in ("validators", "servers"):
            raise UnsupportedError(f"expects by_role.{role}, which this runner does not know")
        uids = [uid for uid, validates in enumerate(validators) if validates == (role == "validators")]
        for name, value in _entries(entry):
            if name.startswith("bond_on_first_"):
                first = validators.index(name == "bond_on_first_validator")
                got: list[Any] = [find_bond(epoch.bonds_u16, uid, first) for uid in uids]
                allowed = _allowed("bonds_u16", tolerance, trace=False)
            else:
                vector = _vector(epoch, name, trace=False)
                got, allowed = [vector[uid] for uid in uids], _allowed(name, tolerance, trace=False)
            found = find_mismatch(name, [value] * len(uids), got, allowed)
            if found:
                return found._replace(what=f"{role}: {found.what}")
    return None


def _functions(epochs: list[Epoch], tolerance: Mapping[str, Fraction]) -> dict[str, Function]:
    """What relations may call; epochs and uids are counted from 0."""
    u16, rao = (_allowed(name, tolerance, trace=False) for name in ("bonds_u16", "emission"))
    exact = _allowed("trace", tolerance, trace=True)

    def payment(name: str) -> Function:
        return Function(lambda epoch, uid: _vector(epochs[epoch], name, trace=False)[uid], rao)

    def shares(name: str) -> Function:
        return Function(lambda epoch, uid: share(getattr(epochs[epoch].outcome, f"{name}_q31")[uid]), exact)

    return {
        "abs": Function(abs),
        "min": Function(min),
        "max": Function(max),
        "bond": Function(lambda epoch, uid, target: find_bond(epochs[epoch].bonds_u16, uid, target), u16),
        "total": Function(lambda epoch: epochs[epoch].emission.minted_rao, rao),
        "se": payment("server_emission"),
        "ve": payment("validator_emission"),
        "emission": payment("emission"),
        "inc": shares("incentive"),
        "div": shares("dividends"),
        **{name: shares(name) for name in SHARES},
    }


def _allowed(name: str, tolerance: Mapping[str, Fraction], trace: bool) -> Fraction:
    """The tolerance of a value: `*_float` entries are for implementations with a rounding of their own, as this one."""
    if trace:
        keys = ["trace_float", "trace", "abs"]
    elif name in PAYMENTS:
        keys = [f"{name}_float", name, "rao_float", "rao"]
    elif name.endswith("_u16"):
        keys = [f"{name}_float", name, "u16_float", "u16"]
    else:
        keys = [name, "trace_float", "trace", "abs"]
    return next((tolerance[key] for key in keys if key in tolerance), Fraction(0))


def _field(data: Any, name: str) -> Any:
    if not isinstance(data, dict) or name not in data:
        raise GoldenInputError(f"expected lacks {name!r}")
    return data[name]


def _entries(data: Any) -> list[tuple[str, Any]]:
    if not isinstance(data, dict):
        raise GoldenInputError(f"expected an object, got {data!r}")
    return [(name, value) for name, value in data.items() if name not in NOTES]
