"""All files of ray_configs: versions as the project has them, examples that are marked as such, and what is shipped."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for path in (ROOT / "ray_configs").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py"
)
IMAGE = re.compile(r"rayproject/ray:(\d+\.\d+\.\d+)-py(3)(\d+)(?:-gpu|-cpu)?\b")
EXAMPLES = re.compile(
    r"\.example\.org|\bexample-|-example\b|\b192\.0\.2\.\d+|0123456789abcdef|family/common-|gke-spot:|pools?:"
)
"""Names and addresses that are set aside for examples, and what differs from cloud to cloud."""

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "ray_configs")))


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@each_file
def test_versions_are_those_of_the_project(path: Path, project: dict[str, Any], pinned: dict[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    least, below = re.findall(r"\d+\.\d+", project["project"]["requires-python"])
    for version, major, minor in IMAGE.findall(text):
        assert version == pinned["ray"]
        assert numbers(least) <= (int(major), int(minor)) < numbers(below)
    assert text.count("rayproject/ray") == len(IMAGE.findall(text))
    assert set(re.findall(r"rayVersion: (\S+)", text)) <= {pinned["ray"]}
    assert set(re.findall(r"/taoray:(\d\S*)", text)) <= {project["project"]["version"]}


def test_the_ray_that_is_pinned_is_one_that_the_project_takes(project: dict[str, Any], pinned: dict[str, str]) -> None:
    wanted = next(each for each in project["project"]["dependencies"] if each.startswith("ray["))
    assert numbers(pinned["ray"]) >= numbers(wanted.partition(">=")[2])
    assert all(name in pinned for name in ("pyyaml", "jsonschema"))


@each_file
def test_what_is_to_be_replaced_says_so(path: Path) -> None:
    """An example stands in a line that says `# yours`, or in a comment that calls it one."""
    text = path.read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        if EXAMPLES.search(line) and not line.lstrip().startswith("#") and path.suffix != ".env":
            assert line.rstrip().endswith("# yours") or "# yours:" in line, f"{path.name}:{number}: {line}"
    if "# yours" in text:
        assert 'end in\n# "# yours"' in text or '"# yours"' in text or path.name in ("storage.yaml", "podmonitor.yaml")


@each_file
def test_it_says_what_it_is_for(path: Path) -> None:
    first = path.read_text(encoding="utf-8").lstrip()
    assert first.startswith("# ") or path.suffix == ".json" or path.name.endswith(".dockerignore")


@each_file
def test_it_is_shipped(path: Path, project: dict[str, Any]) -> None:
    patterns = project["tool"]["setuptools"]["package-data"]["ray_configs"]
    inside = path.relative_to(ROOT / "ray_configs")
    assert any(inside.match(pattern) and len(inside.parts) == len(Path(pattern).parts) for pattern in patterns)
