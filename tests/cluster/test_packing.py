"""Packing: plans from what is stored, learns from receipts, and goes on from its own record."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from actors.host import ScoreReceipt
from cluster.config import Placement
from cluster.place.packing import Packing
from cluster.place.record import PlacementRecord, read_placement
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.store import Store

PLACEMENT = Placement(hosts=1, capacity_mib=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def versions(store: Store, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Three llamas of one shape, and an adapter over the first."""
    root = tmp_path_factory.mktemp("folders")
    for seed in range(3):
        save_model(build_model(Architecture("llama", 16, 1, 2, context=64), seed), root / str(seed))
    made = [store.put_folder(root / str(seed)).hash for seed in range(3)]
    (root / "adapter").mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": made[0].hex()}
    (root / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {f"{layer}.lora_A.weight": torch.ones(2, 16), f"{layer}.lora_B.weight": torch.ones(16, 2)}
    save_file(tensors, root / "adapter" / "adapter_model.safetensors")
    return [*made, store.put_folder(root / "adapter").hash]


def stacks(packing: Packing, versions: list[bytes]) -> set[frozenset[bytes]]:
    return {frozenset(stack.versions) for own in packing.plan(versions, 1).values() for stack in own.stacks}


def test_versions_of_one_shape_are_put_together(store: Store, versions: list[bytes], tmp_path: Path) -> None:
    packing = Packing(store, tmp_path / "placement.json", PLACEMENT)
    assert stacks(packing, versions[:3]) == {frozenset(versions[:3])}
    assert stacks(packing, versions[1:]) == {frozenset(versions[1:3]), frozenset(versions[3:])}
    assert [packing.is_adapter(version) for version in versions] == [False, False, False, True]
    assert stacks(packing, [*versions[:1], bytes(32)]) == {frozenset(versions[:1]), frozenset([bytes(32)])}


def test_what_failed_is_asked_alone_until_it_answers(store: Store, versions: list[bytes], tmp_path: Path) -> None:
    packing = Packing(store, tmp_path / "placement.json", PLACEMENT)
    plan = packing.plan(versions[:3], 1)
    packing.learn(1, plan, [ScoreReceipt(1, dict.fromkeys(versions[:2], 7))], [versions[2]], {})
    assert stacks(packing, versions[:3]) == {frozenset(versions[:2]), frozenset(versions[2:3])}
    packing.learn(2, plan, [ScoreReceipt(1, dict.fromkeys(versions[:3], 7))], [], {})
    assert stacks(packing, versions[:3]) == {frozenset(versions[:3])}


def test_what_was_measured_outlives_the_driver(store: Store, versions: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "placement.json"
    packing = Packing(store, path, PLACEMENT)
    plan = packing.plan(versions[:3], 1)
    assert plan["host-0"].fits
    receipt = ScoreReceipt(1, dict.fromkeys(versions[:3], 1 << 19), apart="they differ")
    packing.learn(4, plan, [receipt], [], {versions[0]: "ada"})
    record = read_placement(path)
    assert record is not None
    assert record.epoch == 4
    assert [stack.apart for stack in record.hosts[0].stacks] == ["they differ"]
    assert sorted(record.hosts[0].stacks[0].names) == ["", "", "ada"]
    again = Packing(store, path, PLACEMENT).plan(versions[:3], 1)
    assert not again["host-0"].fits
    assert sorted(len(stack.versions) for stack in again["host-0"].stacks) == [1, 2]


def test_what_a_host_says_of_its_memory_is_recorded_and_told_once(
    store: Store, versions: list[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "placement.json"
    packing = Packing(store, path, PLACEMENT)
    plan = packing.plan(versions[:3], 1)
    receipts = [
        ScoreReceipt(1, {versions[index]: 7}, host=host, notes=notes)
        for index, host, notes in ((0, "host-0", ("full",)), (1, "host-0", ("fuller", "full")), (2, "host-1", ()))
    ]
    assert packing.learn(1, plan, receipts, [], {}) == {"host-0": "full"}
    assert packing.learn(2, plan, receipts, [], {}) == {}
    record = read_placement(path)
    assert record is not None
    assert record.notes == {"host-0": ("full", "fuller")}


def test_a_record_that_was_cut_off_is_as_none(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "placement.json"
    path.write_bytes(b'{"epoch": 3, "hosts"')
    assert read_placement(path) is None
    Packing(store, path, PLACEMENT).learn(1, {}, [], [], {})
    assert read_placement(path) == PlacementRecord(epoch=1, hosts=())
