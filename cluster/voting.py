"""Validators are asked to draw, value, commit and reveal; one whose replica lags is brought up and asked once more.

Invariants: who was lost with its disk in the middle of a step has its part in the step as soon as it is back; who does
not answer in time is left out, and nobody waits for it.
"""

from collections.abc import Mapping
from typing import Any

from actors.seam import Handle
from cluster.assembly import Answers
from cluster.calls import Send, ask_each
from cluster.run import Run
from cluster.sealing import bring_up

LAGS = "wrong_epoch"
"""The code with which a validator refuses what its replica has not come to yet."""


def ask_voters(run: Run, voters: Mapping[str, Handle], send: Send) -> Answers:
    """Ask validators the same thing at once.

    Returns:
        answers by name, and for who did not answer why.
    """
    deadline_s = run.network.deadlines.validator_s
    answers, failures = ask_each(voters, send, deadline_s=deadline_s, tell=run.show.note)
    behind = {name: voters[name] for name, why in failures.items() if why.startswith(LAGS)}
    if not behind:
        return answers, failures
    bring_up(run.leading)
    late: dict[str, Any]
    late, still = ask_each(behind, send, deadline_s=deadline_s, tell=run.show.note)
    return answers | late, {name: why for name, why in failures.items() if name not in behind} | still
