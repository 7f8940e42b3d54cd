import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ModelRefused, TextError
from models.host import score
from models.host.architectures import KINDS as ARCHITECTURES
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.host.hosted import Hosted, load_hosted
from models.host.score import cut_parts, score_windows
from models.text.align import Scores, align, byte_scores

MULTIBYTE = "naïve café — 漢字かな交じり文, €5 and ½ of 😀😀 é\n"
KINDS = ("bytes", "byte_bpe", "sentence_bpe", "unigram", "word_piece")
TEXTS = [
    MULTIBYTE.encode(),
    b"def wrap(text, width=70):\n    return [line for line in text]\n",
    "漢字かな交じり文 and 😀é€".encode(),
    b"",
    b"a",
    MULTIBYTE.encode()[3:-3],
    ("€uro " * 9).encode()[1:],
    b"the quick brown fox " * 12,
]


@pytest.fixture(scope="module")
def hosted(folders) -> dict[str, Hosted]:
    return {kind: load_hosted(folder) for kind, folder in folders.items()}


def one_by_one(hosted, text, stride) -> Scores:
    """The plain way: each token alone, by the model's own logits, from the context that the rule gives it."""
    reading = hosted.reader.read([text])
    tokens, context = reading.token_C.astype(np.int64), hosted.context_tokens
    values = np.zeros(len(tokens), np.float32)
    for at in range(1, len(tokens)):
        if at <= context:
            first = 0
        else:
            last = min(context + stride * -(-(at - context) // stride), len(tokens) - 1)
            first = last - context
        with torch.inference_mode():
            logits = hosted.model(input_ids=torch.from_numpy(tokens[None, first:at])).logits[0, -1].double()
        values[at] = logits.log_softmax(0)[tokens[at]]
    return reading.scores(values)


def assert_same(found: Scores, expected: Scores, tolerance=1e-4) -> None:
    np.testing.assert_array_equal(found.start_W, expected.start_W)
    np.testing.assert_array_equal(found.cut_C, expected.cut_C)
    np.testing.assert_allclose(found.log_probability_C, expected.log_probability_C, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [None, 64, 7])
def test_scores_are_those_of_every_token_alone(hosted, kind, stride):
    model = hosted[kind]
    for text in TEXTS:
        found = score_windows(model, [text], stride=stride)
        assert_same(found, one_by_one(model, text, min(stride or model.context_tokens // 2, model.context_tokens)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_depend_on_the_rows_beside_it(hosted, kind):
    together = score_windows(hosted[kind], TEXTS)
    for batch_tokens in (1, 40, 4096):
        assert_same(score_windows(hosted[kind], TEXTS, batch_tokens=batch_tokens), together)
    for window, text in enumerate(TEXTS):
        part = slice(together.start_W[window], together.start_W[window + 1])
        alone = score_windows(hosted[kind], [text])
        np.testing.assert_array_equal(alone.cut_C, together.cut_C[part])
        np.testing.assert_allclose(alone.log_probability_C, together.log_probability_C[part], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_cuts_ascend_and_the_first_is_context_alone(hosted, kind):
    scores = score_windows(hosted[kind], TEXTS)
    for window, text in enumerate(TEXTS):
        cuts = scores.cut_C[scores.start_W[window] : scores.start_W[window + 1]]
        assert (np.diff(cuts) > 0).all()
        assert not len(cuts) or (cuts[0] >= 0 and cuts[-1] <= len(text))
    filled = scores.start_W[:-1][np.diff(scores.start_W) > 0]
    assert not scores.log_probability_C[filled].any()


@pytest.mark.parametrize("kind", ["bytes", "byte_bpe"])
@pytest.mark.parametrize("most_bytes", [1, 90, 10_000])
def test_what_is_read_ahead_in_parts_is_scored_as_at_once(hosted, kind, most_bytes, monkeypatch):
    together = score_windows(hosted[kind], TEXTS)
    monkeypatch.setattr(score, "part_bytes", lambda hosted: most_bytes)
    assert_same(score_windows(hosted[kind], TEXTS), together)
    assert len(score_windows(hosted[kind], []).cut_C) == 0


def test_a_text_of_a_later_part_that_is_wrong_is_named(hosted, monkeypatch):
    monkeypatch.setattr(score, "part_bytes", lambda hosted: 1)
    with pytest.raises(TextError, match="window 2 is not UTF-8 at byte 3"):
        score_windows(hosted["byte_bpe"], [b"fine", b"as well", b"not\xff\xff\xff\xffthis"])


@given(lengths=st.lists(st.integers(0, 30), max_size=20), most_bytes=st.integers(1, 50))
def test_parts_hold_every_text_and_no_more_than_they_should(lengths, most_bytes):
    parts = cut_parts(lengths, most_bytes)
    assert [text for first, last in parts for text in range(first, last)] == list(range(len(lengths)))
    assert all(sum(lengths[first : last - 1]) < most_bytes for first, last in parts if last > first)


def test_models_of_unlike_tokenizers_are_valued_on_common_segments(hosted):
    texts = [text for text in TEXTS if len(text) > 40]
    scores = [score_windows(hosted[kind], texts) for kind in KINDS]
    segments = align(scores, texts)
    assert segments.kept == tuple(range(len(KINDS)))
    assert len(segments.bytes_M) * 16 >= sum(map(len, texts))
    for row, own in enumerate(scores):
        for window in range(len(texts)):
            events = segments.window_M == window
            first = segments.offset_M[events].min()
            last = (segments.offset_M + segments.bytes_M)[events].max()
            part = slice(own.start_W[window], own.start_W[window + 1])
            inside = (own.cut_C[part] > first) & (own.cut_C[part] <= last)
            expected = own.log_probability_C[part][inside].astype(np.float64).sum()
            np.testing.assert_allclose(segments.log_probability_NM[row, events].sum(), expected, rtol=1e-9)


def test_equal_tokenizers_give_the_events_of_tokens(folders, tokenizers, tmp_path, save_model_for):
    texts = [b"def wrap(text, width=70):\n    return [line for line in text]\n", b"plain ascii text " * 5]
    save_model_for(tmp_path / "other", "gpt2", tokenizers["byte_bpe"], {"eos_token": "<|endoftext|>"})
    scores = [score_windows(load_hosted(folder), texts) for folder in (folders["byte_bpe"], tmp_path / "other")]
    segments = align(scores, texts)
    first = np.zeros(len(scores[0].cut_C), np.bool_)
    first[scores[0].start_W[:-1]] = True
    expected = np.stack([row.log_probability_C[~first] for row in scores])
    np.testing.assert_array_equal(segments.log_probability_NM, expected.astype(np.float64))


@pytest.mark.parametrize("kind", ["gpt2", "qwen2", "qwen3", "mistral", "gemma2", "opt", "gpt_neox"])
def test_architectures_are_scored_alike(kind, tokenizers, tmp_path, save_model_for):
    fields = {"num_key_value_heads": None} if kind == "gpt_neox" else {}
    save_model_for(tmp_path / kind, kind, tokenizers["byte_bpe"], {"eos_token": "<|endoftext|>"}, **fields)
    model = load_hosted(tmp_path / kind)
    assert model.context_tokens == 32
    for text in TEXTS[:3]:
        assert_same(score_windows(model, [text]), one_by_one(model, text, model.context_tokens // 2))


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_models_of_bytes_say_the_log_softmax_of_what_comes(kind, text_BT, tmp_path):
    model = build_model(Architecture(kind, 16, 2, 2, context=32), 1)
    save_model(model, tmp_path / kind)
    texts = [text.tobytes() for text in text_BT]
    with torch.inference_mode():
        text = torch.from_numpy(text_BT.astype(np.int64))
        logits = model(input_ids=text).logits.double()
    expected = logits.log_softmax(2)[:, :-1].gather(2, text[:, 1:, None])[..., 0].numpy()
    assert_same(score_windows(load_hosted(tmp_path / kind), texts), byte_scores(expected), 1e-5)


def test_nonsense_is_returned_as_it_is(tmp_path):
    model = build_model(Architecture("llama", 16, 1, 2, context=64), 1)
    with torch.no_grad():
        model.lm_head.weight[65] = torch.nan
    save_model(model, tmp_path / "nan")
    scores = score_windows(load_hosted(tmp_path / "nan"), [b"abc"])
    assert np.isnan(scores.log_probability_C[1:]).all()


def test_sharded_weights_load(folders, tokenizers, tmp_path):
    whole = load_hosted(folders["byte_bpe"])
    whole.model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    tokenizers["byte_bpe"].save(str(tmp_path / "shards" / "tokenizer.json"))
    (tmp_path / "shards" / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert_same(score_windows(load_hosted(tmp_path / "shards"), TEXTS), score_windows(whole, TEXTS), 0)


def test_sixteen_bits_are_near(folders):
    exact = score_windows(load_hosted(folders["byte_bpe"]), TEXTS)
    rounded = score_windows(load_hosted(folders["byte_bpe"], dtype=torch.bfloat16), TEXTS)
    assert abs(exact.log_probability_C.sum() / rounded.log_probability_C.sum() - 1) < 0.01


def test_more_ids_than_the_model_knows_are_refused(folders, tokenizers, tmp_path, save_model_for):
    save_model_for(tmp_path / "small", "llama", tokenizers["byte_bpe"], {}, vocab_size=100)
    with pytest.raises(ModelRefused) as refused:
        load_hosted(tmp_path / "small")
    assert refused.value.code == "token_ids"


def test_no_texts_give_no_scores(hosted):
    for model in hosted.values():
        assert score_windows(model, []).start_W.tolist() == [0]
