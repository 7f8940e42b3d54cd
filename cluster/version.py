"""Which taoray this is: the checkout's version where it runs from one, as a job on a cluster does, else the installed
one's.
"""

import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The folder that the packages stand in."""


def is_checkout(root: Path) -> bool:
    """Whether a folder holds taoray's sources, with the project's file beside them."""
    project = root / "pyproject.toml"
    if not project.is_file():
        return False
    try:
        return bool(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["name"] == "taoray")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError):
        return False


def _version() -> str:
    if is_checkout(ROOT):
        return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    return version("taoray")


VERSION = _version()
