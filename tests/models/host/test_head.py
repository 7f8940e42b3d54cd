import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from models.host import head as heads
from models.host.head import find_head

TINY = {
    "vocab_size": 300,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
    "pad_token_id": 0,
}
CASES = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {},
    "gpt_neox": {"num_key_value_heads": None},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "opt": {"ffn_dim": 32, "word_embed_proj_dim": 12, "init_std": 0.5},
    "gemma2": {"final_logit_softcapping": 3.0},
    "cohere": {"logit_scale": 0.25},
    "granite": {"logits_scaling": 4.0},
}


def tiny(kind):
    config = AutoConfig.for_model(kind, **TINY | CASES[kind])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return AutoModelForCausalLM.from_config(config).eval()


def tokens():
    return torch.from_numpy(np.random.default_rng(1).integers(0, 300, (3, 20)))


@pytest.mark.parametrize("kind", CASES)
def test_the_head_in_chunks_gives_the_models_own_logits(kind, one_thread):
    model = tiny(kind)
    head = find_head(model)
    assert head.body is not None
    with torch.inference_mode():
        expected = model(input_ids=tokens()).logits
        found = head.logits(head.hidden(tokens())).view_as(expected)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_log_probabilities_do_not_depend_on_the_chunk(kind, monkeypatch, one_thread):
    model = tiny(kind)
    head, token_BT = find_head(model), tokens()
    with torch.inference_mode():
        expected = model(input_ids=token_BT).logits.double().log_softmax(2)[:, :-1]
        expected = expected.gather(2, token_BT[:, 1:, None]).flatten()
        hidden = head.hidden(token_BT).unflatten(1, token_BT.shape)[:, :, :-1].flatten(1, 2)
        monkeypatch.setattr(heads, "LEAST_POSITIONS", 1)
        for logits in (1, 300 * 7, 1 << 20):
            monkeypatch.setattr(heads, "CHUNK_LOGITS_CPU", logits)
            found = head.log_probability(hidden, token_BT[:, 1:].flatten())[0]
            torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_model_that_does_something_else_to_its_logits_gives_them_itself(one_thread):
    model = tiny("gemma2")
    # A cap that the configuration no longer names: as if the model did something that this code has never heard of.
    head_of = model.config.final_logit_softcapping
    forward = model.forward

    def changed(**inputs):
        output = forward(**inputs)
        output.logits = output.logits * 2 + head_of
        return output

    model.forward = changed
    head = find_head(model)
    assert head.body is None
    assert head.most_tokens < 1 << 30
    with torch.inference_mode():
        expected = changed(input_ids=tokens()).logits
        torch.testing.assert_close(head.hidden(tokens()).view_as(expected), expected)
