"""Updates as bytes: what is sent, what is left over, and that everybody reads the same."""

import hashlib
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import TrainingError
from models.host.architectures import Architecture, build_model
from models.train.cohort import CHUNK, OuterSettings
from models.train.compression import accumulate, compress, decode, keep_error, payload_hash
from models.train.encoding import group_maxima
from models.train.layout import Layout, layout_of, read_vector
from models.train.local import train_steps
from models.train.payload import chunks_of, payload_bytes
from models.train.settings import TrainSettings

SIZES = st.lists(
    st.sampled_from((1, 2, 63, 64, 65, 700, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5)), min_size=1, max_size=5
)
KEEPS = st.sampled_from((1, 3, 64, 1000, CHUNK - 1))


def layout_with(sizes: list[int]) -> Layout:
    return Layout(tuple(f"{index:02}" for index in range(len(sizes))), tuple((size,) for size in sizes))


def rough(layout: Layout, seed: int, kinds: int = 0) -> np.ndarray:
    """Numbers with a heavy tail; with `kinds` only so many different ones, so that many are equal."""
    drawn = np.random.default_rng(seed).standard_t(3, layout.size)
    return (np.round(drawn * kinds) / kinds if kinds else drawn).astype(np.float32)


def slow_places(vector_P: np.ndarray, layout: Layout, keep: int) -> list[int]:
    """What must be sent, by the rule as it is said: of each chunk the largest, of equal ones the first."""
    found = []
    for start, end in pairwise(layout.starts):
        for first in range(start, end, CHUNK):
            chunk = range(first, min(first + CHUNK, end))
            order = sorted(chunk, key=lambda place: (-abs(vector_P[place]), place))
            found += sorted(order[: max(1, len(chunk) * keep // CHUNK)])
    return found


@settings(max_examples=25, deadline=None)
@given(SIZES, KEEPS, st.integers(0, 2**32), st.sampled_from((0, 1, 4)))
def test_the_largest_of_each_chunk_are_sent_and_read_as_their_bins(sizes, keep, seed, kinds):
    layout, outer = layout_with(sizes), OuterSettings(keep=keep)
    vector_P = rough(layout, seed, kinds)
    payload = compress(vector_P, layout, outer)
    assert len(payload) == payload_bytes(layout, keep)
    update = decode(payload, layout, outer)
    assert update.position_N.tolist() == slow_places(vector_P, layout, keep)
    sent_N = vector_P[update.position_N]
    tensor_N = np.searchsorted(layout.starts, update.position_N, side="right")
    for tensor in np.unique(tensor_N):
        here = tensor_N == tensor
        values = np.unique(update.value_N[here])
        assert len(values) <= 4
        for value in values:
            mean = sent_N[here][update.value_N[here] == value].mean(dtype=np.float64)
            assert value == pytest.approx(mean, rel=2**-8, abs=1e-37)
    assert (sent_N * update.value_N >= 0).all()
    assert update.norm == math.sqrt(math.fsum((update.value_N.astype(np.float64) ** 2).tolist()))


@settings(max_examples=15, deadline=None)
@given(SIZES, st.integers(0, 2**32))
def test_a_dense_update_is_read_as_it_was(sizes, seed):
    layout, outer = layout_with(sizes), OuterSettings(keep=CHUNK)
    vector_P = rough(layout, seed)
    payload = compress(vector_P, layout, outer)
    update = decode(payload, layout, outer)
    assert len(payload) == payload_bytes(layout, CHUNK)
    assert update.position_N is None
    assert np.array_equal(update.value_N, vector_P)
    assert update.norm == pytest.approx(np.linalg.norm(vector_P.astype(np.float64)), rel=1e-12)


def test_small_and_large_values_are_told_apart_where_it_costs_least():
    layout, outer = layout_with([CHUNK]), OuterSettings(keep=CHUNK - 1)
    vector_P = rough(layout, 5)
    update = decode(compress(vector_P, layout, outer), layout, outer)
    sent_N = vector_P[update.position_N].astype(np.float64)
    lost = ((sent_N - update.value_N) ** 2).sum()
    best = 0.0
    for side_N in (sent_N[sent_N >= 0], -sent_N[sent_N < 0]):
        borders = np.quantile(side_N, np.linspace(0.01, 0.999, 300))
        parts = [(side_N[side_N <= border], side_N[side_N > border]) for border in borders]
        best += min(sum(((part - part.mean()) ** 2).sum() for part in both if len(part)) for both in parts)
    assert lost <= 1.03 * best


@pytest.mark.parametrize("keep", [64, CHUNK])
def test_nothing_is_lost_from_round_to_round(keep):
    layout, outer = layout_with([5000, 300]), OuterSettings(keep=keep, error_decay=1.0)
    error_P, sent_P, wanted_P = None, np.zeros(layout.size), np.zeros(layout.size)
    for seed in range(6):
        delta_P = rough(layout, seed)
        accumulated_P = accumulate(error_P, delta_P, outer)
        update = decode(compress(accumulated_P, layout, outer), layout, outer)
        error_P = keep_error(accumulated_P, update)
        sent_P[slice(None) if update.position_N is None else update.position_N] += update.value_N
        wanted_P += delta_P
        np.testing.assert_allclose(sent_P + error_P, wanted_P, atol=1e-4)
    assert keep != CHUNK or not error_P.any()


def test_what_was_not_sent_fades():
    outer = OuterSettings(error_decay=0.5)
    error_P, delta_P = np.array([4.0, -2.0], np.float32), np.array([1.0, 1.0], np.float32)
    assert accumulate(error_P, delta_P, outer).tolist() == [3.0, 0.0]
    assert accumulate(None, delta_P, outer).tolist() == [1.0, 1.0]
    with pytest.raises(TrainingError, match="does not belong"):
        accumulate(error_P[:1], delta_P, outer)


def test_the_same_bytes_on_every_machine():
    layout = Layout(("a", "b", "c"), ((3, CHUNK), (700,), ()))
    vector_P = ((np.arange(layout.size) * 48271 % 65521 - 32760) / 2**20).astype(np.float32)
    payload = compress(vector_P, layout, OuterSettings())
    assert payload_hash(payload).hex() == "fd0edc4feebdd01a5f52b61a1add1d99c9e76d07337ccdf30f53afab0c9cdc0d"
    assert decode(payload, layout, OuterSettings()).norm.hex() == "0x1.c2fa5ed4614cap-2"
    assert payload_hash(payload) == hashlib.blake2b(payload, digest_size=32).digest()


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_matter(threads):
    layout = layout_with([40 * CHUNK])
    torch.set_num_threads(threads)
    payloads = {compress(rough(layout, 3, kinds), layout, OuterSettings()) for kinds in (2, 2)}
    torch.set_num_threads(1)
    assert len(payloads) == 1
    update = decode(payloads.pop(), layout, OuterSettings())
    assert update.position_N.tolist() == slow_places(rough(layout, 3, 2), layout, 64)


def test_a_rounds_training_is_sent_140_times_smaller(text_BT):
    model = build_model(Architecture("llama", 96, 2, 4, context=64), 7)
    layout, before_P = layout_of(model), read_vector(model)
    train_steps(model, None, text_BT, TrainSettings(steps=2, batch=2, page_bytes=24), steps_done=0)
    delta_P = before_P - read_vector(model)
    payload = compress(delta_P, layout, OuterSettings())
    update = decode(payload, layout, OuterSettings())
    assert 4 * layout.size >= 140 * len(payload)
    assert float(update.value_N @ delta_P[update.position_N]) > 0.9 * update.norm**2
    assert len(update.value_N) == chunks_of(layout, 64).sent


def test_the_largest_of_groups_are_the_same_whichever_way_they_are_found():
    rows_RGE = torch.from_numpy(rough(layout_with([6 * CHUNK]), 4, 2)).view(6, -1, 8)
    rows_RGE[0, 0] = torch.tensor([-0.0, 0.0, -1e-40, 1e-41, 0.0, 0.0, 0.0, -0.0])
    rows_RGE[1, 1, 3], rows_RGE[2, 2, 4] = math.nan, -math.inf
    one, two = (group_maxima(rows_RGE, one_pass) for one_pass in (False, True))
    number = ~two.view(torch.float32).isnan()
    assert torch.equal(one[number], two[number])
    assert int((~number).sum()) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e6])
@pytest.mark.parametrize("keep", [64, CHUNK])
def test_training_that_diverged_is_not_sent(value, keep):
    layout = layout_with([5000])
    vector_P = rough(layout, 1)
    vector_P[4999] = value
    with pytest.raises(TrainingError, match="diverged"):
        compress(vector_P, layout, OuterSettings(keep=keep))


def test_another_models_parameters_are_not_sent():
    layout = layout_with([5000])
    with pytest.raises(TrainingError, match="expected 5000 float32"):
        compress(np.zeros(4999, np.float32), layout, OuterSettings())
    with pytest.raises(TrainingError, match="float64"):
        compress(np.zeros(5000), layout, OuterSettings())


def test_a_vector_that_cannot_be_written_to_is_sent_too():
    layout = layout_with([5000])
    vector_P = rough(layout, 1)
    expected = compress(vector_P, layout, OuterSettings())
    vector_P.setflags(write=False)
    assert compress(vector_P, layout, OuterSettings()) == expected


@pytest.mark.parametrize("keep", [64, CHUNK])
def test_what_is_too_small_for_full_precision_is_0(keep):
    layout = layout_with([100])
    vector_P = np.full(layout.size, 1e-40, np.float32)
    update = decode(compress(vector_P, layout, OuterSettings(keep=keep)), layout, OuterSettings(keep=keep))
    assert not update.value_N.any()
    assert update.norm == 0.0
