"""The keeper and the validators of a run, as the driver asks them.

Invariants: each call has a deadline and names who did not answer; nothing here decides: who is in the same process
answers as who is on another node.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import ray
from ray.exceptions import RayError

from actors.pulse import Pulse
from cluster.calls import Tell, ask_each, ask_one
from cluster.place.crew import Crew

Answers = tuple[dict[str, Any], dict[str, str]]
"""By name what was answered, and why not."""


class Assembly(Protocol):
    """Whom the driver asks about the ledger."""

    def keeper(self, method: str, *arguments: Any) -> Any:
        """Ask the keeper. Raises NoAnswer, or what the method itself raised."""

    def validators(self, method: str, *arguments: Any, each: Mapping[str, tuple[Any, ...]] | None = None) -> Answers:
        """Ask all validators the same, or those in `each` with arguments of their own.

        Returns:
            answers by name, and for who did not answer why.
        """

    def put(self, value: Any) -> Any:
        """What to pass as an argument to several: it is encoded once."""

    def replace_keeper(self) -> None:
        """End the keeper's process, which does not answer, and have another started."""


class RayAssembly:
    """The actors of a crew.

    Args:
        deadline_s: of each call. tell: hears of each actor whose process was frozen, and is ended.
    """

    def __init__(self, crew: Crew, deadline_s: float, tell: Tell) -> None:
        self._crew, self._deadline_s, self._tell = crew, deadline_s, tell
        self._pulse = Pulse()

    def keeper(self, method: str, *arguments: Any) -> Any:
        """Ask the keeper actor."""
        handle = self._crew.keeper
        asked = getattr(handle, method).remote(*arguments)
        return ask_one("the keeper", asked, handle, deadline_s=self._deadline_s, pulse=self._pulse, tell=self._tell)

    def validators(self, method: str, *arguments: Any, each: Mapping[str, tuple[Any, ...]] | None = None) -> Answers:
        """Ask the validator actors at once."""
        told = dict.fromkeys(self._crew.validators, arguments) if each is None else each
        asked = {name: self._crew.validators[name] for name in told}
        return ask_each(
            asked,
            lambda name, handle: getattr(handle, method).remote(*told[name]),
            deadline_s=self._deadline_s,
            tell=self._tell,
        )

    def put(self, value: Any) -> Any:
        """Into Ray's object store."""
        return ray.put(value)

    def replace_keeper(self) -> None:
        """Kill the actor's process; Ray starts it again, where it finds room."""
        try:
            ray.kill(self._crew.keeper, no_restart=False)
        except RayError:
            return
