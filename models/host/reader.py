"""Readers: text becomes tokens whose bytes are known, one after another.

Invariants: a window's tokens spell the window's bytes, after at most one space that a tokenizer puts before a text; a
tokenizer whose tokens spell anything else is refused with the first place where they differ. The first token of a
window is context only.

A tokenizer adds no special tokens here. Before each window stands the tokenizer's token for the beginning of a text,
else that for its end, else none: then prediction begins with the second token (the rule of lm-evaluation-harness, which
always has one). A window may begin or end within a character: tokenizers read its whole characters, bytes are all read.

Shapes: W windows, C tokens of all of them, V tokens in the vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from models.errors import ModelRefused, TextError
from models.host.spelling import Spelling
from models.text.align import Scores, ends_within

Result = TypeVar("Result")

PROBE = "  A line, then\n\tanother  one:\r\nÉé ñ Straße 漢字 ﬁ ² 😀 0123456789.\n"
"""Whatever tokenizers are known to change: spaces, lines, capitals, accents, compatible forms, rare characters."""
BATCH_TEXTS = 512
"""Texts given to the tokenizer at once: enough for its threads, and few encodings in memory."""
UNKNOWN_BYTE = -float(np.log(257.0))
"""Natural log-probability of each byte, and of their end, of what an unknown token stands for."""


@dataclass(frozen=True)
class Reading:
    """W windows as tokens, windows end to end.

    token_C: int32. end_C: int32, the byte offset at which each ends. start_W: int64 [W+1]. extra_C: float32, what is
    added to a token's log-probability (for unknown ones, what they stand for).
    """

    token_C: npt.NDArray[np.int32]
    end_C: npt.NDArray[np.int32]
    start_W: npt.NDArray[np.int64]
    extra_C: npt.NDArray[np.float32]

    def scores(self, log_probability_C: npt.NDArray[np.float32]) -> Scores:
        """Scores from each token's log-probability, which is ignored at a window's first.

        Tokens that end where the one before them did are counted with the next, or at a window's end with the last.
        """
        value_C = log_probability_C.astype(np.float64) + self.extra_C
        first_C = np.zeros(len(self.token_C), np.bool_)
        filled_W = np.diff(self.start_W) > 0
        first_C[self.start_W[:-1][filled_W]] = True
        value_C[first_C] = 0.0
        advances_C = first_C.copy()
        advances_C[1:] |= np.diff(self.end_C) != 0
        cuts = np.flatnonzero(advances_C)
        last_W = np.searchsorted(cuts, self.start_W[1:][filled_W]) - 1
        # A sum ends with the token that makes its cut; a window's last takes what follows it too.
        begin_C = np.concatenate([[0], cuts[:-1] + 1]) if len(cuts) else cuts
        begin_C[1 + last_W[:-1]] = self.start_W[1:][filled_W][:-1]
        sums = np.add.reduceat(value_C, begin_C) if len(cuts) else value_C
        cut_W = np.searchsorted(cuts, self.start_W)
        return Scores(self.end_C[cuts], cut_W.astype(np.int64), sums.astype(np.float32))


class Reader(Protocol):
    """Text to tokens, and tokens to the bytes they spell."""

    def read(self, texts: Sequence[bytes], before: int = 0) -> Reading:
        """Every window as tokens. `before`: how many came before them, for what is said of one."""
        ...

    def begin(self, text: bytes) -> tuple[npt.NDArray[np.int32], bytes]:
        """The tokens of a text that goes on, and the bytes of its last, unfinished character, which are in none."""
        ...

    def spelled(self) -> list[bytes]:
        """What each token spells, by id; empty for those that stand for no text."""
        ...


class ByteReader:
    """A vocabulary of the 256 bytes: the first byte of a window is its context."""

    def read(self, texts: Sequence[bytes], before: int = 0) -> Reading:
        """Every byte a token."""
        length_W = np.array([len(text) for text in texts], np.int64)
        start_W = np.concatenate([[0], np.cumsum(length_W)])
        end_C = np.arange(1, start_W[-1] + 1) - np.repeat(start_W[:-1], length_W)
        token_C = np.frombuffer(b"".join(texts), np.uint8).astype(np.int32)
        return Reading(token_C, end_C.astype(np.int32), start_W, np.zeros(len(token_C), np.float32))

    def begin(self, text: bytes) -> tuple[npt.NDArray[np.int32], bytes]:
        """Every byte a token."""
        return np.frombuffer(text, np.uint8).astype(np.int32), b""

    def spelled(self) -> list[bytes]:
        """The 256 bytes."""
        return [bytes([byte]) for byte in range(256)]


class Piece(NamedTuple):
    """One window as a tokenizer reads it: tokens, the offset at which each ends, and what is added to each."""

    tokens: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int64]
    extra: npt.NDArray[np.float32]


class TokenReader:
    """A tokenizer and its spelling, of `open_tokenizer`. `context`: the token before each window, or None.

    An unknown token stands for n bytes: it costs what the model says of it, and the n bytes and their end are then told
    one by one, each with probability 1/257. So probabilities of texts still sum to at most one.

    Raises ModelRefused with code `lossy_tokenizer` where the tokens do not spell a probe.
    """

    def __init__(self, tokenizer: Tokenizer, spelling: Spelling, context: int | None) -> None:
        self._tokenizer = tokenizer
        self._spelling = spelling
        self._context = context
        self._length_V = np.array([len(spelled) for spelled in self._spelling.bytes_V], np.int64)
        self.read([PROBE.encode()])

    @property
    def tokens(self) -> int:
        """One more than the largest id."""
        return len(self._length_V)

    def read(self, texts: Sequence[bytes], before: int = 0) -> Reading:
        """Every window as tokens. Raises TextError where one is not UTF-8, ModelRefused `lossy_tokenizer`."""
        pieces = [piece for first in range(0, len(texts), BATCH_TEXTS) for piece in self._read(texts, first, before)]
        start_W = np.concatenate([[0], np.cumsum([len(piece.tokens) for piece in pieces], dtype=np.int64)])
        if not pieces:
            return Reading(np.zeros(0, np.int32), np.zeros(0, np.int32), start_W, np.zeros(0, np.float32))
        token_C, end_C, extra_C = (np.concatenate(column) for column in zip(*pieces, strict=True))
        return Reading(token_C, end_C.astype(np.int32), start_W, extra_C)

    def begin(self, text: bytes) -> tuple[npt.NDArray[np.int32], bytes]:
        """The tokens of the whole characters of `text`, and the bytes after them."""
        first, last = whole_characters(text)
        return self.read([text[:last]]).token_C, text[last:] if first <= last else b""

    def spelled(self) -> list[bytes]:
        """What each token spells, by id."""
        return [self._spelling.plain(token) for token in range(self.tokens)]

    def _read(self, texts: Sequence[bytes], first: int, before: int) -> Iterator[Piece]:
        bounds = [whole_characters(text) for text in texts[first : first + BATCH_TEXTS]]
        whole = [text[begin:end] for text, (begin, end) in zip(texts[first:], bounds, strict=False)]
        decoded = [decode(text, before + first + index) for index, text in enumerate(whole)]
        encodings = guarded(lambda: self._tokenizer.encode_batch_fast(decoded, add_special_tokens=False))
        for text, string, (begin, _), encoding in zip(whole, decoded, bounds, encodings, strict=True):
            yield self._place(self._spell(text, string, encoding.ids), begin)

    def _place(self, piece: Piece, begin: int) -> Piece:
        """The window's piece, from that of its whole characters, which begin at byte `begin`."""
        if self._context is None:
            return Piece(piece.tokens, piece.ends + begin, piece.extra)
        return Piece(
            np.concatenate([np.array([self._context], np.int32), piece.tokens]),
            np.concatenate([[begin], piece.ends + begin]),
            np.concatenate([np.zeros(1, np.float32), piece.extra]),
        )

    def _spell(self, text: bytes, string: str, ids: list[int]) -> Piece:
        """The tokens of a text with the offsets at which they end, where they spell it."""
        spelling = self._spelling
        marked = text.replace(b" ", spelling.space)
        tokens, extra = np.array(ids, np.int32), np.zeros(len(ids), np.float32)
        parts = [spelling.bytes_V[token] for token in ids]
        lengths = self._length_V[tokens]
        spelled = b"".join(parts)
        if spelling.unknown in ids or not spells(spelled, marked, spelling.space):
            parts, extra = self._resolve(string, tokens)
            lengths, spelled = np.array([len(part) for part in parts], np.int64), b"".join(parts)
            if not spells(spelled, marked, spelling.space):
                raise differs(spelled, marked, spelling)
        ends = np.cumsum(lengths) - (len(spelled) - len(marked))
        return Piece(tokens, unmarked(ends, text, spelling.space), extra)

    def _resolve(self, string: str, tokens: npt.NDArray[np.int32]) -> tuple[list[bytes], npt.NDArray[np.float32]]:
        """What tokens with two readings spell here, by the offsets that the tokenizer gives, and unknown ones cost."""
        spelling = self._spelling
        encoding = guarded(lambda: self._tokenizer.encode(string, add_special_tokens=False))
        parts, extra = [], np.zeros(len(tokens), np.float32)
        for index, (token, (first, last)) in enumerate(zip(encoding.ids, encoding.offsets, strict=True)):
            here = string[first:last].encode()
            if token == spelling.unknown:
                extra[index] = (len(here) + 1) * UNKNOWN_BYTE
                parts.append(here.replace(b" ", spelling.space))
            else:
                literal = spelling.literal_V.get(token)
                parts.append(literal if literal is not None and literal == here else spelling.bytes_V[token])
        return parts, extra


