"""Payloads of somebody who means harm: refused with a code, never used as an index."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.compression import DENSE, HOSTILE, OUTER, body_of, check_update, throw_mutants
from models.errors import UpdateRefused
from models.train.cohort import OuterSettings
from models.train.compression import compress, decode
from models.train.encoding import pack_places
from models.train.layout import Layout
from models.train.payload import HEADER, VERSION, chunks_of, payload_bytes, seal

NUMBERS_P = np.random.default_rng(1).standard_normal(HOSTILE.size).astype(np.float32)
PAYLOAD = compress(NUMBERS_P, HOSTILE, OUTER)
BOOKS = 8 * len(HOSTILE.names)


def with_bytes(start: int, new: bytes) -> bytes:
    """The payload with other bytes from there on, and a checksum that agrees."""
    body = body_of(PAYLOAD)
    body[start : start + len(new)] = new
    return seal(bytes(body), HOSTILE, OUTER.keep)


def with_places(places: list[int], at: int) -> bytes:
    """The payload with other positions, from the `at`-th on (even)."""
    return with_bytes(BOOKS + at * 12 // 8, pack_places(torch.tensor(places)).numpy().tobytes())


CHUNKS = chunks_of(HOSTILE, OUTER.keep)
SHORT = int(CHUNKS.kept_C[:3].sum())
"""Coordinates before those of the chunk of 700."""

REFUSED = [
    pytest.param("length", PAYLOAD[:-1], id="length"),
    pytest.param("magic", b"TAOU" + PAYLOAD[4:], id="magic"),
    pytest.param("version", PAYLOAD[:4] + bytes([VERSION + 1]) + PAYLOAD[5:], id="version"),
    pytest.param("keep", seal(bytes(body_of(PAYLOAD)), HOSTILE, 63), id="keep"),
    pytest.param(
        "layout", seal(bytes(body_of(PAYLOAD)), Layout(HOSTILE.names[::-1], HOSTILE.shapes), OUTER.keep), id="layout"
    ),
    pytest.param("checksum", PAYLOAD[:-1] + bytes([PAYLOAD[-1] ^ 1]), id="checksum"),
    pytest.param("value", with_bytes(0, b"\xc0\x7f"), id="not a number"),
    pytest.param("value", with_bytes(6, b"\x80\xff"), id="infinite"),
    pytest.param("value", with_bytes(BOOKS - 2, b"\x81\x47"), id="too large"),
    pytest.param("position", with_places([0, 1, 2, 3, 4, 5, 6, 7, 8, 700], SHORT), id="beyond the chunk"),
    pytest.param("position", with_places([0, 1, 2, 3, 4, 5, 6, 7, 8, 4095], SHORT), id="beyond the tensor"),
    pytest.param("position", with_places([7, 7], 0), id="twice"),
    pytest.param("position", with_places([9, 8], 0), id="not in order"),
    pytest.param("padding", with_bytes(len(body_of(PAYLOAD)) - 1, b"\xff"), id="padding"),
]


@pytest.mark.parametrize(("code", "payload"), REFUSED)
def test_it_is_refused_with_its_code(code, payload):
    with pytest.raises(UpdateRefused) as refused:
        decode(payload, HOSTILE, OUTER)
    assert refused.value.code == code


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65537.0])
def test_a_dense_one_with_an_odd_value_is_refused(value):
    numbers_P = NUMBERS_P.copy()
    numbers_P[-1] = value
    with pytest.raises(UpdateRefused, match="not finite, or above 65536"):
        decode(seal(numbers_P.tobytes(), HOSTILE, DENSE.keep), HOSTILE, DENSE)


@pytest.mark.parametrize("other", [OuterSettings(keep=63), DENSE])
def test_a_payload_of_another_cohort_is_refused(other):
    for payload, outer in ((PAYLOAD, other), (compress(NUMBERS_P, HOSTILE, other), OUTER)):
        with pytest.raises(UpdateRefused, match="length"):
            decode(payload, HOSTILE, outer)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 8 * len(PAYLOAD) - 1))
def test_no_bit_can_be_changed(bit):
    data = bytearray(PAYLOAD)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(UpdateRefused):
        decode(bytes(data), HOSTILE, OUTER)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2 * HEADER.size) | st.binary(min_size=len(PAYLOAD), max_size=len(PAYLOAD)))
def test_any_bytes_are_refused(data):
    with pytest.raises(UpdateRefused):
        decode(data, HOSTILE, OUTER)


def test_the_length_is_known_before_a_payload_is_read():
    assert payload_bytes(HOSTILE, OUTER.keep) == len(PAYLOAD)
    assert check_update(bytes(1 << 24), OUTER) == "length"


def test_a_thousand_mutants_are_refused_or_within_bounds():
    measured = throw_mutants(1100, seed=3)
    assert set(measured["ends"]) >= {"decoded", "length", "checksum", "position", "value", "layout"}
