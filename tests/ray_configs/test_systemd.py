"""The units: as systemd itself reads them where it is there, and with commands that exist."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from cluster.cli.main import app

FOLDER = Path(__file__).parents[2] / "ray_configs" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
INSTALLED = "/opt/taoray/bin"

each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)


def parsed(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str
    parser.read_string(unit.read_text(encoding="utf-8").replace("\\\n", ""))
    return parser


def environment() -> dict[str, str]:
    lines = (FOLDER / "taoray.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace(INSTALLED, str(Path(sys.prefix) / "bin"))
        (tmp_path / unit.name.replace("@", "@market")).write_text(text)
        (tmp_path / unit.name).write_text(text)
    names = [str(tmp_path / unit.name.replace("@", "@market")) for unit in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@each_unit
def test_it_is_started_again_whatever_happens(unit: Path) -> None:
    parser = parsed(unit)
    assert set(parser.sections()) == {"Unit", "Service", "Install"}
    service = parser["Service"]
    assert service["Restart"] == "always"
    assert int(service["LimitNOFILE"]) >= 65536
    assert int(service["TimeoutStopSec"]) >= 60
    assert service["EnvironmentFile"] == "/etc/taoray/taoray.env"
    assert "/mnt/taoray" in parser["Unit"]["RequiresMountsFor"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@each_unit
def test_its_command_has_these_options(unit: Path) -> None:
    words = parsed(unit)["Service"]["ExecStart"].split()
    known = environment()
    assert set(re.findall(r"\$\{(\w+)}", " ".join(words))) <= set(known)
    assert words[0].startswith(f"{INSTALLED}/")
    options = {word.split("=")[0] for word in words if word.startswith("--")}
    if words[0].endswith("/taoray"):
        command = typer.main.get_command(app).commands[words[1]]
    else:
        from ray.scripts.scripts import cli

        command = cli.commands[words[1]]
    assert options <= {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def test_the_environment_says_who_may_join_and_where_the_disk_is() -> None:
    known = environment()
    assert known["RAY_AUTH_MODE"] == "token"
    assert set(known) == {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "TAORAY_HEAD", "TAORAY_DISK"}
    mounts = parsed(FOLDER / "taoray-worker.service")["Unit"]["RequiresMountsFor"].split()
    assert known["TAORAY_DISK"] in mounts
