"""The ledger stands alone: it needs neither Ray nor torch, and it names every code that it refuses with."""

import re
import subprocess
import sys
from pathlib import Path

from ledger.errors import REFUSALS

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "ledger").rglob("*.py")
    if path.name != "__init__.py"
)

_IMPORT_ALL = """
import importlib, sys
for absent in ("ray", "torch", "transformers", "typer", "rich", "actors", "cluster", "models"):
    sys.modules[absent] = None
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


def test_every_module_imports_where_ray_torch_and_the_other_rooms_are_absent():
    subprocess.run([sys.executable, "-c", _IMPORT_ALL, *MODULES], cwd=ROOT, check=True)


def test_every_refusal_code_is_listed_and_every_listed_code_is_used():
    source = "".join(path.read_text() for path in (ROOT / "ledger").rglob("*.py"))
    used = set(re.findall(r'Refusal\(\s*"(\w+)"', source))
    assert used == set(REFUSALS)
