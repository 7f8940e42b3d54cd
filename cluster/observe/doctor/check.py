"""What a check says."""

from typing import Literal

from msgspec import Struct

Level = Literal["ok", "warn", "bad"]


class Check(Struct, frozen=True, kw_only=True):
    """What one check saw.

    Attributes:
        name: of what was looked at, such as `home.fsync`.
        level: ok; warn: it works, and something will be slow or unsafe; bad: a network cannot run so.
        sentence: what was seen. mend: what to do; empty where all is well.
    """

    name: str
    level: Level
    sentence: str
    mend: str = ""


def ok(name: str, sentence: str) -> Check:
    """All is well."""
    return Check(name=name, level="ok", sentence=sentence)


def warn(name: str, sentence: str, mend: str) -> Check:
    """It works, and something will be slow or unsafe."""
    return Check(name=name, level="warn", sentence=sentence, mend=mend)


def bad(name: str, sentence: str, mend: str) -> Check:
    """A network cannot run so."""
    return Check(name=name, level="bad", sentence=sentence, mend=mend)
