import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from models.errors import ModelRefused, TextError
from models.host.hosted import open_reader
from models.host.reader import PROBE, ByteReader, Reading, TokenReader, whole_characters
from models.host.spelling import byte_letters, open_tokenizer

KINDS = ("byte_bpe", "sentence_bpe", "unigram", "word_piece")
TEXTS = [
    PROBE,
    "",
    "a",
    " ",
    "  two  spaces ",
    "漢字かな",
    "😀é€ ▁ marks ▁▁ and <0x0A> and ## ### ##s",
    "def f(x):\n\treturn x**2  # ¼\n",
    "cafe\u0301",
]


@pytest.fixture(scope="module")
def readers(tokenizers):
    return {
        kind: TokenReader(*open_tokenizer(json.loads(tokenizer.to_str())), None)
        for kind, tokenizer in tokenizers.items()
    }


def check(reader, text):
    """The tokens' ends ascend to the end of the text, whatever the text."""
    reading = reader.read([text])
    begin, end = whole_characters(text)
    assert (np.diff(reading.end_C) >= 0).all()
    if end > begin:
        assert reading.end_C[-1] == end
        assert reading.end_C[0] >= begin
    return reading


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_spell_every_text(readers, kind, text):
    check(readers[kind], text.encode())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(text=st.text("aA #<0x>é€漢😀▁\n\t\u0301", max_size=30), cut=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_tokens_spell_whatever_comes(readers, kind, text, cut):
    data = text.encode()
    check(readers[kind], data[cut[0] : len(data) - cut[1]])


def test_ends_are_the_offsets_of_the_library(readers, tokenizers):
    text = "def naive(x):\n    return 'plain ascii text, with words'"
    for kind in KINDS:
        expected = [last for _, last in tokenizers[kind].encode(text, add_special_tokens=False).offsets]
        # The library counts the space before the text as the first letter's.
        assert readers[kind].read([text.encode()]).end_C.tolist()[1:] == expected[1:]


def test_a_token_may_end_within_a_character(readers):
    for kind in ("byte_bpe", "sentence_bpe"):
        ends = readers[kind].read(["鬱".encode()]).end_C
        assert 1 in ends or 2 in ends


def test_a_space_that_the_tokenizer_puts_before_the_text_is_no_byte_of_it(readers):
    reading = readers["sentence_bpe"].read([b"x", b" x"])
    assert reading.end_C[: reading.start_W[1]][-1] == 1
    assert reading.end_C[-1] == 2


def test_an_unknown_token_costs_what_it_stands_for(readers, tokenizers):
    text = "a ☃☃ b"
    reading = readers["word_piece"].read([text.encode()])
    unknown = tokenizers["word_piece"].token_to_id("[UNK]")
    at = reading.token_C.tolist().index(unknown)
    assert reading.end_C.tolist()[at] == 2 + 6
    np.testing.assert_allclose(reading.extra_C[at], -7 * np.log(257), rtol=1e-6)
    assert np.count_nonzero(reading.extra_C) == 1


def test_a_window_within_characters_is_read_from_its_first_whole_one_to_its_last(readers):
    data = "€ab€".encode()
    assert whole_characters(data[1:-1]) == (2, 4)
    assert whole_characters(b"\x82\xac") == (2, 2)
    assert whole_characters(b"") == (0, 0)
    assert whole_characters("é".encode()[:1]) == (0, 0)
    for kind in KINDS:
        reading = readers[kind].read([data[1:-1]])
        assert reading.end_C[-1] == 4
    assert ByteReader().read([data[1:-1]]).end_C.tolist() == list(range(1, 7))


def test_text_that_is_no_utf8_is_an_error(readers):
    with pytest.raises(TextError, match="window 1 is not UTF-8 at byte 2"):
        readers["byte_bpe"].read([b"fine", b"ab\xff\xffcd"])


def refuse(tokenizer):
    with pytest.raises(ModelRefused) as refused:
        TokenReader(*open_tokenizer(json.loads(tokenizer.to_str())), None)
    assert refused.value.code == "lossy_tokenizer"
    return refused.value.sentence


@pytest.mark.parametrize(
    "normalizer",
    [normalizers.Lowercase(), normalizers.NFKC(), normalizers.StripAccents(), normalizers.BertNormalizer()],
)
def test_a_tokenizer_that_changes_the_text_is_refused(tokenizers, normalizer):
    for kind in ("byte_bpe", "unigram"):
        tokenizer = Tokenizer.from_str(tokenizers[kind].to_str())
        tokenizer.normalizer = (
            normalizers.Sequence([normalizers.NFD(), normalizer])
            if isinstance(normalizer, normalizers.StripAccents)
            else normalizer
        )
        assert "its tokens spell" in refuse(tokenizer)


def test_a_tokenizer_that_drops_white_space_is_refused(tokenizers):
    tokenizer = Tokenizer.from_str(tokenizers["word_piece"].to_str())
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    refuse(tokenizer)


def test_the_first_place_that_differs_is_named(tokenizers):
    tokenizer = Tokenizer.from_str(tokenizers["byte_bpe"].to_str())
    tokenizer.normalizer = normalizers.Replace("another", "one more")
    assert "another" in refuse(tokenizer)
    assert "one more" in refuse(tokenizer)


def test_composition_is_left_out_so_decomposed_text_is_spelled(tokenizers, readers):
    tokenizer = Tokenizer.from_str(tokenizers["byte_bpe"].to_str())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC()])
    reader = TokenReader(*open_tokenizer(json.loads(tokenizer.to_str())), None)
    for text in ("cafe\u0301", "café"):
        np.testing.assert_array_equal(
            reader.read([text.encode()]).token_C, readers["byte_bpe"].read([text.encode()]).token_C
        )
    check(reader, "cafe\u0301".encode())


