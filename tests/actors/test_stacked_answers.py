"""A host that answers for several versions at once: as one by one, each signed apart, none at another's cost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from actors.host import Host, Part, ScoreRequest
from actors.wire import check_answer
from models.errors import StoreError
from models.host.stacked import pays
from models.store import Store
from models.text.align import Scores


@pytest.fixture
def network(found_network: Callable[..., Any]) -> Any:
    return opened(found_network(stakes_tao={"vera": 2, "victor": 1}))


@pytest.fixture
def next_byte_network(found_network: Callable[..., Any]) -> Any:
    return opened(found_network(stakes_tao={"vera": 2, "victor": 1}, panel="next_byte", windows=512))


def opened(network: Any) -> Any:
    network.seal("open")
    return network


LITTLE = (Part(0, 0, 3), Part(1, 2, 6))
MUCH = (Part(0, 0, 9), Part(1, 2, 9))
"""Windows that a stack answers for in one batch on a CPU, and those that it answers for model by model."""


def ask(network: Any, versions: list[bytes], parts: tuple[Part, ...] = LITTLE) -> tuple[Any, list[Any], list[Any]]:
    queries = [validator.draw(1) for validator in network.validators.values()]
    wallets = ("ada", "grace", "operator")[: len(versions)]
    receipt, answers = network.host.score(
        ScoreRequest(versions=tuple(versions), wallets=wallets, parts=parts), *queries
    )
    return receipt, answers, queries


def values(answer: Any) -> Any:
    return answer.said.log_probability_C if isinstance(answer.said, Scores) else answer.said


@pytest.mark.parametrize("parts", [LITTLE, MUCH])
@pytest.mark.parametrize("panel", ["network", "next_byte_network"])
def test_a_stack_answers_as_its_versions_do(
    request: pytest.FixtureRequest, versions: tuple[Path, dict[str, bytes]], panel: str, parts: tuple[Part, ...]
) -> None:
    network = request.getfixturevalue(panel)
    named = [versions[1][name] for name in ("ada", "ada 2", "echo")]
    receipt, together, queries = ask(network, named, parts)
    assert receipt.apart == ""
    assert receipt.windows == sum(part.last - part.first for part in parts)
    assert pays(network.host._library.stacked(named), [bytes(65)] * receipt.windows) == (parts == LITTLE)
    assert set(receipt.size_bytes) == set(named)
    assert all(size > 0 for size in receipt.size_bytes.values())
    signers = [network.wallets[name].hotkey_public() for name in ("ada", "grace", "operator")]
    for index, version in enumerate(named):
        _, alone, _ = ask(network, [version], parts)
        own = [answer for answer in together if answer.version == version]
        assert [answer.first for answer in own] == [0, 2]
        for answer, single, query in zip(own, alone, queries, strict=True):
            check_answer(answer, query, version=version, signers={signers[index]})
            np.testing.assert_allclose(values(answer), values(single), atol=1e-4)


def test_what_cannot_be_stacked_is_answered_for_one_by_one_and_told(
    network: Any, versions: tuple[Path, dict[str, bytes]]
) -> None:
    named = [versions[1][name] for name in ("ada", "grace")]
    receipt, together, _ = ask(network, named)
    assert "different names, shapes or types" in receipt.apart
    assert [answer.version for answer in together] == [named[0], named[0], named[1], named[1]]


def test_an_absent_version_fails_the_stack_and_nothing_else(
    network: Any, versions: tuple[Path, dict[str, bytes]]
) -> None:
    named = [versions[1][name] for name in ("ada", "ada 2")]
    with pytest.raises(StoreError):
        ask(network, [*named, bytes(32)])
    assert ask(network, named)[0].apart == ""


def test_a_version_that_says_nan_leaves_the_others_as_they_are(
    network: Any, versions: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    store = Store(network.folder / "store")
    folder = tmp_path / "nan"
    folder.mkdir()
    source = store.materialize(versions[1]["ada"])
    tensors = load_file(source / "model.safetensors")
    tensors["lm_head.weight"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text((source / "config.json").read_text())
    bad = store.put_folder(folder).hash
    receipt, together, _ = ask(network, [versions[1]["ada"], bad, versions[1]["ada 2"]])
    assert receipt.apart == ""
    assert np.isnan(values(together[2])).any()
    _, alone, _ = ask(network, [versions[1]["ada"]])
    np.testing.assert_allclose(values(together[0]), values(alone[0]), atol=1e-4)


def test_adapters_over_a_base_answer_together(
    network: Any, versions: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    store, layer = Store(network.folder / "store"), "base_model.model.model.layers.0.self_attn.q_proj"
    adapters = []
    for seed in range(2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": versions[1]["ada"].hex()}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        generator = torch.Generator().manual_seed(seed)
        shapes = {f"{layer}.lora_A.weight": (2, 32), f"{layer}.lora_B.weight": (32, 2)}
        tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        save_file(tensors, folder / "adapter_model.safetensors")
        adapters.append(store.put_folder(folder).hash)
    receipt, together, _ = ask(network, adapters)
    assert receipt.apart == ""
    assert set(receipt.size_bytes.values()) == {4 * 2 * (32 + 32)}
    for index, adapter in enumerate(adapters):
        _, alone, _ = ask(network, [adapter])
        np.testing.assert_allclose(values(together[2 * index]), values(alone[0]), atol=1e-4)
    _, base, _ = ask(network, [versions[1]["ada"]])
    assert np.abs(values(together[0]) - values(base[0])).max() > 0.01


def test_a_host_pages_weights_in_and_out(network: Any, versions: tuple[Path, dict[str, bytes]]) -> None:
    named = [versions[1][name] for name in ("ada", "ada 2", "echo", "grace")]
    receipt, _, _ = ask(network, named[:1])
    settings = msgspec.structs.replace(network.host._settings, capacity_bytes=2 * receipt.size_bytes[named[0]])
    tight = Host(settings)
    network.host, roomy = tight, network.host
    for group in (named[:2], named[2:3], named[3:], named[:2]):
        _, paged, _ = ask(network, group)
        network.host = roomy
        _, resident, _ = ask(network, group)
        network.host = tight
        for own, expected in zip(paged, resident, strict=True):
            np.testing.assert_array_equal(values(own), values(expected))
