"""Versions to measure with: each with weights of its own, each hosted as any other."""

from pathlib import Path

import pytest
import torch

from cluster.bench.peers import byte_tokenizer, put_peers
from models.errors import ModelsError
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.host.hosted import load_hosted
from models.host.score import score_windows
from models.store import Store


def test_copies_of_a_folder_differ_and_are_hosted(tmp_path: Path) -> None:
    save_model(build_model(Architecture("llama", hidden=16, layers=1, heads=2), seed=0), tmp_path / "model")
    byte_tokenizer().save(str(tmp_path / "model" / "tokenizer.json"))
    store = Store(tmp_path / "store")
    model = str(tmp_path / "model")
    versions = put_peers(store, model, 3, device="cpu", dtype=torch.float32, aside=tmp_path / "aside")
    assert len(set(versions)) == 3
    text = "every byte is a token: é 漢\n".encode()
    for version in versions:
        scores = score_windows(load_hosted(store.materialize(version)), [text])
        assert scores.cut_C.tolist() == list(range(1, len(text) + 1)), "read byte by byte"
    assert not any((tmp_path / "aside").iterdir())


def test_a_name_that_is_neither_preset_nor_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelsError, match="byte-1m"):
        put_peers(Store(tmp_path / "s"), "gpt-5", 1, device="cpu", dtype=torch.float32, aside=tmp_path)
