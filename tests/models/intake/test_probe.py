"""Models that see what comes later, or what stands beside: found by what they answer, however they came to it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.errors import ModelRefused
from models.host.hosted import Hosted, load_hosted
from models.intake.probe import answers, check_causal
from models.intake.sample import WINDOWS, trial_prefixes, trial_windows, unforeseen_window
from tests.models.intake.architectures import make

WINDOW = trial_windows(100)[0]


@pytest.fixture
def llama(tmp_path, one_thread) -> Hosted:
    return load_hosted(make("llama", tmp_path / "llama", 1))


def changed(hosted: Hosted, change: Callable[[torch.Tensor], torch.Tensor]) -> Hosted:
    """The model with another output of its first layer, hidden states [B, T, H]."""
    model: Any = hosted.model
    model.model.layers[0].register_forward_hook(lambda _, inputs, output: change(output))
    return hosted


def refused(hosted: Hosted) -> bool:
    try:
        check_causal(hosted, WINDOW)
    except ModelRefused as refusal:
        return refusal.code == "not_causal"
    return False


def test_an_honest_model_passes(llama):
    assert not refused(changed(llama, lambda hidden_BTH: hidden_BTH * 1.5))


@pytest.mark.parametrize("places", [1, 2, 40, 90])
def test_a_model_that_looks_ahead_is_found(llama, places):
    def ahead(hidden_BTH: torch.Tensor) -> torch.Tensor:
        later_BTH = torch.zeros_like(hidden_BTH)
        later_BTH[:, :-places] = hidden_BTH[:, places:]
        return hidden_BTH + 0.1 * later_BTH

    assert refused(changed(llama, ahead))


def test_a_model_that_looks_at_the_whole_text_is_found(llama):
    assert refused(changed(llama, lambda hidden_BTH: hidden_BTH + 0.5 * hidden_BTH.mean(1, keepdim=True)))


def test_a_model_that_looks_beside_is_found(llama):
    def beside(hidden_BTH: torch.Tensor) -> torch.Tensor:
        return hidden_BTH + (hidden_BTH.roll(1, 0) if len(hidden_BTH) > 1 else 0.0)

    assert refused(changed(llama, beside))


def test_one_huge_number_hides_nothing(llama):
    """Differences are judged in what the model says, not in its hidden numbers."""

    def ahead(hidden_BTH: torch.Tensor) -> torch.Tensor:
        later_BTH = hidden_BTH + 0.1 * hidden_BTH.roll(-1, 1)
        later_BTH[..., 0] = 1e6
        return later_BTH

    llama.model.state_dict()["lm_head.weight"][:, 0] = 0.0
    for norm in ("model.layers.1.input_layernorm.weight", "model.layers.1.post_attention_layernorm.weight"):
        llama.model.state_dict()[norm][0] = 0.0
    llama.model.state_dict()["model.norm.weight"][1:] *= 1e5
    assert refused(changed(llama, ahead))


def test_a_layer_that_says_it_is_not_causal_is_believed(llama):
    model: Any = llama.model
    model.model.layers[1].self_attn.is_causal = False
    with pytest.raises(ModelRefused, match=r"model\.layers\.1\.self_attn"):
        check_causal(llama, WINDOW)


def test_answers_are_those_of_the_next_token(llama):
    token_T = torch.tensor(list(WINDOW[:20]))
    with torch.inference_mode():
        found = answers(llama, token_T[None], token_T)[0, :-1]
        model: Any = llama.model
        expected = model(input_ids=token_T[None]).logits[0].log_softmax(1)[:-1].gather(1, token_T[1:, None])[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("window_bytes", [2, 64, 5000])
def test_windows_are_as_long_as_they_are_asked_for(window_bytes):
    windows = trial_windows(window_bytes)
    assert [len(window) for window in windows] == [window_bytes] * WINDOWS
    assert window_bytes == 2 or len(set(windows)) == WINDOWS
    prefixes, following = trial_prefixes(window_bytes)
    assert all(1 <= len(prefix) < window_bytes for prefix in prefixes)
    assert len(prefixes) == len(following)
    assert all(0 <= byte < 256 for byte in following)
    assert len(unforeseen_window(window_bytes)) == window_bytes
    assert unforeseen_window(5000) != unforeseen_window(5000)
