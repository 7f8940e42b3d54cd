"""A hosted model: weights, the reader of its text, and how its output is computed, from one folder.

Invariants: a folder or an adapter is only ever read as JSON and safetensors; what is loaded can be scored on any text.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.errors import ModelRefused
from models.faults import memory_of
from models.host.adapters import Adapter, base_folder, read_adapter
from models.host.folders import TOKENIZER_FILE, has_tokenizer, is_adapter, load_model, read_config, read_object
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
    """One model that can be scored, or several of one shape that are scored together.

    parameters: how many numbers a model has, tied ones once, its adapter's among them. context_tokens: how many tokens
    it reads at once. head: how logits come from its last layer, and of how many models. adapter: what speaks over the
    model, where it is a base. batch_tokens: what a batch holds on this device, where that was found out. note: what a
    person should know of it: that memory was full. members: each of several models by itself.
    """

    model: "PreTrainedModel"
    reader: Reader
    parameters: int
    context_tokens: int
    head: Head
    adapter: Adapter | None = None
    batch_tokens: int | None = None
    note: str = ""
    members: tuple["Hosted", ...] = ()

    @property
    def count(self) -> int:
        """How many models speak."""
        return self.head.count

    @property
    def most_tokens(self) -> int:
        """How many tokens a batch may have at most, whatever is asked for."""
        limit = self.batch_tokens if self.note else None
        return self.head.most_tokens if limit is None else min(limit, self.head.most_tokens)

    def limit_batch(self, tokens: int) -> None:
        """From now on a batch has at most so many tokens, for memory is full."""
        self.batch_tokens = tokens
        self.note = f"batches of at most {tokens:,} tokens: {memory_of(self.model.device.type)} is full"

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """What is asked of the model until the end is answered by it with its adapter, where it has one."""
        if self.adapter is None:
            yield
        else:
            with self.adapter.applied(self.model):
                yield


def load_hosted(
    folder: Path, device: str = "cpu", dtype: torch.dtype | None = None, *, base: Path | None = None
) -> Hosted:
    """The model of a folder in Hugging Face layout, or of a LoRA adapter's folder, in eval mode on `device`.

    `dtype`: of the weights; None: float32 on a CPU, bfloat16 elsewhere. `base`: the folder of an adapter's base, where
    it is not the one that the adapter names. Raises ModelRefused with a code of `load_model`, `adapt` or `open_reader`.
    """
    dtype = dtype or (torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16)
    if is_adapter(folder):
        return adapt(load_hosted(base or base_folder(folder), device, dtype), folder)
    model = load_model(folder, device, dtype)
    return host_model(model, open_reader(folder, read_config(folder), int(model.config.get_text_config().vocab_size)))


def host_model(model: "PreTrainedModel", reader: Reader) -> Hosted:
    """A model in memory as one that can be scored."""
    return Hosted(
        model=model,
        reader=reader,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        context_tokens=context_tokens(model.config.get_text_config()),
        head=find_head(model),
    )


def adapt(base: Hosted, folder: Path) -> Hosted:
    """A loaded base with an adapter over it: the base's copy in memory is shared, and answers without it as before.

    Raises ModelRefused with a code of `read_adapter`.
    """
    adapter = read_adapter(base.model, folder)
    return replace(base, adapter=adapter, parameters=base.parameters + adapter.parameters)


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
    `token_ids`.
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
            "token_ids",
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
