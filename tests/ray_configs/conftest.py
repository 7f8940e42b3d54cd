"""The files of ray_configs, and what the project says of itself."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def configs() -> Path:
    """The folder of the configurations."""
    return ROOT / "ray_configs"


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def pinned() -> dict[str, str]:
    """The versions that are tested, by package in lower case."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return {name.lower(): version for name, version in re.findall(r"^([\w.-]+)==(\S+)$", text, flags=re.MULTILINE)}
