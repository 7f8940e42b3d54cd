import numpy as np
import pytest
import torch

from models.errors import TrainingError
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.host.hosted import load_hosted
from models.train.distil import Teaching, divergence, expected_bytes, keep_likeliest, load_teaching, save_teaching
from models.train.local import train_steps
from models.train.settings import TrainSettings


def hosted_of(tmp_path, seed=3, kind="gpt2"):
    save_model(build_model(Architecture(kind, 16, 1, 2, context=64), seed), tmp_path / f"{kind}{seed}")
    return load_hosted(tmp_path / f"{kind}{seed}")


def tensors_of(teaching):
    return torch.from_numpy(teaching.byte_PLK.astype(np.int64)), torch.from_numpy(teaching.probability_PLK)


def test_what_is_expected_is_what_the_model_says(tmp_path, text_BT):
    hosted = hosted_of(tmp_path)
    probability = expected_bytes(hosted, text_BT)
    token = torch.from_numpy(text_BT[:, :-1].astype(np.int64))
    with torch.inference_mode():
        said = hosted.model(input_ids=token).logits.softmax(-1).numpy()
    assert probability.shape == (5, 23, 256)
    assert np.allclose(probability, said, atol=1e-6)


def test_the_likeliest_stand_in_order_and_ties_go_by_the_byte(text_BT):
    probability = np.full((1, 2, 256), 0.5 / 254, np.float32)
    probability[0, :, [7, 200]] = 0.25
    kept = keep_likeliest(text_BT[:1, :3], probability, top=4, floor=0.01)
    assert kept.byte_PLK.tolist() == [[[7, 200, 0, 1]] * 2]
    assert kept.probability_PLK.tolist() == [[[0.25, 0.25, 0, 0]] * 2]


def test_the_divergence_is_that_of_the_parts(text_BT):
    random = np.random.default_rng(1)
    q, p = random.dirichlet(np.full(256, 0.05), (3, 23)), random.dirichlet(np.full(256, 0.5), (3, 23))
    kept = keep_likeliest(text_BT[:3], q.astype(np.float32), top=5, floor=0.02)
    wanted = []
    for place in np.ndindex(3, 23):
        bytes_kept = [b for b, own in zip(kept.byte_PLK[place], kept.probability_PLK[place], strict=True) if own]
        parts = [(q[place][b], p[place][b]) for b in bytes_kept]
        rest = [b for b in range(256) if b not in bytes_kept]
        parts.append((q[place][rest].sum(), p[place][rest].sum()))
        wanted.append(sum(own * np.log(own / other) for own, other in parts))
    found = divergence(torch.from_numpy(np.log(p)), *tensors_of(kept))
    assert float(found) == pytest.approx(np.mean(wanted), rel=1e-4)


@pytest.mark.parametrize(("top", "floor"), [(1, 0.0), (16, 1e-4), (128, 0.0)])
def test_there_is_none_from_oneself(tmp_path, text_BT, top, floor):
    hosted = hosted_of(tmp_path)
    kept = keep_likeliest(text_BT, expected_bytes(hosted, text_BT), top=top, floor=floor)
    logits = hosted.model(input_ids=torch.from_numpy(text_BT[:, :-1].astype(np.int64))).logits.detach()
    logits.requires_grad_()
    found = divergence(logits, *tensors_of(kept))
    torch.autograd.backward(found)
    assert abs(float(found.detach())) < 1e-5
    assert float(logits.grad.abs().max()) < 1e-5


def test_a_certain_teacher_gives_finite_gradients(text_BT):
    q = np.zeros((1, 23, 256), np.float32)
    q[..., 65] = 1
    kept = keep_likeliest(text_BT[:1], q, top=16, floor=0.0)
    logits = torch.zeros(1, 23, 256, requires_grad=True)
    found = divergence(logits, *tensors_of(kept))
    torch.autograd.backward(found)
    assert float(found.detach()) == pytest.approx(np.log(256), rel=1e-3)
    assert torch.isfinite(logits.grad).all()


def test_files_come_back_as_they_were_by_stratum(tmp_path, text_BT):
    q = np.random.default_rng(0).dirichlet(np.ones(256), (5, 23)).astype(np.float32)
    code = keep_likeliest(text_BT, q, top=8, floor=0.0)
    tables = keep_likeliest(text_BT[:2, ::-1], q[:2], top=8, floor=0.0)
    paths = [str(tmp_path / "made" / name) for name in ("a", "b")]
    save_teaching(tmp_path / "made" / "a", code, "code")
    save_teaching(tmp_path / "made" / "b", tables, "tables")
    found = load_teaching(paths, {"tables"})
    assert found is not None
    assert all(np.array_equal(a, b) for a, b in zip(vars(found).values(), vars(tables).values(), strict=True))
    assert len(load_teaching(paths).text_PT) == 7
    assert load_teaching(paths, {"code"}).probability_PLK.dtype == np.float32
    assert load_teaching(paths, {"tests"}) is None
    assert load_teaching([]) is None
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["a", "b"]


def test_a_damaged_file_says_what_to_do(tmp_path, text_BT):
    with pytest.raises(TrainingError, match="remove it"):
        load_teaching([tmp_path / "absent"])
    (tmp_path / "odd").write_bytes(b"not safetensors")
    with pytest.raises(TrainingError, match="remove it"):
        load_teaching([tmp_path / "odd"])
    q = np.full((5, 23, 256), 1 / 256, np.float32)
    wrong = Teaching(
        text_BT[:, :-1],
        *(vars(keep_likeliest(text_BT, q, top=2, floor=0.0))[n] for n in ("byte_PLK", "probability_PLK")),
    )
    save_teaching(tmp_path / "wrong", wrong, "code")
    with pytest.raises(TrainingError, match="remove it"):
        load_teaching([tmp_path / "wrong"])


def test_a_model_follows_its_teaching_and_without_weight_it_does_not(tmp_path, text_BT):
    teacher = hosted_of(tmp_path, 3)
    with torch.no_grad():
        teacher.model.lm_head.weight.mul_(8)
    teaching = keep_likeliest(text_BT, expected_bytes(teacher, text_BT), top=16, floor=1e-4)
    byte, probability = tensors_of(teaching)
    token = torch.from_numpy(text_BT[:, :-1].astype(np.int64))

    def trained(weight, given):
        model = build_model(Architecture("llama", 16, 1, 2, context=64), 1)
        settings = TrainSettings(steps=20, batch=4, page_bytes=24, learning_rate=1e-2, distil_weight=weight)
        loss = train_steps(model, None, text_BT[::-1].copy(), settings, steps_done=0, teaching=given)
        with torch.inference_mode():
            return loss.loss_bits_per_byte, float(divergence(model(input_ids=token).logits, byte, probability))

    alone, unweighted, taught = trained(0.0, None), trained(0.0, teaching), trained(4.0, teaching)
    assert alone == unweighted
    assert taught[1] < 0.7 * alone[1]


def test_shared_pages_of_another_length_are_refused(llama, text_BT):
    teaching = keep_likeliest(text_BT, np.full((5, 23, 256), 1 / 256, np.float32), top=2, floor=0.0)
    with pytest.raises(TrainingError, match="24 bytes, own ones 20"):
        train_steps(llama, None, text_BT[:, :20], TrainSettings(), steps_done=0, teaching=teaching)
