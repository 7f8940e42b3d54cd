"""A hosted model: weights, the reader of its text, and how its output is computed, from one folder.

Invariants: a folder or an adapter is only ever read as JSON and safetensors; what is loaded can be scored on any text.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.errors import ModelRefused
from models.host.adapters import base_folder, is_adapter, merge_adapter
from models.host.folders import TOKENIZER_FILE, has_tokenizer, load_model, read_config, read_object
from models.host.head import Head, find_head
from models.host.reader import ByteReader, Reader, TokenReader, guarded
from models.host.spelling import open_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
UNBOUNDED_TOKENS = 2048
"""Context of a model whose configuration names none (lm-evaluation-harness takes the same)."""


@dataclass
class Hosted:
    """A model that can be scored.

    parameters: how many numbers it has, tied ones once. context_tokens: how many tokens it reads at once. head: how
    logits come from its last layer. batch_tokens: what a batch holds on this device, where that was found out.
    """

    model: "PreTrainedModel"
    reader: Reader
    parameters: int
    context_tokens: int
    head: Head
    batch_tokens: int | None = None


def load_hosted(
    folder: Path, device: str = "cpu", dtype: torch.dtype | None = None, *, base: Path | None = None
) -> Hosted:
    """The model of a folder in Hugging Face layout, or of a LoRA adapter's folder, in eval mode on `device`.

    `dtype`: of the weights; None: float32 on a CPU, bfloat16 elsewhere. `base`: the folder of an adapter's base, where
    it is not the one that the adapter names. Raises ModelRefused with a code of `load_model`, `merge_adapter` or
    `open_reader`.
    """
    dtype = dtype or (torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16)
    root = folder
    if is_adapter(folder):
        root = base or base_folder(folder)
    model = load_model(root, device, dtype)
    if root != folder:
        merge_adapter(model, folder)
    config = model.config.get_text_config()
    return Hosted(
        model=model,
        reader=open_reader(root, read_config(root), int(config.vocab_size)),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        context_tokens=context_tokens(config),
        head=find_head(model),
    )


def context_tokens(config: Any) -> int:
    """How many tokens a model reads at once, as its configuration says."""
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        number = getattr(config, name, None)
        if isinstance(number, int) and number > 1:
            return number
    return UNBOUNDED_TOKENS


def open_reader(folder: Path, config: dict[str, Any], vocabulary: int) -> Reader:
    """The reader of a model folder: of its tokenizer, or of bytes where it has none.

    `vocabulary`: how many tokens the model knows. Raises ModelRefused with code `tokenizer`, `lossy_tokenizer` or
    `vocabulary`.
    """
    if not has_tokenizer(folder):
        return ByteReader()
    path = folder / TOKENIZER_FILE
    described = read_object(path)
    try:
        tokenizer, spelling = guarded(lambda: open_tokenizer(described))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelRefused("tokenizer", f"{path} is not a tokenizer's file ({error!r})") from None
    if len(spelling.bytes_V) > vocabulary:
        raise ModelRefused(
            "vocabulary",
            f"{path} has ids up to {len(spelling.bytes_V) - 1}, the model knows {vocabulary} tokens: give its own",
        )
    return TokenReader(tokenizer, spelling, context_token(folder, config, tokenizer))


def context_token(folder: Path, config: dict[str, Any], tokenizer: "Tokenizer") -> int | None:
    """The id of the tokenizer's token for the beginning of a text, else for its end; else as config.json names them."""
    path = folder / TOKENIZER_CONFIG_FILE
    described = read_object(path) if path.exists() else {}
    for name in ("bos_token", "eos_token"):
        token = described.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        number = tokenizer.token_to_id(token) if isinstance(token, str) else None
        if number is not None:
            return int(number)
    for name in ("bos_token_id", "eos_token_id"):
        number = config.get(name)
        number = number[0] if isinstance(number, list) and number else number
        if isinstance(number, int) and number >= 0 and tokenizer.id_to_token(number) is not None:
            return number
    return None
