"""Settings of an evaluation: defaults, overrides, and the field that is wrong."""

import pytest

from cluster.errors import ConfigurationError
from cluster.study.settings import Study, read_settings


def test_overrides_and_paths_are_taken() -> None:
    settings = read_settings(["windows=64", "device=cpu", "data.text_column=content"], ["a", "b"])
    assert (settings.windows, settings.device) == (64, "cpu")
    assert (settings.data.text_column, settings.data.paths) == ("content", ("a", "b"))
    assert read_settings() == Study()


@pytest.mark.parametrize(
    ("overrides", "paths", "field"),
    [
        (["windows=many"], [], "windows"),
        (["windows=1"], [], "windows"),
        (["device=tpu"], [], "device"),
        (["data.colour=red"], [], "data"),
        (["data=red"], ["a"], "data"),
        (["data.paths=['b']"], ["a"], "data.paths"),
    ],
)
def test_a_wrong_field_is_named(overrides: list[str], paths: list[str], field: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_settings(overrides, paths)
    assert error.value.field == field


def test_what_is_no_override_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="windows"):
        read_settings(["windows"])
