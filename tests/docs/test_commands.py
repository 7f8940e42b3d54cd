"""Runs what the documents show: every `console` block marked `<!-- runs -->`, in order, on a real network."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.prefix) / "bin"
COMMAND_S = 600
"""One command: `make run` turns five epochs."""

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n```(?:console|bash|sh)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[tuple[str, list[str]]]:
    """Each console block: the line before it, and its commands."""
    found = BLOCK.finditer(document.read_text(encoding="utf-8"))
    return [(block["before"], re.findall(r"^\$ (.+)$", block["body"], flags=re.MULTILINE)) for block in found]


def runnable(document: Path) -> list[str]:
    return [command for before, commands in blocks(document) if before == "<!-- runs -->" for command in commands]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_console_block_says_whether_it_runs(document: Path) -> None:
    for before, commands in blocks(document):
        assert re.fullmatch(r"<!-- runs -->|<!-- shown: .+ -->", before), f"{document.name}: {commands}"
        assert commands
        assert all(command.split()[0] in ("taoray", "make") for command in commands)


@pytest.mark.docs
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("document", [d for d in DOCUMENTS if runnable(d)], ids=lambda path: path.name)
def test_commands_run(document: Path, tmp_path: Path) -> None:
    commands = runnable(document)
    if not commands[0].startswith(("make run", "taoray launch")):
        run("taoray launch examples/small.toml", tmp_path)
    for command in commands:
        output = run(command, tmp_path)
        if "--json" in command:
            json.loads(output.splitlines()[-1])


@pytest.mark.docs
@pytest.mark.timeout(900)
def test_examples_run_one_after_another_on_one_home(tmp_path: Path) -> None:
    for example in EXAMPLES:
        assert run(f"{BIN}/python {example} {tmp_path}/home", tmp_path)


def run(command: str, folder: Path) -> str:
    """A command's standard output. `make` takes this environment as set up: what it sets up is its own affair."""
    words = shlex.split(command)
    if words[0] == "make":
        stamps = [word for name in ("run", "dev") for word in ("-o", f"{sys.prefix}/{name}.stamp")]
        words[1:1] = [f"VENV={sys.prefix}", *stamps]
    environment = os.environ | {"TAORAY_HOME": str(folder / "home"), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=COMMAND_S)
    assert done.returncode == 0, f"{command} ends with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
