"""A version that reads tokens in a network of models of bytes: asked, aligned, valued, and not trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM

from models.errors import ModelRefused
from models.value.audit import audit
from models.value.record import read_evidence

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def token_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random llama that reads a byte-level BPE trained on a module of the standard library."""
    folder = tmp_path_factory.mktemp("tokens")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train([json.__file__], trainer)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model("llama", vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=128, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_tokens_and_bytes_are_valued_together(
    found_network: Callable[..., Any], versions: Any, token_folder: Path
) -> None:
    network = found_network(stakes_tao={"vera": 100}, peers=("ada", "grace", "late"))
    tokens = network.host._store.put_folder(token_folder).hash
    for name, manifest in (("ada", versions[1]["ada"]), ("grace", versions[1]["grace"]), ("late", tokens)):
        network.register(name)
        network.publish(name, manifest)
    finding = network.run_epoch()["vera"]
    found = {neuron.uid: neuron for neuron in finding.neurons}
    assert all(not neuron.failure for neuron in finding.neurons)
    late = found[network.uid("late")]
    assert 4 < late.bits_per_byte < 8, "random weights"
    assert late.admitted, "its tokens alone are news: eight spaces are one of 400 tokens"
    assert found[network.uid("ada")].admitted or found[network.uid("grace")].admitted
    bytes_asked = network.windows * 64
    assert 0.3 * bytes_asked < finding.events < 0.9 * bytes_asked, "events are between cuts that all make"
    assert audit(read_evidence(network.evidence_path(1, "vera"))) == []

    assert network.uid("late") in {row.uid for row in network.keeper.view().rows if row.member}
    network.publish("ada", versions[1]["ada 2"])
    finding = network.run_epoch()["vera"]
    assert all(not neuron.failure for neuron in finding.neurons)
    assert finding.events < 0.9 * bytes_asked, "a member's cuts count"
    assert finding.new_bits > 0
    assert audit(read_evidence(network.evidence_path(2, "vera"))) == []


def test_a_version_that_reads_tokens_is_not_trained_on_bytes(
    found_network: Callable[..., Any], token_folder: Path, make_job_of: Callable[..., Any]
) -> None:
    network = found_network(stakes_tao={"vera": 100})
    shutil.copytree(token_folder, network.folder / "copy")
    tokens = network.host._store.put_folder(network.folder / "copy").hash
    for work in ("train", "copy"):
        with pytest.raises(ModelRefused, match="reads tokens"):
            network.host.work(make_job_of("ada", tokens, work))
