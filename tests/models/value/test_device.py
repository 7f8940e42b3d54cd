import numpy as np
import pytest
import torch

from models.errors import MemoryFull
from models.value import shares
from models.value.device import value_on
from models.value.errors import RoundError

ROWS_NM, BASELINE_M = np.minimum(np.random.default_rng(0).normal(-2, 1, (3, 400)), -0.01), np.full(400, -3.0)


def share_on(device):
    return shares(ROWS_NM, BASELINE_M, device=device)


def test_a_cpu_has_nothing_to_tell(one_thread):
    assert value_on("cpu", share_on)[1] == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without an NVIDIA GPU")
def test_a_gpu_that_does_not_answer_is_told_and_the_values_are_there(one_thread):
    measured, note = value_on("cuda", share_on, gpus=0.5)
    np.testing.assert_array_equal(measured.bits_N, share_on("cpu").bits_N)
    assert note.startswith("values come from the CPU: the GPU does not answer (")


@pytest.mark.parametrize("fault", [MemoryFull("CUDA out of memory"), torch.AcceleratorError("CUDA error: lost", 1)])
def test_a_gpu_that_fails_on_the_way_is_told_and_the_values_are_there(one_thread, fault):
    asked = []

    def fails_once(device):
        asked.append(device)
        if len(asked) == 1:
            raise fault
        return share_on(device)

    measured, note = value_on("auto", fails_once)
    assert asked[1:] == ["cpu"]
    assert measured.gain == share_on("cpu").gain
    assert note == f"values come from the CPU: {fault}"


def test_a_fault_of_the_round_is_none_of_the_device(one_thread):
    with pytest.raises(RoundError, match="the baseline has shape"):
        value_on("auto", lambda device: shares(ROWS_NM, BASELINE_M[1:], device=device))
