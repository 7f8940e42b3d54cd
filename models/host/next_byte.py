"""The next byte: what a model expects after a prefix, as a distribution over 256 bytes.

Invariants: the marginal of the model's own next-token distribution, no sampling and no second model; special tokens,
the unknown token and ids without text are left out, and what remains is normalised.

A token model's prefix is tokenised as it stands, so the next token begins where the prefix ends. A tokenizer would
often have cut elsewhere had it seen what follows ("th" before "e" is seldom a token of its own), and the model is then
asked in a place where it was seldom trained: a real cost of being asked for bytes, least at the ends of words, which
byte models do not pay. Where a prefix ends within a character, the tokens that begin with the bytes of that character
are summed, and the ways there through tokens of single bytes.

Shapes: W prefixes, K bytes of an unfinished character, P positions, V tokens in the vocabulary, G models that speak
together.
"""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from models.host.batches import Span, pad, places
from models.host.device import send
from models.host.hosted import Hosted
from models.host.reader import Reader
from models.host.score import over_batches

NO_BYTE = 256
MOST_TAILS = 64
"""Remembered for a vocabulary: to look through 128,000 tokens took 28 ms, and most prefixes have no tail."""
CHUNK_PROBABILITIES = 1 << 22
"""Probabilities of tokens held at once."""


def next_byte(hosted: Hosted, prefixes: Sequence[bytes], *, batch_tokens: int | None = None) -> npt.NDArray[np.float32]:
    """Natural log-probabilities float32 [W, 256] of the byte after each prefix; −inf where no token begins with it.

    Of a prefix longer than the context its last tokens are read; after a prefix without tokens all bytes are alike.
    Raises TextError and ModelRefused as `score_windows` does.
    """
    log_probability_W256: npt.NDArray[np.float32] = next_byte_together(hosted, prefixes, batch_tokens=batch_tokens)[0]
    return log_probability_W256


def next_byte_together(
    hosted: Hosted, prefixes: Sequence[bytes], *, batch_tokens: int | None = None
) -> npt.NDArray[np.float32]:
    """As `next_byte`, float32 [G, W, 256], of each of the models that speak."""
    log_probability_GW256 = np.full((hosted.count, len(prefixes), 256), -np.log(256.0), np.float32)
    beginnings = beginnings_of(hosted.reader)
    begun = [hosted.reader.begin(prefix) for prefix in prefixes]
    for tail in sorted({tail for _, tail in begun}):
        rows = [row for row, (tokens, own) in enumerate(begun) if own == tail and len(tokens)]
        if rows:
            tokens = [begun[row][0] for row in rows]
            log_probability_GW256[:, rows] = after_tail(hosted, beginnings, tokens, tail, batch_tokens)
    return log_probability_GW256


_BEGINNINGS: WeakKeyDictionary[Reader, "Beginnings"] = WeakKeyDictionary()


class Beginnings:
    """What the tokens of a vocabulary begin with."""

    def __init__(self, spelled_V: list[bytes]) -> None:
        self._spelled_V = spelled_V
        self._after: dict[tuple[bytes, torch.device], torch.Tensor] = {}

    def after(self, tail: bytes, device: torch.device) -> torch.Tensor:
        """The byte that stands after `tail` in each token that begins so, int64 [V]; 256 for all others."""
        if (tail, device) not in self._after:
            if len(self._after) >= MOST_TAILS:
                self._after.clear()
            self._after[tail, device] = torch.tensor(self._bytes_after(tail)).to(device)
        return self._after[tail, device]

    def _bytes_after(self, tail: bytes) -> list[int]:
        at = len(tail)
        return [
            spelled[at] if len(spelled) > at and spelled.startswith(tail) else NO_BYTE for spelled in self._spelled_V
        ]

    def path(self, tail: bytes) -> list[int]:
        """The tokens that spell `tail` byte by byte; none where a byte is no token."""
        single = {spelled: number for number, spelled in enumerate(self._spelled_V) if len(spelled) == 1}
        tokens = [single[part] for byte in tail if (part := bytes([byte])) in single]
        return tokens if len(tokens) == len(tail) else []


def beginnings_of(reader: Reader) -> Beginnings:
    """Those of a reader's vocabulary, made once."""
    if reader not in _BEGINNINGS:
        _BEGINNINGS[reader] = Beginnings(reader.spelled())
    return _BEGINNINGS[reader]


def after_tail(
    hosted: Hosted,
    beginnings: Beginnings,
    tokens: list[npt.NDArray[np.int32]],
    tail: bytes,
    batch_tokens: int | None,
) -> npt.NDArray[np.float32]:
    """Natural log-probabilities float32 [G, W, 256] after prefixes of these tokens and the K bytes `tail`."""
    device = hosted.model.device
    path = beginnings.path(tail)
    after = [beginnings.after(tail[step:], device) for step in range(len(path) + 1)]
    kept = [row[-max(1, hosted.context_tokens - len(path)) :] for row in tokens]
    token_C = np.concatenate([np.append(row, np.array(path, np.int32)) for row in kept]).astype(np.int32)
    ends = np.cumsum([len(row) + len(path) for row in kept]).tolist()
    spans = [Span(end - len(row) - len(path), end, end - len(path)) for row, end in zip(kept, ends, strict=True)]
    row_of = {span.last: row for row, span in enumerate(spans)}

    def ask_batch(batch: list[Span]) -> tuple[list[int], torch.Tensor]:
        token_BT = pad(token_C, batch)
        place, _ = places(batch, token_BT.shape[1])
        hidden_GPH = hosted.head.hidden(send(token_BT, device))[:, send(place, device)]
        rows = max(1, CHUNK_PROBABILITIES // hosted.head.vocabulary // len(after) // hosted.count) * len(after)
        parts = [
            marginal(hosted.head.logits(part).flatten(0, 1), after, path).reshape(hosted.count, -1, NO_BYTE)
            for part in torch.split(hidden_GPH, rows, 1)
        ]
        return [row_of[span.last] for span in batch], torch.cat(parts, 1)

    log_probability_GW256 = np.empty((hosted.count, len(tokens), 256), np.float32)
    for rows, values_GW256 in over_batches(hosted, spans, ask_batch, batch_tokens):
        log_probability_GW256[:, rows] = values_GW256.cpu().numpy()
    return log_probability_GW256


def marginal(logits_PV: torch.Tensor, after: list[torch.Tensor], path: list[int]) -> torch.Tensor:
    """Natural log-probabilities [W, 256] of the next byte, from logits at K + 1 positions of each of W rows.

    Step k of a row counts the tokens that begin with what the path's first k bytes have left of the tail.
    """
    probability_WKV = logits_PV.softmax(1).reshape(-1, len(after), logits_PV.shape[1])
    total = torch.zeros(len(probability_WKV), NO_BYTE + 1, device=logits_PV.device)
    reached = torch.ones(len(probability_WKV), 1, device=logits_PV.device)
    for step, byte_V in enumerate(after):
        probability_WV = probability_WKV[:, step, : len(byte_V)]
        total += reached * torch.zeros_like(total).index_add_(1, byte_V, probability_WV)
        if step < len(path):
            reached = reached * probability_WV[:, path[step], None]
    spelled = total[:, :NO_BYTE]
    return (spelled / spelled.sum(1, keepdim=True)).log()
