import pytest
import torch

from models.errors import TrainingError
from models.host.architectures import KINDS, Architecture, build_model
from models.train.local import train_steps
from models.train.optimizer import load_optimizer, save_optimizer
from models.train.settings import TrainSettings

SETTINGS = TrainSettings(steps=2, batch=2, page_bytes=24, warmup_steps=2)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_training_goes_on_from_a_file_as_from_memory(tmp_path, text_BT, kind, tied):
    path = tmp_path / "folder" / "state.safetensors"
    models = [build_model(Architecture(kind, 16, 1, 2, context=64, tied=tied), 1) for _ in range(2)]
    results = [train_steps(model, None, text_BT, SETTINGS, steps_done=0) for model in models]
    save_optimizer(path, results[0].optimizer_state, results[0].steps_done)
    state, steps_done = load_optimizer(path)
    assert steps_done == 2
    train_steps(models[0], state, text_BT, SETTINGS, steps_done=steps_done)
    train_steps(models[1], results[1].optimizer_state, text_BT, SETTINGS, steps_done=2)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)
    assert [file.name for file in path.parent.iterdir()] == ["state.safetensors"]


def test_a_state_that_was_used_stays_as_it_was(llama, text_BT):
    state = train_steps(llama, None, text_BT, SETTINGS, steps_done=0).optimizer_state
    kept = {name: tensor.clone() for name, tensor in state.items()}
    train_steps(llama, state, text_BT, SETTINGS, steps_done=2)
    assert all(torch.equal(state[name], kept[name]) for name in kept)


def test_the_state_of_another_model_is_refused(llama, text_BT):
    other = build_model(Architecture("llama", 32, 1, 2, context=64), 1)
    state = train_steps(other, None, text_BT, SETTINGS, steps_done=0).optimizer_state
    with pytest.raises(TrainingError, match="another model's"):
        train_steps(llama, state, text_BT, SETTINGS, steps_done=2)


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all"])
def test_a_state_that_cannot_be_read_says_what_to_do(tmp_path, content):
    path = tmp_path / "state.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingError, match="remove it"):
        load_optimizer(path)
