"""How golden cases are compared: numbers within a tolerance, and relations written as expressions.

Invariants: all numbers are exact (decimals of a file become fractions); an expression can compute and compare, and do
nothing else.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import lcm
from typing import Any, NamedTuple, TypeVar

import msgspec

Value = TypeVar("Value")
Number = int | Fraction
Tolerances = Mapping[str, Fraction]
Check = Callable[[Any, Any, Tolerances], "Mismatch | None"]
"""Runs a case: its input, what is expected, and the tolerances. Nothing is returned where all is as expected."""

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: Fraction(left) / right,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any, Any], bool]] = {
    ast.Eq: lambda left, right, slack: abs(left - right) <= slack,
    ast.NotEq: lambda left, right, slack: left != right,
    ast.Lt: lambda left, right, slack: left < right,
    ast.LtE: lambda left, right, slack: left <= right + slack,
    ast.Gt: lambda left, right, slack: left > right,
    ast.GtE: lambda left, right, slack: left >= right - slack,
}
"""How two sides compare when their numbers may be off by `slack`; strict comparisons allow none."""


class GoldenInputError(Exception):
    """A case that can't be read: its message says what is wrong with it."""


class UnsupportedError(Exception):
    """A case about something that this ledger does not have: its message says what."""


class Mismatch(NamedTuple):
    """The first thing of a case that came out differently."""

    what: str
    expected: Any
    got: Any


class Function(NamedTuple):
    """A function that expressions may call, and how far its values may be off."""

    call: Callable[..., Number]
    slack: Fraction = Fraction(0)


def read_as(data: Any, type_: type[Value], what: str) -> Value:
    """JSON data as a type; GoldenInputError says where it differs."""

    def exact(wanted: type, value: Any) -> Any:
        if wanted is Fraction and type(value) in (int, Fraction):
            return Fraction(value)
        raise TypeError(f"Expected a number, got `{type(value).__name__}`")

    try:
        return msgspec.convert(data, type=type_, dec_hook=exact)
    except (msgspec.ValidationError, TypeError) as error:
        raise GoldenInputError(f"{what}: {error}") from None


def map_nested(apply: Callable[[Any], Any], nested: Any) -> Any:
    """The same lists of lists with a function applied to each number; GoldenInputError if something is no number."""
    if isinstance(nested, list):
        return [map_nested(apply, part) for part in nested]
    if isinstance(nested, bool) or not isinstance(nested, int | Fraction):
        raise GoldenInputError(f"expected a number, got {nested!r}")
    return apply(nested)


def find_mismatch(what: str, expected: Any, got: Any, tolerance: Fraction) -> Mismatch | None:
    """The first entry in which `got` is not within `tolerance` of `expected`; null in `expected` asserts nothing."""
    if expected is None:
        return None
    same = expected == got
    if isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return Mismatch(f"length of {what}", len(expected), len(got))
        pairs = enumerate(zip(expected, got, strict=True))
        found = (find_mismatch(f"{what}[{index}]", theirs, ours, tolerance) for index, (theirs, ours) in pairs)
        return next((mismatch for mismatch in found if mismatch), None)
    if isinstance(expected, int | Fraction) and isinstance(got, int | Fraction) and not isinstance(expected, bool):
        difference: Any = abs(got - expected)
        same = difference <= tolerance
    return None if same else Mismatch(what, expected, got)


def check_relation(expression: str, functions: Mapping[str, Function]) -> bool:
    """Whether an expression over numbers and `functions` holds; GoldenInputError if it is something else."""
    try:
        return bool(_evaluate(ast.parse(expression.strip(), mode="eval").body, functions))
    except (SyntaxError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise GoldenInputError(f"relation {expression!r}: {error}") from None


def _evaluate(node: ast.expr, functions: Mapping[str, Function]) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Fraction(repr(node.value)) if isinstance(node.value, float) else node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _evaluate(node.operand, functions)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand, functions)
    if isinstance(node, ast.BoolOp):
        values = [bool(_evaluate(value, functions)) for value in node.values]
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        return ARITHMETIC[type(node.op)](_evaluate(node.left, functions), _evaluate(node.right, functions))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
        return functions[node.func.id].call(*(_evaluate(argument, functions) for argument in node.args))
    if isinstance(node, ast.Name) and node.id in functions:
        return functions[node.id].call()
    if isinstance(node, ast.Compare):
        return _compare(node, functions)
    raise ValueError(f"{ast.unparse(node)!r} is not understood")


def _compare(node: ast.Compare, functions: Mapping[str, Function]) -> bool:
    named = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    slack = max((functions[name].slack for name in named if name in functions), default=Fraction(0))
    values = [_evaluate(value, functions) for value in (node.left, *node.comparators)]
    sides = zip(node.ops, values, values[1:], strict=False)
    return all(COMPARISONS[type(operation)](left, right, slack) for operation, left, right in sides)


def whole(values: list[Fraction]) -> list[int]:
    """The same proportions in whole numbers."""
    scale = lcm(*(value.denominator for value in values))
    return [int(value * scale) for value in values]


def ratio(value: Fraction) -> tuple[int, int]:
    """Numerator and denominator."""
    return value.numerator, value.denominator


def each(field: str, result: str, type_: Any, compute: Callable[[Any], Any]) -> Check:
    """A check of a list of inputs, `input[field]`, each against its entry of `expected[result]`."""

    def check(data: Any, expected: Any, tolerance: Tolerances) -> Mismatch | None:
        cases = read_as(data, dict[str, Any], "input").get(field)
        wanted = read_as(expected, dict[str, Any], "expected").get(result)
        if not isinstance(cases, list) or not isinstance(wanted, list) or len(cases) != len(wanted):
            raise GoldenInputError(f"input.{field} and expected.{result} must be lists of one length")
        for index, (case, value) in enumerate(zip(cases, wanted, strict=True)):
            got = compute(case if type_ is None else read_as(case, type_, f"input.{field}[{index}]"))
            found = compare_parts(f"{result}[{index}]", value, got, slack_of(tolerance))
            if found:
                return found
        return None

    return check


def once(result: str, compute: Callable[[Any], Any]) -> Check:
    """A check of the whole input against `expected[result]`."""

    def check(data: Any, expected: Any, tolerance: Tolerances) -> Mismatch | None:
        wanted = read_as(expected, dict[str, Any], "expected")
        if result not in wanted:
            raise GoldenInputError(f"expected lacks {result!r}")
        return find_mismatch(result, wanted[result], compute(data), slack_of(tolerance))

    return check


def compare_parts(what: str, expected: Any, got: Any, slack: Fraction) -> Mismatch | None:
    if isinstance(expected, dict) and isinstance(got, dict):
        unknown = set(expected) - set(got)
        if unknown:
            raise UnsupportedError(f"expects {', '.join(sorted(unknown))}, which this runner does not compute")
        found = (find_mismatch(f"{what}.{name}", expected[name], got[name], slack) for name in expected)
        return next((mismatch for mismatch in found if mismatch), None)
    return find_mismatch(what, expected, got, slack)


def slack_of(tolerance: Tolerances) -> Fraction:
    """Cases of single rules have one tolerance, whatever its name."""
    return max(tolerance.values(), default=Fraction(0))