def test_truncation_and_padding_in_the_file_are_switched_off(tokenizers, readers):
    tokenizer = Tokenizer.from_str(tokenizers["byte_bpe"].to_str())
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=16)
    reader = TokenReader(*open_tokenizer(json.loads(tokenizer.to_str())), None)
    text = b"one two three four five six"
    np.testing.assert_array_equal(reader.read([text, b"x"]).token_C, readers["byte_bpe"].read([text, b"x"]).token_C)


def test_special_tokens_in_a_text_are_text(readers, tokenizers):
    end = tokenizers["byte_bpe"].token_to_id("<|endoftext|>")
    assert end not in readers["byte_bpe"].read([b"a<|endoftext|>b"]).token_C
    check(readers["byte_bpe"], b"a<|endoftext|>b")
    check(readers["sentence_bpe"], b"a <s> b</s>")


def test_byte_letters_are_those_of_the_library():
    assert sorted(byte_letters()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert byte_letters()["Ġ"] == 0x20


def write(folder, tokenizer, **files):
    folder.mkdir()
    (folder / "tokenizer.json").write_text(tokenizer.to_str() if isinstance(tokenizer, Tokenizer) else tokenizer)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_the_context_token_is_the_beginning_else_the_end_else_none(tmp_path, tokenizers):
    tokenizer, bpe = tokenizers["sentence_bpe"], tokenizers["byte_bpe"]
    size = tokenizer.get_vocab_size()

    def first(folder, config, vocabulary=size):
        return open_reader(folder, config, vocabulary).read([b"xyz"]).token_C[0]

    both = write(tmp_path / "both", tokenizer, tokenizer_config={"bos_token": {"content": "<s>"}, "eos_token": "</s>"})
    assert first(both, {"bos_token_id": 2}) == tokenizer.token_to_id("<s>")
    end = write(tmp_path / "end", tokenizer, tokenizer_config={"bos_token": None, "eos_token": "</s>"})
    assert first(end, {"bos_token_id": 1}) == tokenizer.token_to_id("</s>")
    ids = write(tmp_path / "ids", bpe)
    assert first(ids, {"bos_token_id": None, "eos_token_id": [0, 5]}) == 0
    assert first(ids, {}) == bpe.encode("xyz").ids[0]
    assert first(ids, {"bos_token_id": 10**6}) == bpe.encode("xyz").ids[0]


def test_a_folder_whose_tokenizer_cannot_be_is_refused(tmp_path, tokenizers):
    drops = Tokenizer.from_str(tokenizers["word_piece"].to_str())
    drops.pre_tokenizer = pre_tokenizers.Whitespace()
    cases = [
        ("tokenizer", write(tmp_path / "text", "{")),
        ("tokenizer", write(tmp_path / "empty", "{}")),
        ("tokenizer", write(tmp_path / "lacking", Tokenizer(models.WordLevel({"a": 0}, unk_token="b")))),
        ("lossy_tokenizer", write(tmp_path / "drops", drops)),
        ("token_ids", write(tmp_path / "large", tokenizers["byte_bpe"])),
    ]
    for code, folder in cases:
        with pytest.raises(ModelRefused) as refused:
            open_reader(folder, {}, 599 if code == "token_ids" else 1000)
        assert refused.value.code == code


def test_without_a_tokenizer_bytes_are_read(tmp_path):
    reading = open_reader(tmp_path, {}, 256).read([b"ab", b"", "é".encode()])
    assert reading.token_C.tolist() == [97, 98, 0xC3, 0xA9]
    assert reading.end_C.tolist() == [1, 2, 1, 2]
    assert reading.start_W.tolist() == [0, 2, 2, 4]


def test_tokens_without_bytes_count_with_the_next_and_at_the_end_with_the_last():
    reading = Reading(
        np.zeros(8, np.int32),
        np.array([0, 0, 3, 3, 0, 1, 2, 2], np.int32),
        np.array([0, 4, 4, 8]),
        np.array([0, 0, -0.5, 0, 0, 0, 0, 0], np.float32),
    )
    scores = reading.scores(np.array([-9, -1, -2, -4, -9, -1, -1, -8], np.float32))
    assert scores.cut_C.tolist() == [0, 3, 0, 1, 2]
    assert scores.start_W.tolist() == [0, 2, 2, 5]
    assert scores.log_probability_C.tolist() == [0, -7.5, 0, -1, -9]
