import msgspec
import pytest
import torch

from models.errors import ArchitectureError
from models.host.architectures import (
    FULL_ATTENTION,
    KINDS,
    VOCABULARY,
    Architecture,
    build_model,
    check_architecture,
    parameter_count,
)


def architecture_of(kind, tied):
    return Architecture(kind, 32, 2, 4, kv_heads=0 if kind in FULL_ATTENTION else 2, context=48, tied=tied)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_built_as_described(kind, tied):
    architecture = architecture_of(kind, tied)
    model = build_model(architecture, 1)
    assert model.config.model_type == kind
    assert sum(parameter.numel() for parameter in model.parameters()) == parameter_count(architecture)
    assert model(input_ids=torch.zeros((1, 48), dtype=torch.int64)).logits.shape == (1, 48, VOCABULARY)
    assert not model.training


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_weights_follow_from_the_seed_and_chance_is_left_alone(kind):
    architecture = architecture_of(kind, False)
    before = torch.get_rng_state()
    first, again, other = (build_model(architecture, seed).state_dict() for seed in (1, 1, 2**70 + 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_byte_does_not_see_what_follows(kind):
    model = build_model(architecture_of(kind, False), 1)
    text = torch.arange(20)[None]
    changed = text.clone()
    changed[0, 12:] = 7
    with torch.inference_mode():
        a, b = model(input_ids=text).logits, model(input_ids=changed).logits
    torch.testing.assert_close(a[:, :12], b[:, :12])


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"kind": "lama"}, "kind", "gpt2, gpt_neox, llama"),
        ({"heads": 3}, "heads", "do not divide hidden"),
        ({"hidden": 12, "heads": 4}, "heads", "even width"),
        ({"kv_heads": 3}, "kv_heads", "do not divide heads"),
        ({"kind": "gpt2", "kv_heads": 2}, "kv_heads", "leave it out"),
    ],
)
def test_an_architecture_that_cannot_be_names_its_field(fields, field, sentence):
    architecture = msgspec.structs.replace(Architecture("llama", 32, 2, 4), **fields)
    with pytest.raises(ArchitectureError, match=sentence) as error:
        check_architecture(architecture)
    assert error.value.field == field
    with pytest.raises(ArchitectureError):
        build_model(architecture, 0)


def test_bounds_are_in_the_types():
    with pytest.raises(msgspec.ValidationError, match=r"\$\.layers"):
        msgspec.convert({"kind": "llama", "hidden": 32, "layers": 0, "heads": 4}, Architecture)
    with pytest.raises(msgspec.ValidationError, match="depth"):
        msgspec.convert({"kind": "llama", "hidden": 32, "layers": 1, "heads": 4, "depth": 3}, Architecture)
