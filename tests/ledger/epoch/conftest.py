"""What tests of consensus share: the float64 version beside them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def float64() -> ModuleType:
    """The module `float64.py`."""
    spec = importlib.util.spec_from_file_location("float64_consensus", Path(__file__).with_name("float64.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
