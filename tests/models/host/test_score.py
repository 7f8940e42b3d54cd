import numpy as np
import pytest
import torch

from models.host.architectures import KINDS, Architecture, build_model
from models.host.score import score


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_scores_are_the_log_softmax_of_what_comes(kind, text_BT):
    model = build_model(Architecture(kind, 16, 2, 2, context=32), 1)
    scores_BT = score(model, text_BT)
    assert scores_BT.shape == (5, 23)
    assert scores_BT.dtype == np.float32
    with torch.inference_mode():
        logits = model(input_ids=torch.from_numpy(text_BT.astype(np.int64))).logits.double()
    expected = logits.log_softmax(2)[:, :-1].gather(2, torch.from_numpy(text_BT[:, 1:, None].astype(np.int64)))
    np.testing.assert_allclose(scores_BT, expected[..., 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_the_size_of_a_batch_changes_nothing(llama, text_BT, batch):
    np.testing.assert_allclose(score(llama, text_BT, batch=batch), score(llama, text_BT), atol=1e-5)


def test_probabilities_of_all_next_bytes_sum_to_one(llama, text_BT):
    every_BT = np.repeat(text_BT[:1], 256, axis=0)
    every_BT[:, -1] = np.arange(256)
    np.testing.assert_allclose(np.exp(score(llama, every_BT)[:, -1].astype(np.float64)).sum(), 1.0, atol=1e-5)


def test_nonsense_is_returned_as_it_is(llama, text_BT):
    with torch.no_grad():
        llama.lm_head.weight[65] = torch.nan
    assert np.isnan(score(llama, text_BT)).all()


def test_read_only_text_and_no_text_are_scored(llama, text_BT):
    frozen_BT = text_BT.copy()
    frozen_BT.flags.writeable = False
    assert score(llama, frozen_BT).shape == (5, 23)
    assert score(llama, text_BT[:0]).shape == (0, 23)
