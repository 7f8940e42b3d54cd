"""Versions and GPUs: what is wrong is named, with what to do."""

import sys
from pathlib import Path

import pytest

from cluster.observe.doctor.check import Check
from cluster.observe.doctor.software import check_gpus, check_here, check_versions, compute, driver_gpus, wanted

FOUND = {"torch": "2.13.0", "cuda": "13.0", "gpus": ["", ""]}


def levels(checks: list[Check]) -> dict[str, str]:
    assert all((check.level == "ok") == (not check.mend) for check in checks)
    return {check.name: check.level for check in checks}


def test_this_environment_is_as_it_should_be() -> None:
    assert levels(check_here()) == {"version.python": "ok", "version.packages": "ok"}
    python, needs = wanted()
    assert python.startswith(">=3.11")
    assert any(line.startswith("ray[default]") for line in needs)


@pytest.mark.parametrize(
    ("python", "found", "wrong"),
    [
        ("3.10.4", {"ray": "2.60.0", "torch": "2.13.0+cpu"}, {"version.python": "bad"}),
        ("3.12.0", {"ray": "2.59.1", "torch": "2.13.0+cpu"}, {"version.python": "ok", "version.ray": "bad"}),
        ("3.12.0", {"ray": "2.60.0"}, {"version.python": "ok", "version.torch": "bad"}),
        ("3.12.0", {"ray": "2.61.0rc1", "torch": "2.14.0+cu130"}, {"version.python": "ok"}),
    ],
)
def test_versions(python: str, found: dict[str, str], wrong: dict[str, str]) -> None:
    checks = check_versions(python, ">=3.11,<3.14", ["ray[default]>=2.60", "torch>=2.11"], found.get)
    seen = levels(checks)
    assert {name: level for name, level in seen.items() if name != "version.packages"} == wrong
    assert ("version.packages" in seen) == (not any(name not in ("version.python",) for name in wrong))


@pytest.mark.parametrize(
    ("driver", "found", "visible", "needed", "wrong"),
    [
        (2, FOUND, None, 2.0, {"gpu": "ok"}),
        (None, {**FOUND, "gpus": []}, None, 0.0, {"gpu": "ok"}),
        (4, FOUND, None, 0.0, {"gpu.count": "bad"}),
        (4, FOUND, "0,1", 0.0, {"gpu.count": "warn"}),
        (2, {**FOUND, "gpus": ["", "CUDA error: out of memory"]}, None, 0.0, {"gpu.1": "bad"}),
        (2, FOUND, None, 2.5, {"gpu.needed": "bad"}),
        (None, {"error": "No module named 'torch'"}, None, 0.0, {"gpu.torch": "bad"}),
    ],
)
def test_gpus(
    driver: int | None, found: dict[str, object], visible: str | None, needed: float, wrong: dict[str, str]
) -> None:
    assert levels(check_gpus(driver, found, visible, needed)) == wrong


def test_a_torch_that_does_not_work_is_said(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    found = compute({"PYTHONPATH": str(tmp_path), "PATH": ""})
    assert found == {"error": "ImportError: libcudart.so.13: cannot open shared object file"}


def test_the_driver_is_asked_without_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has a driver")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert driver_gpus() is None
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!{sys.executable}\nprint('GPU 0: NVIDIA H100 (UUID: GPU-a)')\nprint('  MIG (UUID: MIG-b)')\n")
    tool.chmod(0o755)
    assert driver_gpus() == 1
    tool.write_text(f"#!{sys.executable}\nraise SystemExit(9)\n")
    assert driver_gpus() is None
