"""Overrides of a configuration, `section.field=value`, and the errors of both by the field that they are about.

Invariants: a document is changed in place, before its types are checked; an error is one sentence.
"""

import tomllib
from typing import Any

from cluster.errors import ConfigurationError


def override_field(document: dict[str, Any], override: str) -> None:
    """Set one field of a TOML document in place, from "section.field=value". The value is read as TOML, else as text.

    Raises:
        ConfigurationError: there is no such place.
    """
    path, equals, text = override.partition("=")
    steps = path.strip().split(".")
    if not equals or not all(steps):
        raise ConfigurationError(f"--set {override}", "expected section.field=value, such as query.windows=96")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    place: Any = document
    for step in steps[:-1]:
        place = _step_into(place, step, path)
    if isinstance(place, list):
        raise ConfigurationError(path, "names an entry of a list, not a field of it; expected such as peers.0.noise")
    place[steps[-1]] = value


def _step_into(place: Any, step: str, path: str) -> Any:
    if isinstance(place, list):
        if not step.isdigit() or int(step) >= len(place):
            raise ConfigurationError(path, f"there is no entry {step}; expected 0 to {len(place) - 1}")
        return place[int(step)]
    if not isinstance(place, dict):
        raise ConfigurationError(path, f"{step} is not a section")
    return place.setdefault(step, {})


def named_error(message: str) -> ConfigurationError:
    """msgspec's message, which ends with the place ("Expected `int`, got `str` - at `$.query.windows`"), as an error
    that names the field.
    """
    what, _, where = message.partition(" - at `$")
    field = where.rstrip("`").lstrip(".") or "the file"
    return ConfigurationError(field, what[0].lower() + what[1:])
