"""Stacks: each model says together what it says alone, whatever the architecture, or there is no stack."""

import copy

import numpy as np
import pytest
import torch

from models.host.hosted import load_hosted
from models.host.next_byte import next_byte, next_byte_together
from models.host.score import score_together, score_windows
from models.host.stacked import StackError, stack
from tests.models.intake.architectures import KINDS, make

TEXTS = [bytes(range(32, 122)), b"def hello(world): return" * 5, b"ab", b"c"]


def load(tmp_path, kind, count=3, **fields):
    return [load_hosted(make(kind, tmp_path / f"{kind}-{seed}", seed=seed, **fields)) for seed in range(count)]


@pytest.mark.filterwarnings("ignore:.*histc|.*grouped_mm|There is a performance drop")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_stack_says_what_its_models_say(tmp_path, one_thread, kind):
    members = load(tmp_path, kind)
    alone = [score_windows(member, TEXTS).log_probability_C for member in members]
    bytes_alone = [next_byte(member, TEXTS) for member in members]
    assert np.abs(alone[0] - alone[1]).max() > 1
    stacked = stack(members)
    for batch_tokens in (None, 1, 300):
        together = score_together(stacked, TEXTS, batch_tokens=batch_tokens)
        for scores, own in zip(together, alone, strict=True):
            np.testing.assert_allclose(scores.log_probability_C, own, atol=1e-4)
    np.testing.assert_allclose(next_byte_together(stacked, TEXTS), bytes_alone, atol=1e-4)
    for member, own in zip(members, alone, strict=True):
        np.testing.assert_array_equal(score_windows(member, TEXTS).log_probability_C, own)


def test_a_stack_has_no_weights_of_its_own(tmp_path, one_thread):
    members = load(tmp_path, "llama")
    stacked = stack(members)
    held = {p.untyped_storage().data_ptr() for p in stacked.model.parameters()}
    assert {p.untyped_storage().data_ptr() for member in members for p in member.model.parameters()} == held


def test_a_model_that_says_nan_does_not_touch_the_others(tmp_path, one_thread):
    members = load(tmp_path, "llama")
    with torch.no_grad():
        members[1].model.lm_head.weight[3, 3] = float("nan")
    alone = [score_windows(member, TEXTS).log_probability_C for member in members]
    together = score_together(stack(members), TEXTS)
    assert np.isnan(together[1].log_probability_C).any()
    for scores, own in zip(together, alone, strict=True):
        np.testing.assert_allclose(scores.log_probability_C, own, atol=1e-4)


def test_models_of_unlike_shapes_are_not_stacked(tmp_path, one_thread):
    members = [*load(tmp_path / "a", "llama", 1), *load(tmp_path / "b", "llama", 1, intermediate_size=32)]
    with pytest.raises(StackError, match="shapes"):
        stack(members)
    with pytest.raises(StackError, match="names"):
        stack([members[0], *load(tmp_path / "c", "gpt2", 1)])
    with pytest.raises(StackError, match="two models"):
        stack(members[:1])


def test_code_that_looks_at_its_neighbours_is_not_stacked(tmp_path, one_thread):
    """A model whose rows depend on each other says something else in a stack: the probe finds it."""
    members = load(tmp_path, "llama")
    alone = [score_windows(member, TEXTS).log_probability_C for member in members]
    for member in members:
        layer = member.model.model.layers[0]
        layer.register_forward_hook(lambda _, inputs, output: output + output.mean(0, keepdim=True))
    with pytest.raises(StackError, match="differ by"):
        stack(copy.deepcopy(members))
    for member in members:
        member.model.model.layers[0]._forward_hooks.clear()
    for scores, own in zip(score_together(stack(members), TEXTS), alone, strict=True):
        np.testing.assert_allclose(scores.log_probability_C, own, atol=1e-4)
