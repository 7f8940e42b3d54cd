"""Figures as a person reads them, and the sentence that says what bounds a piece of work before it is measured."""

from collections.abc import Mapping

from models.bench.ceilings import Ceilings
from models.bench.cost import Cost

PREFIXES = ("", "k", "M", "G", "T", "P", "E")
SMALL = ("", "m", "µ", "n")


def quantity(value: float, unit: str) -> str:
    """Three digits with the prefix that fits: "4.60 GFLOP", "12.3 ms"."""
    prefix, power = "", 0
    if value and abs(value) < 1 and unit == "s":
        while abs(value) * 1000**power < 0.9995 and power < len(SMALL) - 1:
            power += 1
        value, prefix = value * 1000**power, SMALL[power]
    else:
        while abs(value) >= 999.5 and power < len(PREFIXES) - 1:
            value, power = value / 1000, power + 1
        prefix = PREFIXES[power]
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} {prefix}{unit}"


def setting_words(setting: Mapping[str, str | int | float | bool]) -> str:
    """A setting as a person says it: "length 512, dtype float32"."""
    return ", ".join(f"{name} {value}" for name, value in setting.items())


def bound_sentence(setting: Mapping[str, str | int | float | bool], cost: Cost, ceilings: Ceilings) -> str:
    """What a repetition of work costs at least, and which of its two floors is the higher."""
    operations_s, bytes_s = cost.floors_s(ceilings)
    return (
        f"{setting_words(setting)}: {quantity(cost.operations, 'FLOP')} take {quantity(operations_s, 's')} at "
        f"{quantity(ceilings.operations_s, 'FLOP/s')}, {quantity(cost.bytes, 'B')} take {quantity(bytes_s, 's')} at "
        f"{quantity(ceilings.bytes_s, 'B/s')}: bound by {cost.bound(ceilings)}"
    )
