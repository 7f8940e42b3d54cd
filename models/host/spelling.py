"""Spelling: the bytes that each token of a vocabulary stands for, from tokenizer.json alone.

Invariants: what a tokenizer does to a text is found out, not believed: `models.host.reader` compares what the tokens
spell with the text, so a wrong guess here ends as a refusal and never as a wrong cut.

Three families are told apart by what stands before the model: bytes as printable letters (GPT-2), a letter for the
space (SentencePiece's ▁), and text as it is; in each, single bytes may be tokens (`<0x0A>`), and a continuation may be
marked (WordPiece's ##).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

BYTE_TOKEN = re.compile("<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class Spelling:
    """Vocabulary by id, V tokens.

    bytes_V: what each spells, with `space` for the space. literal_V: for tokens with a second reading (## and <0x0A>
    may also stand in the text themselves), that reading. unknown: the id that stands for what the vocabulary lacks.
    special: ids that never spell text of their own accord.
    """

    bytes_V: list[bytes]
    literal_V: dict[int, bytes]
    unknown: int | None
    special: frozenset[int]
    space: bytes

    def plain(self, token: int) -> bytes:
        """What a token spells, with plain spaces; nothing for special tokens and the unknown one."""
        if token in self.special or token == self.unknown:
            return b""
        return self.bytes_V[token].replace(self.space, b" ")


def open_tokenizer(description: dict[str, Any]) -> tuple[Tokenizer, Spelling]:
    """The tokenizer that a tokenizer.json describes, and its spelling. Raises what the library raises where it cannot.

    Truncation and padding are switched off. Special tokens that stand in a text are text: to take them for what they
    name would let a text end or begin in its middle. Unicode composition (NFC) is left out: it changes no composed
    text, and without it decomposed text is spelled as it stands.
    """
    description = description | {"normalizer": without_composition(description.get("normalizer"))}
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer, read_spelling(tokenizer, description)


def without_composition(normalizer: Any) -> Any:
    """A normalizer's description without NFC."""
    if not isinstance(normalizer, dict) or normalizer.get("type") == "NFC":
        return None
    if normalizer.get("type") == "Sequence":
        kept = [step for step in map(without_composition, normalizer["normalizers"]) if step is not None]
        return normalizer | {"normalizers": kept} if kept else None
    return normalizer


def read_spelling(tokenizer: Tokenizer, description: dict[str, Any]) -> Spelling:
    """The bytes of every token of `tokenizer`, whose file says `description`."""
    model = description["model"]
    steps = list(nested([description.get("normalizer"), description.get("pre_tokenizer")]))
    letters = byte_letters() if any(step.get("type") == "ByteLevel" for step in steps) else None
    prefix = model.get("continuing_subword_prefix") or ""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    added = tokenizer.get_added_tokens_decoder()
    bytes_V = [b""] * (1 + max(vocabulary.values(), default=-1))
    literal_V: dict[int, bytes] = {}
    for token, number in vocabulary.items():
        bytes_V[number] = token.encode()
        if number in added:
            continue
        if letters is not None and all(letter in letters for letter in token):
            bytes_V[number] = bytes(letters[letter] for letter in token)
        elif model.get("byte_fallback") and (match := BYTE_TOKEN.fullmatch(token)):
            literal_V[number], bytes_V[number] = token.encode(), bytes.fromhex(match[1])
        elif prefix and token.startswith(prefix):
            literal_V[number], bytes_V[number] = token.encode(), token[len(prefix) :].encode()
    unknown = model.get("unk_id") if model.get("type") == "Unigram" else vocabulary.get(model.get("unk_token") or "")
    special = frozenset(number for number, token in added.items() if token.special)
    return Spelling(bytes_V, literal_V, unknown, special, space_mark(steps))


def nested(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with a type, at any depth."""
    if isinstance(value, dict):
        if "type" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from nested(part)


def space_mark(steps: list[dict[str, Any]]) -> bytes:
    """What stands for the space in tokens."""
    for step in steps:
        if step.get("type") == "Metaspace":
            return str(step["replacement"]).encode()
        if step.get("type") == "Replace" and step.get("pattern") == {"String": " "}:
            return str(step["content"]).encode()
    return b" "


def byte_letters() -> dict[str, int]:
    """The printable letter of each byte in byte-level vocabularies (Radford et al. 2019, `bytes_to_unicode`)."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + rank): byte for rank, byte in enumerate(others)}
