import pytest
import torch

from models.bench.ceilings import Ceilings
from models.bench.cost import Cost, forward_cost, size_of, training_cost, value_cost
from models.bench.line import make_line
from models.bench.presets import PRESETS, build_preset
from models.bench.timing import spread_of
from models.errors import ModelsError

CEILINGS = Ceilings(dtype="float32", operations_s=100.0, bytes_s=10.0, matrix=8, copied_bytes=8)


@pytest.mark.parametrize("name", PRESETS)
def test_matrices_of_a_preset_are_its_parameters_but_for_norms(name: str) -> None:
    model = build_preset(name, torch.device("meta"), torch.bfloat16)
    size = size_of(model)
    norms = sum(tensor.numel() for tensor in model.parameters() if tensor.dim() < 2)
    assert size.parameters + norms == sum(tensor.numel() for tensor in model.parameters())
    assert size.active <= size.weights
    assert (size.active < size.weights) == name.startswith("moe")


def test_operations_are_those_that_torch_counts_without_the_masked_half_of_attention() -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    model = build_preset("byte-1m", torch.device("cpu"), torch.float32)
    rows, length = 3, 64
    with FlopCounterMode(display=False) as counter, torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        model(input_ids=torch.zeros(rows, length, dtype=torch.int64), use_cache=False)
    size = size_of(model)
    masked = 2 * 2 * size.layers * size.width * rows * length * (length - 1) / 2
    assert forward_cost(size, rows, length, 4).operations + masked == counter.get_total_flops()


def test_a_step_is_three_passes_and_models_cost_each_their_own() -> None:
    size = size_of(build_preset("byte-1m", torch.device("meta"), torch.float32))
    one = forward_cost(size, 2, 32, 4)
    assert training_cost(size, 2, 32).operations == 3 * one.operations
    assert forward_cost(size, 2, 32, 4, models=5) == one * 5
    assert value_cost(3, 7) == Cost(42.0, 84.0)


def test_a_line_says_what_bounds_it_and_how_far_it_is_from_there() -> None:
    line = make_line({"batch": 4}, "tokens", 40, [3.0, 1.0, 2.0], Cost(100.0, 5.0), CEILINGS)
    assert (line.seconds.median, line.units_s, line.bound, line.floor_s) == (2.0, 20.0, "operations", 1.0)
    assert line.mfu == 0.5
    assert line.bandwidth == 0.25
    assert make_line({}, "bytes", 1, [1.0], Cost(1.0, 5.0), CEILINGS).bound == "bytes"


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(ModelsError, match="byte-1m"):
        build_preset("llama-9b", torch.device("cpu"), torch.float32)


def test_presets_are_drawn_from_their_seed_and_leave_the_random_state_alone() -> None:
    state = torch.random.get_rng_state()
    one, two = (build_preset("byte-1m", torch.device("cpu"), torch.float32, seed=1) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert one.get_output_embeddings().weight.std() > 0


def test_the_quartiles_of_few_samples_lie_among_them() -> None:
    spread = spread_of([1.0, 9.0])
    assert spread.least <= spread.quartiles[0] <= spread.median <= spread.quartiles[1] <= spread.most
