import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.gpu.norms import FusedRMSNorm, fuse_norms, fused_norms
from models.host.head import find_head
from models.host.hosted import host_model
from models.host.reader import ByteReader

torch.set_num_threads(1)

FIELDS = {
    "vocab_size": 256,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
EXCHANGED = {"llama": 5, "mistral": 5, "mixtral": 5, "qwen2": 5, "qwen3": 9, "gemma2": 0, "gpt_neox": 0}
"""Two norms a layer and one at the end; Qwen 3 has two more in its attention; Gemma's norm adds 1 to its weight."""


def build(kind, seed=0):
    config = AutoConfig.for_model(kind, **FIELDS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).eval()
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.data.normal_(1.0, 0.2)
    return model


def tokens():
    return torch.randint(256, (3, 20), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", EXCHANGED)
def test_plain_norms_are_exchanged_and_the_model_says_the_same(kind):
    model = build(kind)
    names = [name for name, _ in model.named_parameters()]
    with torch.inference_mode():
        expected = model(input_ids=tokens()).logits
        assert fuse_norms(model) == EXCHANGED[kind]
        torch.testing.assert_close(model(input_ids=tokens()).logits, expected, rtol=1e-6, atol=1e-6)
    assert [name for name, _ in model.named_parameters()] == names
    assert sum(isinstance(module, FusedRMSNorm) for module in model.modules()) == EXCHANGED[kind]
    assert fuse_norms(model) == 0
    assert find_head(model).body is not None


def test_a_norm_that_does_something_else_stays():
    class OtherRMSNorm(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(8))
            self.eps = 1e-3

        def forward(self, x):
            return self.weight * x / (x.abs().mean(-1, keepdim=True) + self.eps)

    model = torch.nn.Sequential(OtherRMSNorm(), torch.nn.RMSNorm(8))
    assert fuse_norms(model) == 0


def test_the_other_way_shares_the_weights_and_leaves_the_model_as_it_was():
    hosted = host_model(build("llama"), ByteReader())
    other = fused_norms(hosted)
    assert fuse_norms(other.model) == 0
    assert fuse_norms(hosted.model) == EXCHANGED["llama"]
    assert {id(each) for each in other.model.parameters()} == {id(each) for each in hosted.model.parameters()}
    with torch.inference_mode():
        torch.testing.assert_close(other.head.hidden(tokens()), hosted.head.hidden(tokens()), rtol=1e-6, atol=1e-6)