def spells(spelled: bytes, marked: bytes, space: bytes) -> bool:
    """Whether tokens spell a text, after at most one space that the tokenizer put before it."""
    return spelled == marked or spelled == space + marked


def unmarked(ends: npt.NDArray[np.int64], text: bytes, space: bytes) -> npt.NDArray[np.int64]:
    """How many bytes of `text` are over at each of these offsets into it, which count a space as `space`."""
    if len(space) == 1:
        return np.maximum(ends, 0)
    over = np.cumsum(np.where(np.frombuffer(text, np.uint8) == 0x20, len(space), 1))
    return np.searchsorted(over, ends, side="right").astype(np.int64)


def whole_characters(text: bytes) -> tuple[int, int]:
    """Where the first whole character of a slice of UTF-8 begins, and the last ends."""
    begin = next((index for index, byte in enumerate(text[:3]) if byte & 0xC0 != 0x80), min(3, len(text)))
    end = len(text)
    while end > begin and ends_within(text[:end] if end < 4 else text[end - 4 : end]):
        end -= 1
    return begin, end


def decode(text: bytes, window: int) -> str:
    """The characters of a window. Raises TextError where it is not UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise TextError("text", f"window {window} is not UTF-8 at byte {error.start}: tokenizers read UTF-8") from None


def differs(spelled: bytes, marked: bytes, spelling: Spelling) -> ModelRefused:
    """The refusal of a tokenizer whose tokens spell another text, with the first place."""
    if spelled.startswith(spelling.space) and not marked.startswith(spelling.space):
        spelled = spelled[len(spelling.space) :]
    place = next((at for at, (a, b) in enumerate(zip(spelled, marked, strict=False)) if a != b), -1)
    place = min(len(spelled), len(marked)) if place < 0 else place
    here, there = (
        part[max(0, place - 8) : place + 8].replace(spelling.space, b" ").decode(errors="replace")
        for part in (marked, spelled)
    )
    return ModelRefused(
        "lossy_tokenizer",
        f"where the text has {here!r} its tokens spell {there!r}: a tokenizer that changes the text has no exact "
        "probabilities, use one without normalisation that keeps white space",
    )


def guarded(call: Callable[[], Result]) -> Result:
    """What `call` returns. Whatever the tokenizers library raises becomes ModelRefused with code `tokenizer`."""
    try:
        return call()
    except BaseException as error:
        # The library raises a bare Exception for what is wrong in a file, and panics, which are no Exception.
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        first_line = str(error).strip().partition("\n")[0]
        raise ModelRefused("tokenizer", f"the tokenizer does not work ({first_line}): check tokenizer.json") from None
