"""Attempts by their ids, the command of a job, and how its end becomes an exit code and a sentence."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.job.attempt import Attempt, attempt_id, entrypoint, explain, launch_command, parse_id

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)


@given(network=NAMES, number=st.integers(1, 10**6))
def test_an_id_says_whose_it_is_and_its_number(network: str, number: int) -> None:
    assert parse_id(attempt_id(network, number)) == (network, number)


@pytest.mark.parametrize(
    "name",
    [None, "", "raysubmit_4LamXRuQpYdSMg7J", "taoray-look.0a1b2c", "taoray--1", "taoray-local-0", "taoray-local-x"],
)
def test_other_jobs_are_none_of_taorays(name: str | None) -> None:
    assert parse_id(name) is None


@given(overrides=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)))
def test_what_was_told_arrives_as_it_is(overrides: list[str]) -> None:
    command = launch_command("network.toml", epochs=3, overrides=overrides, home="~/my net", json=True)
    words = shlex.split(entrypoint(command))
    assert words[:6] == ["exec", "python", "-m", "cluster", "launch", "network.toml"]
    assert words == ["exec", "python", "-m", "cluster", *command]
    assert words[-3:] == ["--home", "~/my net", "--json"]


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [("SUCCEEDED", 0, 0), ("STOPPED", None, 130), ("FAILED", 2, 2), ("FAILED", None, 1), ("FAILED", -9, 137)],
)
def test_the_exit_code_is_the_jobs(status: str, code: int | None, exit_code: int) -> None:
    assert Attempt("local", 1, status, code=code).exit_code == exit_code


def test_why_a_job_failed_is_one_sentence() -> None:
    failed = Attempt("local", 1, "FAILED", message="Runtime environment failed.\nTrace…", code=None)
    assert explain(failed, "") == "Runtime environment failed."
    ended = Attempt("local", 1, "FAILED", code=1)
    assert explain(ended, "error: query.windows: expected 8 or more") == "", "its command said so itself"
    assert "has no taoray" in explain(ended, "/usr/bin/python: No module named cluster")
    assert "has no msgspec" in explain(ended, "ModuleNotFoundError: No module named 'msgspec'")
