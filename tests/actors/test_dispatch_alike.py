"""The quick dispatcher decides as the plain one does, whatever is reported to it; and what it costs grows slowly."""

import importlib.util
import sys
from collections import deque
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.dispatch import QUARANTINE, Ask, Dispatcher, Task


def plain() -> ModuleType:
    name = "plain_dispatch"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Task], dict[str, frozenset[bytes]], int]:
    """Tasks of some keys, which live at some hosts or nowhere."""
    hosts = draw(st.integers(1, 5))
    keys = [bytes([index]) for index in range(draw(st.integers(0, 9)))]
    living = {key: draw(st.integers(-1, hosts - 1)) for key in keys}
    tasks = [Task(key, chunk) for key in keys for chunk in range(draw(st.integers(1, 4)))]
    homes = {f"h{host}": frozenset(key for key in keys if living[key] == host) for host in range(hosts)}
    return draw(st.permutations(tasks)), homes, draw(st.integers(1, 3))


@pytest.mark.thorough
@given(worlds(), st.data())
@settings(max_examples=60, deadline=None)
def test_both_ask_the_same_and_end_the_same(
    world: tuple[list[Task], dict[str, frozenset[bytes]], int], data: st.DataObject
) -> None:
    tasks, homes, in_flight = world
    both = [kind(tasks, homes, in_flight=in_flight) for kind in (Dispatcher, plain().PlainDispatcher)]
    hosts = [*homes, QUARANTINE]
    for _ in range(40):
        for _ in range(data.draw(st.integers(0, 4))):
            asks = [one.next_ask() for one in both]
            assert asks[0] == asks[1]
        host = data.draw(st.sampled_from(hosts))
        flying = both[0].flying(host)
        event = data.draw(st.sampled_from(["answered"] * 6 + ["failed", "crashed", "missed", "up", "up", "lost"]))
        for one in both:
            if event in ("answered", "failed") and flying:
                ask = Ask(host, flying[data.draw(st.just(0))])
                one.answered(ask) if event == "answered" else one.failed(ask, "no")
            elif event == "missed" and flying:
                one.missed(host)
            elif event in ("crashed", "up"):
                getattr(one, event)(host)
            elif event == "lost" and not flying:
                one.lost(host, "gone")
        assert both[0].done == both[1].done
        assert both[0].answers == both[1].answers
        assert both[0].failures == both[1].failures
    if data.draw(st.booleans()):
        for one in both:
            one.end("over")
        assert both[0].failures == both[1].failures
        assert both[0].answers == both[1].answers
        assert both[0].done == both[1].done


@pytest.mark.parametrize("crashing", [False, True])
def test_what_a_report_costs_does_not_follow_the_number_of_hosts(crashing: bool) -> None:
    """Counted in calls of Python functions, which no other process can change."""

    def calls(hosts: int) -> float:
        homes = {f"h{host}": frozenset([b"%d" % host, b"x%d" % host]) for host in range(hosts)}
        tasks = [Task(key, chunk) for keys in homes.values() for key in sorted(keys) for chunk in range(3)]
        made = 0

        def counted(frame: object, event: str, argument: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        sys.setprofile(counted)
        try:
            run(Dispatcher(tasks, homes))
        finally:
            sys.setprofile(None)
        return made / len(tasks)

    def run(dispatcher: Dispatcher) -> None:
        waiting: deque[Ask] = deque()
        for turn in count(1):
            waiting.extend(iter(dispatcher.next_ask, None))
            if not waiting:
                break
            ask = waiting.popleft()
            if ask.task not in dispatcher.flying(ask.host):
                continue
            if crashing and turn % 7 == 0:
                dispatcher.crashed(ask.host)
                dispatcher.up(ask.host)
            else:
                dispatcher.answered(ask)
        assert dispatcher.done

    assert calls(400) < 2 * calls(20)
