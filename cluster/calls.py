"""Remote calls to validators and keeper: each with a deadline, each failure with a name.

Invariants: nothing waits for ever; a call to an actor that died is sent again (their methods may be repeated) until
its deadline; an actor whose process is frozen is ended, which is told, and asked again once Ray has started it anew.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from actors.pulse import Pulse, frozen_sentence
from actors.seam import Handle, Reference
from cluster.errors import Gone, NoAnswer

RESEND_S = 0.3
"""How long after a death its call is sent again."""

RESTART_S = 60.0
"""How long an actor that died may take to be back: Ray starts one in about 5 s, but notices only after about 17 s that
a node is gone. After that it is left out.
"""

WAIT_S = 1.0
"""The longest wait between two looks at who is frozen."""

Send = Callable[[str, Handle], Reference]
Tell = Callable[[str], None]


def ask_each(
    handles: Mapping[str, Handle], send: Send, *, deadline_s: float, tell: Tell | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Ask several actors the same thing at once.

    Args:
        handles: by name.
        send: makes the call.
        tell: hears of each process that was frozen and is ended; None: nobody is, whatever pings say.

    Returns:
        answers by name, and for who did not answer why.
    """
    end = time.monotonic() + deadline_s
    answers: dict[str, Any] = {}
    failures = dict.fromkeys(handles, f"no answer within {deadline_s:g} s")
    pending = {send(name, handle): name for name, handle in handles.items()}
    died: dict[str, float] = {}
    pulse = Pulse()
    while pending and time.monotonic() < end:
        ready, _ = ray.wait(list(pending), num_returns=1, timeout=min(WAIT_S, max(0.0, end - time.monotonic())))
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
        if tell is not None:
            for name in pulse.frozen({name: handles[name] for name in pending.values()}):
                _end_frozen(name, handles[name], tell)
    for reference in pending:
        ray.cancel(reference, force=False)
    return answers, failures


def ask_one(name: str, reference: Reference, handle: Handle, *, deadline_s: float, pulse: Pulse, tell: Tell) -> Any:
    """Wait for one call.

    Args:
        handle: of the actor that was called. pulse: of the actor, from call to call.
        tell: hears that its process was frozen, and is ended.

    Raises:
        NoAnswer: it was not answered in time. Gone: its process is gone, or was frozen.
        Exception: what the method itself raised.
    """
    try:
        _await(name, reference, handle, deadline_s, pulse, tell)
        answer = ray.get(reference, timeout=WAIT_S)
    except GetTimeoutError:
        raise NoAnswer(f"{name} did not answer within {deadline_s:g} s") from None
    except RayActorError as error:
        raise Gone(f"{name} is gone: {_last_line(str(error))}") from error
    except RayTaskError as error:
        pulse.heard(name)
        if isinstance(error.cause, Exception):
            raise error.cause from error
        raise
    pulse.heard(name)
    return answer


def _await(name: str, reference: Reference, handle: Handle, deadline_s: float, pulse: Pulse, tell: Tell) -> None:
    """Until there is something to get, or no time left."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        ready, _ = ray.wait([reference], timeout=min(WAIT_S, max(0.0, end - time.monotonic())))
        if ready:
            return
        if pulse.frozen({name: handle}):
            _end_frozen(name, handle, tell)
            raise Gone(f"{name} did not answer: {frozen_sentence()}")


def _end_frozen(name: str, handle: Handle, tell: Tell) -> None:
    try:
        ray.kill(handle, no_restart=False)
    except RayError:
        return
    tell(f"{name} did not answer: {frozen_sentence()}")


def _sentence(error: RayTaskError) -> str:
    return _last_line(str(error.cause)) or type(error.cause).__name__


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
