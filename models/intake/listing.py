"""The listing of a submission: names, kinds and sizes of its files, without a look into them.

Invariants: nothing is opened; what passes holds a configuration and weights under the names that transformers reads,
and no file of another kind than those below.
"""

from pathlib import Path

from models.errors import ModelRefused
from models.host.folders import ADAPTER_FILE, ADAPTER_WEIGHTS_FILE, CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE
from models.intake.quotas import Quotas
from models.manifest import list_model_files

WEIGHTS_SUFFIX = ".safetensors"

KINDS = frozenset({WEIGHTS_SUFFIX, ".json", ".txt", ".md", ".jinja", ".model", ".tiktoken"})
"""`.model` and `.tiktoken`: vocabularies as data, which are never opened here."""
PLAIN_NAMES = frozenset({"LICENSE", "LICENCE", "NOTICE", "README", "COPYING"})
MOST_BESIDE_BYTES = 64 << 20
"""Any file but weights: the largest tokenizers have 35 MB."""


def check_listing(folder: Path, quotas: Quotas) -> None:
    """Refuse a folder that cannot be a submission, by its listing alone.

    Raises ModelRefused with a code of `list_model_files`, or `unknown_file`, `files`, `size`, `beside_size`,
    `no_config`, `adapter`, `no_weights` or `adapter_weights`.
    """
    paths = list_model_files(folder)
    if len(paths) > quotas.files:
        raise ModelRefused("files", f"{folder} holds {len(paths)} files, this network takes {quotas.files}: use fewer")
    for path in paths:
        check_kind(path)
    size_bytes = sum(path.stat().st_size for path in paths)
    if size_bytes > quotas.mib << 20:
        raise ModelRefused(
            "size", f"{folder} has {size_bytes:,} bytes, this network takes {quotas.mib << 20:,}: use a smaller model"
        )
    check_parts(folder, {path.name for path in paths})


def check_kind(path: Path) -> None:
    """Refuse a file that no model needs, and one too large for what it is."""
    if path.suffix.lower() not in KINDS and path.name not in PLAIN_NAMES:
        raise ModelRefused(
            "unknown_file", f"{path.name} is none of {', '.join(sorted(KINDS))}: no model needs it, remove it"
        )
    if path.suffix != WEIGHTS_SUFFIX and path.stat().st_size > MOST_BESIDE_BYTES:
        raise ModelRefused(
            "beside_size",
            f"{path.name} has {path.stat().st_size:,} bytes, a file beside the weights at most "
            f"{MOST_BESIDE_BYTES:,}: remove it",
        )


def check_parts(folder: Path, names: set[str]) -> None:
    """Refuse a folder without a configuration or weights, and one that is a model and an adapter at once."""
    if CONFIG_FILE in names and ADAPTER_FILE in names:
        raise ModelRefused(
            "adapter", f"{folder} has {CONFIG_FILE} and {ADAPTER_FILE}: give whole weights, or the adapter alone"
        )
    if ADAPTER_FILE in names:
        if ADAPTER_WEIGHTS_FILE not in names:
            raise ModelRefused("adapter_weights", f"{folder} has no {ADAPTER_WEIGHTS_FILE}: save as safetensors")
        return
    if CONFIG_FILE not in names:
        raise ModelRefused("no_config", f"{folder} has no {CONFIG_FILE}: give a folder in the Hugging Face layout")
    if not names & {WEIGHTS_FILE, INDEX_FILE}:
        raise ModelRefused(
            "no_weights", f"{folder} has neither {WEIGHTS_FILE} nor {INDEX_FILE}: save the weights with safetensors"
        )
