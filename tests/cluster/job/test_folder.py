"""What a job is sent: the code and one configuration, and nothing else that lies about."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.errors import ClusterError
from cluster.job import folder
from cluster.job.folder import NETWORK, packed
from cluster.version import ROOT, VERSION, is_checkout

LITTER = ("taoray-home/local/wallets/ada", "home/ledger/chain.db", "weights/model.safetensors", ".git/ab", ".env")
CODE = ("taoray.py", "cluster/__init__.py", "cluster/cli/main.py", "models/text/words.py", "ray_configs/a.toml")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Something like a checkout, with litter of every kind."""
    root = tmp_path / "checkout"
    for name in CODE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n")
    (root / "pyproject.toml").write_text('[project]\nname = "taoray"\nversion = "7.8.9"\n')
    for name in (*LITTER, "cluster/__pycache__/a.pyc", "cluster/.hidden/key"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("secret")
    return root


def names(place: Path) -> set[str]:
    return {str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()}


def test_a_checkout_sends_its_packages_and_the_network(checkout: Path, tiny_toml: Path) -> None:
    with packed(tiny_toml, checkout) as sent:
        assert sent.folder is not None
        assert names(sent.folder) == {*CODE, "pyproject.toml", NETWORK}
        assert (sent.folder / NETWORK).read_bytes() == tiny_toml.read_bytes()
        assert sent.own_code
        assert sent.files == len(names(sent.folder))
        assert sent.size_bytes == sum(file.stat().st_size for file in sent.folder.rglob("*") if file.is_file())
    assert not sent.folder.exists()


def test_an_installed_taoray_sends_the_network_alone(tmp_path: Path, tiny_toml: Path) -> None:
    with packed(tiny_toml, tmp_path) as sent:
        assert sent.folder is not None
        assert names(sent.folder) == {NETWORK}
        assert not sent.own_code
    with packed(None, tmp_path) as sent:
        assert (sent.folder, sent.size_bytes) == (None, 0)


def test_too_much_is_refused_with_what_is_large(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MOST_BYTES", 1 << 20)
    (checkout / "models" / "large.bin").write_bytes(bytes(2 << 20))
    with pytest.raises(ClusterError, match=r"2 MiB, above 1: .*models/large\.bin \(2 MiB\)"), packed(None, checkout):
        pass


def test_what_is_sent_runs_by_itself(tmp_path: Path) -> None:
    assert is_checkout(ROOT)
    with packed(None) as sent:
        assert sent.folder is not None
        assert sent.size_bytes < 16 << 20
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        command = [sys.executable, "-m", "cluster", "--version"]
        done = subprocess.run(command, cwd=sent.folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == f"taoray {VERSION}\n", done.stderr


def test_what_ray_uploads_from_a_checkout_is_no_home_and_no_model(checkout: Path) -> None:
    """Ray reads .gitignore and .rayignore with the patterns of git, as `git check-ignore` does."""
    subprocess.run(["git", "init", "-q", str(checkout)], check=True)
    both = (ROOT / ".gitignore").read_text() + (ROOT / ".rayignore").read_text()
    (checkout / ".gitignore").write_text(both)
    asked = [*LITTER[:3], "my/evidence/3/vera.bin", "x/validators/vera/replica.db", "tests/test_a.py", ".venv/lib/a.py"]
    kept = ["cluster/cli/main.py", "ledger/store/chain.py", "models/value/evidence.py", "ray_configs/local.toml"]
    command = ["git", "-C", str(checkout), "check-ignore", "--no-index", *asked, *kept]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == asked
