"""Buckets and streams: never more than their measure, however it is asked for."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.serve import limits
from cluster.serve.limits import Buckets, Streams, neighbourhood


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 8)), max_size=40))
def test_no_more_is_taken_than_the_burst_and_the_rate(asked: list[tuple[float, float]]) -> None:
    buckets, at_s, taken = Buckets(per_s=2.0, burst=5.0), 0.0, 0.0
    for pause_s, amount in asked:
        at_s += pause_s
        if not buckets.take("one", amount, at_s):
            taken += amount
        assert taken <= 5.0 + 2.0 * at_s + 1e-6


@given(st.floats(0.1, 5), st.floats(0.1, 5))
def test_who_waits_as_told_is_let_in(first: float, second: float) -> None:
    buckets = Buckets(per_s=2.0, burst=5.0)
    buckets.take("one", first, 0.0)
    wait_s = buckets.take("one", second, 0.0)
    assert wait_s == 0 or not buckets.take("one", second, wait_s + 1e-6)


def test_names_have_their_own_and_the_silent_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_NAMES", 2)
    buckets = Buckets(per_s=0.001, burst=1.0)
    assert not buckets.take("one", 1, 0.0)
    assert not buckets.take("two", 1, 0.0)
    assert buckets.take("one", 1, 0.0)
    assert not buckets.take("three", 1, 0.0)
    assert not buckets.take("two", 1, 0.0)


def test_an_address_is_what_one_customer_has() -> None:
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:1") != neighbourhood("2001:db8:0:1::1")
    assert neighbourhood("::ffff:192.0.2.1") == neighbourhood("192.0.2.1") != neighbourhood("192.0.2.2")
    assert neighbourhood("testclient") == "testclient"


def test_streams_are_counted_while_they_are_open() -> None:
    streams = Streams(most=3, per_address=2)
    with contextlib.ExitStack() as stack:
        for address in ("a", "a"):
            assert streams.has_room(address)
            stack.enter_context(streams.holding(address))
        assert not streams.has_room("a")
        stack.enter_context(streams.holding("b"))
        assert not streams.has_room("c")
    assert streams.has_room("a")


def test_what_is_owed_is_waited_for() -> None:
    buckets = Buckets(per_s=2.0, burst=5.0)
    assert buckets.take("one", 0, 0.0) == 0
    buckets.owe("one", 11.0, 0.0)
    assert buckets.take("one", 0, 0.0) == pytest.approx(3.0)
    assert buckets.take("one", 0, 3.0) == 0


def test_names_that_a_proxy_made_up_are_short() -> None:
    assert len(neighbourhood("x" * 10_000)) < 100
