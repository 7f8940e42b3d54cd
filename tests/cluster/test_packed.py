"""A running network of many peers: versions of one shape are asked together, adapters over one base, all are valued."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import taoray
from cluster.config import load_network
from cluster.home import Home
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model

pytestmark = pytest.mark.cluster

ARCHITECTURE = Architecture("llama", hidden=32, layers=1, heads=2)


def write_adapter(folder: Path, base: str, seed: int) -> Path:
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    generator = torch.Generator().manual_seed(seed)
    shapes = {f"{layer}.lora_A.weight": (2, 32), f"{layer}.lora_B.weight": (32, 2)}
    tensors = {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_submitted_peers_and_adapters_are_asked_in_stacks(
    tiny_toml: Path, small_text: str, tmp_path: Path, run: Any
) -> None:
    home = tmp_path / "home"
    network = load_network(tiny_toml, [small_text])
    taoray.launch(network, epochs=1, home=home)
    base = next(row["manifest"] for row in taoray.metagraph(home).to_pylist() if row["name"] == "still")
    for seed in range(2):
        save_model(build_model(ARCHITECTURE, 100 + seed), tmp_path / f"model-{seed}")
        taoray.submit(tmp_path / f"model-{seed}", home=home)
        taoray.submit(write_adapter(tmp_path / f"adapter-{seed}", base, seed), home=home)
    record = taoray.launch(network, epochs=1, home=home).epochs[-1]
    submitted = {neuron.name: neuron for neuron in record.neurons if neuron.name.startswith(("model", "adapter"))}
    assert len(submitted) == 4
    for name, neuron in submitted.items():
        assert (neuron.status, neuron.reason) == ("ok", "")
        assert neuron.kind == ("adapter" if name.startswith("adapter") else "hosted")
        assert neuron.bits_per_byte is not None
    placement = taoray.status(home).placement
    assert placement is not None
    assert placement.epoch == 2
    assert all(host.fits for host in placement.hosts)
    stacks = [set(stack.names) for host in placement.hosts for stack in host.stacks]
    assert {"adapter-0", "adapter-1"} in stacks
    models = [s for host in placement.hosts for s in host.stacks if {"model-0", "model-1"} & set(s.names)]
    assert models
    assert all(len(stack.versions) > 1 for stack in models)
    assert not [stack.apart for host in placement.hosts for stack in host.stacks if stack.apart]
    homes = {name: host.host for host in placement.hosts for stack in host.stacks for name in stack.names}
    assert homes["adapter-0"] == homes["still"]
    assert base in Home(home).placement.read_text()
    shown = run("status", "--home", str(home))
    assert "adapter-0, adapter-1" in " ".join(shown.stdout.split())
    document = json.loads(run("status", "--home", str(home), "--json").stdout.splitlines()[-1])
    assert [host["host"] for host in document["placement"]["hosts"]] == ["host-0", "host-1"]
