"""Versions to measure with: peers of one shape with weights of their own, in a network's store.

Invariants: every peer's weights are its own, so none is another's copy and a stack has as much to read as real ones; a
preset that has more tokens than bytes reads text through a tokenizer of the 256 bytes.
"""

import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from models.bench.presets import PRESETS, build_preset
from models.host.architectures import VOCABULARY
from models.host.folders import CONFIG_FILE, TOKENIZER_FILE, load_model, save_model
from models.store import Store

NOISE = 1e-3
"""Of the copies of one folder, in standard deviations of each tensor."""


def put_peers(store: Store, model: str, count: int, *, device: str, dtype: torch.dtype, aside: Path) -> list[bytes]:
    """Store `count` versions of a preset, or of a model's folder with a little noise on all but the first.

    Args:
        aside: a folder in which each is written before it is stored; nothing is left in it.

    Returns:
        their manifests.

    Raises:
        ModelsError: there is neither such a preset nor such a folder, or it cannot be hosted.
    """
    manifests = []
    for index in range(count):
        folder = aside / f"version-{index}"
        if model not in PRESETS and Path(model).is_dir():
            _write_copy(Path(model), index, device, dtype, folder)
        else:
            save_model(build_preset(model, torch.device(device), dtype, seed=index), folder)
            if PRESETS[model].fields["vocab_size"] != VOCABULARY:
                byte_tokenizer().save(str(folder / TOKENIZER_FILE))
        manifests.append(store.put_folder(folder).hash)
        shutil.rmtree(folder)
    return manifests


def byte_tokenizer() -> Tokenizer:
    """A tokenizer whose tokens are the 256 bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _write_copy(source: Path, index: int, device: str, dtype: torch.dtype, folder: Path) -> None:
    """The folder's model as `dtype`, with noise of its own where `index` is not 0, and the tokenizer's files."""
    model = load_model(source, device, dtype)
    generator = torch.Generator(device).manual_seed(index)
    with torch.no_grad():
        for tensor in model.parameters() if index else ():
            noise = torch.randn(tensor.shape, generator=generator, device=device, dtype=dtype)
            tensor.add_(noise, alpha=NOISE * float(tensor.float().std(unbiased=False)))
    save_model(model, folder)
    for path in source.iterdir():
        if "token" in path.name and path.name != CONFIG_FILE and path.is_file():
            shutil.copy(path, folder / path.name)
