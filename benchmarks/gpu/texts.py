"""What the scripts read: the standard library's own text, a byte a token or by a tokenizer trained on it.

Invariants: text, never random tokens, wherever what is said of it is compared; no download.

Shapes: C tokens of all windows, W windows.
"""

import json
import sysconfig
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from models.host.batches import Span, cut_spans
from models.host.hosted import Hosted
from models.host.reader import TokenReader
from models.host.spelling import open_tokenizer

Tokens = npt.NDArray[np.int32]
END = "<|endoftext|>"


def library_bytes(count: int) -> bytes:
    """So many bytes of the standard library's modules, by name, from the first again where they are not enough."""
    content = b"".join(path.read_bytes() for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")))
    return (content * (count // len(content) + 1))[:count]


def byte_windows(lengths: list[int]) -> tuple[Tokens, list[Span]]:
    """Windows in which so many bytes are read, and as many told: all tokens int32 [C], and a span for each window."""
    start_W = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64) + 1)])
    token_C = np.frombuffer(library_bytes(int(start_W[-1])), np.uint8).astype(np.int32)
    return token_C, cut_spans(start_W, max(lengths), max(lengths))


def byte_pages(pages: int, page_bytes: int) -> npt.NDArray[np.uint8]:
    """Pages to train on, uint8 [P, T]."""
    return np.frombuffer(library_bytes(pages * page_bytes), np.uint8).reshape(pages, page_bytes)


def train_tokenizer(vocabulary: int, text_bytes: int) -> Tokenizer:
    """A byte-level BPE of so much of the standard library, with END as its one special token, id 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(library_bytes(text_bytes).decode("utf-8", "ignore").splitlines(True), trainer)
    return tokenizer


def with_tokenizer(hosted: Hosted, tokenizer: Tokenizer) -> None:
    """The model reads text by the tokenizer, as a stored version with that tokenizer.json does."""
    opened, spelling = open_tokenizer(json.loads(tokenizer.to_str()))
    hosted.reader = TokenReader(opened, spelling, tokenizer.token_to_id(END))
