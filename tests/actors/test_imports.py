"""What works where Ray, or torch too, is not installed: the plain classes behind the actors, and the rooms below."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

IMPORT_ALL = """
import importlib, sys
absent, modules = (argument.split(",") for argument in sys.argv[1:])
for name in absent:
    sys.modules[name] = None
for module in modules:
    importlib.import_module(module)
"""

WITHOUT_TORCH = (
    *(
        "addresses",
        "answers",
        "ballot",
        "disk",
        "dispatch",
        "errors",
        "finding",
        "gateway",
        "keeper",
        "laid",
        "lanes",
        "next_byte",
        "post",
        "private",
        "remote_wire",
        "replica",
        "round_wire",
        "rounds",
        "rows",
        "score_file",
        "segments",
        "spans",
        "table",
    ),
    *("validator", "wire"),
)
PLAIN = (*WITHOUT_TORCH, "host", "member", "member_record", "miner", "parameters", "scorer", "teacher", "weigher")


def modules_of(room: str) -> list[str]:
    """Every module of a room."""
    paths = sorted((ROOT / room).rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def import_without(absent: list[str], modules: list[str]) -> None:
    """Import modules in a fresh process in which others cannot be imported."""
    command = [sys.executable, "-c", IMPORT_ALL, ",".join(absent), ",".join(modules)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_only_the_seam_the_pool_and_the_pulse_need_ray():
    actors = [f"actors.{name}" for name in PLAIN]
    assert {*modules_of("actors")} - {*actors} == {"actors", "actors.pool", "actors.pulse", "actors.seam"}
    import_without(["ray", "cluster"], [*modules_of("ledger"), *modules_of("models"), *actors])


def test_keeper_and_validators_need_no_torch():
    actors = [f"actors.{name}" for name in WITHOUT_TORCH]
    import_without(["ray", "torch", "transformers", "safetensors", "cluster"], [*modules_of("ledger"), *actors])
