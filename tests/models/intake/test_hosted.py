"""Every architecture that the network says it hosts is scored as the plain model would be."""

import numpy as np
import pytest
import torch

from models.host.hosted import Hosted, load_hosted
from models.host.next_byte import next_byte
from models.host.score import score_windows
from tests.models.intake.architectures import KINDS, make

TEXTS = [b"def wrap(text, width=70):\n    return text", "naïve café — 漢字".encode(), b"the quick brown fox " * 5]


@pytest.fixture(scope="module", params=sorted(KINDS))
def hosted(request, tmp_path_factory, one_thread) -> Hosted:
    return load_hosted(make(request.param, tmp_path_factory.mktemp(request.param), 3))


def log_probability(hosted, text):
    """Natural log-probabilities [T, 256] of the byte after each byte, by the plain model."""
    with torch.inference_mode():
        ids_BT = torch.tensor([list(text)])
        return hosted.model(input_ids=ids_BT, use_cache=False).logits[0].double().log_softmax(1).numpy()


def test_windows_are_scored_as_the_models_own_logits_say(hosted):
    scores = score_windows(hosted, TEXTS)
    for window, text in enumerate(TEXTS):
        expected = log_probability(hosted, text)[np.arange(len(text) - 1), list(text[1:])]
        found = scores.log_probability_C[scores.start_W[window] : scores.start_W[window + 1]]
        np.testing.assert_allclose(found[1:], expected, atol=1e-4)


def test_the_next_byte_is_the_models_own(hosted):
    for text, found in zip(TEXTS, next_byte(hosted, TEXTS), strict=True):
        np.testing.assert_allclose(found, log_probability(hosted, text)[-1], atol=1e-4)


def test_answers_are_far_from_uniform(hosted):
    assert next_byte(hosted, TEXTS).std() > 0.3
