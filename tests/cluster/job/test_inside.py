"""Inside a job: where the home is, whose code runs, and paths that mean something on the launching machine alone."""

import re
from pathlib import Path

import pytest

from cluster.config import load_network
from cluster.errors import ClusterError, ConfigurationError
from cluster.home import find_home
from cluster.job.inside import SENT_BY, check_sender, in_job
from cluster.job.jobs import check_for_cluster, without_preamble
from cluster.version import VERSION


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This process as a job's; its user's folder."""
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TAORAY_HOME", raising=False)
    return tmp_path


def test_the_home_of_a_job_is_not_in_its_folder(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_job()
    assert find_home(None, "tiny").folder == job / "taoray-home" / "tiny"
    assert find_home(Path("~/nets/tiny"), "tiny").folder == job / "nets" / "tiny"
    monkeypatch.setenv("TAORAY_HOME", "/shared/tiny")
    assert find_home(None, "tiny").folder == Path("/shared/tiny")
    with pytest.raises(ConfigurationError, match="'tiny'"):
        find_home(Path("tiny"), "tiny")


def test_another_version_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SENT_BY, raising=False)
    check_sender()
    monkeypatch.setenv(SENT_BY, VERSION)
    check_sender()
    monkeypatch.setenv(SENT_BY, "0.0.1")
    with pytest.raises(ClusterError, match=rf"0\.0\.1 .* {re.escape(VERSION)}"):
        check_sender()


@pytest.mark.parametrize("field", ["data.paths", "data.private"])
def test_text_is_named_as_the_nodes_see_it(tiny_toml: Path, field: str) -> None:
    check_for_cluster(load_network(tiny_toml, [f"{field}=['/shared/text', '~/text']"]), "~/home")
    with pytest.raises(ConfigurationError) as caught:
        check_for_cluster(load_network(tiny_toml, [f"{field}=['/shared/text', 'text']"]), None)
    assert caught.value.field == field
    with pytest.raises(ConfigurationError, match="--home"):
        check_for_cluster(load_network(tiny_toml), "home/tiny")


def test_what_ray_writes_before_a_log_is_left_out() -> None:
    assert without_preamble("Running entrypoint for job a-1: exec python\nfirst\nsecond\n") == "first\nsecond\n"
    assert without_preamble("first\nsecond\n") == "first\nsecond\n"
    setup = "2026-11-23 INFO job_manager.py:581 -- Runtime env is setting up.\n"
    assert without_preamble(f"{setup}Running entrypoint for job a-1: exec python\nfirst\n") == "first\n"
