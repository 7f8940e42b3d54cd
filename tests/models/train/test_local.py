import msgspec
import numpy as np
import pytest
import torch

from models.errors import TrainingError
from models.host.architectures import KINDS, Architecture, build_model
from models.train.local import perturb, train_steps
from models.train.settings import TrainSettings

SETTINGS = TrainSettings(steps=3, batch=2, page_bytes=24, warmup_steps=2)


def weights_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def loss_of(model, pages_PT):
    text = torch.from_numpy(pages_PT.astype(np.int64))
    with torch.inference_mode():
        return float(model(input_ids=text, labels=text).loss)


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_model_learns_its_pages(kind):
    pages_PT = np.frombuffer(b"the byte is the unit. " * 24, np.uint8)[: 12 * 44].reshape(12, 44)
    model = build_model(Architecture(kind, 16, 1, 2, context=64), 1)
    before = loss_of(model, pages_PT)
    settings = TrainSettings(steps=30, batch=4, page_bytes=44, learning_rate=1e-2, warmup_steps=3)
    result = train_steps(model, None, pages_PT, settings, steps_done=0)
    assert loss_of(model, pages_PT) < before - 1
    assert 2 < result.loss_bits_per_byte < 9
    assert result.steps_done == 30
    assert not model.training


def test_training_is_deterministic_and_leaves_chance_alone(text_BT):
    state, results = torch.get_rng_state(), []
    for _ in range(2):
        model = build_model(Architecture("gpt2", 16, 1, 2, context=64), 1)
        results.append(
            (train_steps(model, None, text_BT, SETTINGS, steps_done=0).loss_bits_per_byte, weights_of(model))
        )
    assert torch.equal(state, torch.get_rng_state())
    assert results[0][0] == results[1][0]
    assert same(results[0][1], results[1][1])


def test_two_rounds_are_one_long_round(llama, text_BT):
    pages_PT = np.concatenate([text_BT, text_BT[:, ::-1]])[:6]
    whole = build_model(Architecture("llama", 16, 1, 2, context=64), 7)
    long = TrainSettings(steps=3, batch=2, page_bytes=24, warmup_steps=2)
    train_steps(whole, None, pages_PT, long, steps_done=0)
    first = TrainSettings(steps=2, batch=2, page_bytes=24, warmup_steps=2)
    last = TrainSettings(steps=1, batch=2, page_bytes=24, warmup_steps=2)
    half = train_steps(llama, None, pages_PT[:4], first, steps_done=0)
    done = train_steps(llama, half.optimizer_state, pages_PT[4:], last, steps_done=half.steps_done)
    assert done.steps_done == 3
    assert same(weights_of(whole), weights_of(llama))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_activations_that_are_computed_again_are_the_same(text_BT, kind):
    trained = []
    for again in (False, True):
        settings = msgspec.structs.replace(SETTINGS, gradient_checkpointing=again)
        model = build_model(Architecture(kind, 16, 2, 2, context=64), 1)
        train_steps(model, None, text_BT, settings, steps_done=0)
        assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        trained.append(weights_of(model))
    assert same(*trained)


def test_a_loss_that_is_not_finite_is_never_handed_on(llama, text_BT):
    with torch.no_grad():
        llama.lm_head.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match="lower learning_rate"):
        train_steps(llama, None, text_BT, SETTINGS, steps_done=0)


def test_no_pages_are_an_error(llama, text_BT):
    with pytest.raises(TrainingError, match="no pages"):
        train_steps(llama, None, text_BT[:0], SETTINGS, steps_done=0)


def test_the_rate_rises_stays_and_falls():
    settings = TrainSettings(learning_rate=0.1, warmup_steps=9, steady_steps=100)
    assert settings.rate_at(0) == pytest.approx(0.01)
    assert settings.rate_at(9) == settings.rate_at(99) == 0.1
    assert settings.rate_at(399) == pytest.approx(0.05)
    assert settings.pages == settings.steps * settings.batch


def test_noise_follows_from_its_seed_and_its_size(llama):
    before = weights_of(llama)
    state = torch.get_rng_state()
    perturb(llama, 0.01, 5)
    assert torch.equal(state, torch.get_rng_state())
    head = before["lm_head.weight"]
    noise = (llama.state_dict()["lm_head.weight"] - head).std() / head.std()
    assert 0.008 < float(noise) < 0.012
    assert torch.equal(llama.state_dict()["model.norm.weight"], before["model.norm.weight"])
    again = build_model(Architecture("llama", 16, 1, 2, context=64), 7)
    perturb(again, 0.01, 5)
    assert same(weights_of(again), weights_of(llama))
    perturb(again, 0.0, 6)
    assert same(weights_of(again), weights_of(llama))
