"""Remote calls to validators and keeper: each with a deadline, each failure with a name.

Invariants: nothing waits for ever; a call to an actor that died is sent again (their methods may be repeated) until
its deadline.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from actors.seam import Handle, Reference
from cluster.errors import Gone, NoAnswer

RESEND_S = 0.3
"""How long after a death its call is sent again."""

RESTART_S = 20.0
"""How long an actor that died may take to be back; Ray starts one in about 5 s. After that it is left out."""

Send = Callable[[str, Handle], Reference]


def ask_each(handles: Mapping[str, Handle], send: Send, *, deadline_s: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Ask several actors the same thing at once.

    Args:
        handles: by name.
        send: makes the call.

    Returns:
        answers by name, and for who did not answer why.
    """
    end = time.monotonic() + deadline_s
    answers: dict[str, Any] = {}
    failures = dict.fromkeys(handles, f"no answer within {deadline_s:g} s")
    pending = {send(name, handle): name for name, handle in handles.items()}
    died: dict[str, float] = {}
    while pending and time.monotonic() < end:
        ready, _ = ray.wait(list(pending), num_returns=1, timeout=min(1.0, max(0.0, end - time.monotonic())))
        for reference in ready:
            name = pending.pop(reference)
            try:
                answers[name] = ray.get(reference, timeout=max(1.0, end - time.monotonic()))
                del failures[name]
            except RayTaskError as error:
                failures[name] = _sentence(error)
            except RayActorError as error:
                failures[name] = f"died: {_last_line(str(error))}"
                if error.actor_init_failed:
                    continue
                if time.monotonic() - died.setdefault(name, time.monotonic()) < RESTART_S:
                    time.sleep(RESEND_S)
                    pending[send(name, handles[name])] = name
            except RayError as error:
                failures[name] = str(error).splitlines()[0]
    for reference in pending:
        ray.cancel(reference, force=False)
    return answers, failures


def ask_one(name: str, reference: Reference, *, deadline_s: float) -> Any:
    """Wait for one call.

    Raises:
        NoAnswer: it was not answered in time, or (Gone) its actor is gone.
        Exception: what the method itself raised.
    """
    try:
        return ray.get(reference, timeout=deadline_s)
    except GetTimeoutError:
        raise NoAnswer(f"{name} did not answer within {deadline_s:g} s") from None
    except RayActorError as error:
        raise Gone(f"{name} is gone: {_last_line(str(error))}") from error
    except RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from error
        raise


def _sentence(error: RayTaskError) -> str:
    return _last_line(str(error.cause)) or type(error.cause).__name__


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
