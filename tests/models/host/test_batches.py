from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.host.batches import PADDED_SHARE, cut_spans, next_batch, pad, places


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), max_size=6),
    context=st.integers(1, 12),
    share=st.floats(0, 1),
)
def test_every_token_but_the_first_is_predicted_once_from_enough(lengths, context, share):
    stride = max(1, round(share * context))
    start_W = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    spans = cut_spans(start_W, context, stride)
    predicted = [token for span in spans for token in range(span.target, span.last + 1)]
    expected = [token for begin, end in pairwise(start_W.tolist()) for token in range(begin + 1, end)]
    assert predicted == expected
    for span in spans:
        begin = int(start_W[np.searchsorted(start_W, span.first, side="right") - 1])
        assert 1 <= span.length <= context
        assert span.first >= begin
        assert span.target - span.first >= min(span.target - begin, context - stride + 1)


def test_a_stride_of_the_context_gives_disjoint_windows():
    """As `get_rolling_token_windows` of lm-evaluation-harness with context_len 1: the last reaches back."""
    spans = cut_spans(np.array([0, 11], np.int64), 4, 4)
    assert [tuple(span) for span in spans] == [(0, 4, 1), (4, 8, 5), (6, 10, 9)]


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 30), min_size=1, max_size=8),
    context=st.integers(1, 12),
    batch_tokens=st.integers(1, 60),
    least_tokens=st.integers(0, 60),
)
def test_batches_hold_every_span_and_point_at_what_comes(lengths, context, batch_tokens, least_tokens):
    start_W = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    token_C = np.arange(100, 100 + start_W[-1], dtype=np.int32)
    spans = sorted(cut_spans(start_W, context, max(1, context // 2)), key=lambda span: -span.length)
    first, seen = 0, []
    while first < len(spans):
        last = next_batch([span.length for span in spans], first, batch_tokens, least_tokens)
        token_BT = pad(token_C, spans[first:last])
        assert token_BT.size <= max(batch_tokens, token_BT.shape[1])
        padding = token_BT.size - sum(span.length for span in spans[first:last])
        assert padding <= PADDED_SHARE * token_BT.size or token_BT.size <= least_tokens
        place, target = places(spans[first:last], token_BT.shape[1])
        np.testing.assert_array_equal(token_BT.ravel()[place] + 1, token_C[target])
        seen += target.tolist()
        first = last
    assert len(seen) == len(set(seen)) == sum(lengths) - len(lengths)
