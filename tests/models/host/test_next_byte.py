import numpy as np
import pytest
import torch

from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.host.hosted import Hosted, load_hosted
from models.host.next_byte import next_byte

KINDS = ("byte_bpe", "sentence_bpe", "unigram", "word_piece")
PREFIXES = [b"def wrap", "naïve caf".encode(), "漢字".encode(), b"a", b" ", b"the quick brown fox " * 9]


@pytest.fixture(scope="module")
def hosted(folders) -> dict[str, Hosted]:
    return {kind: load_hosted(folder) for kind, folder in folders.items()}


def logits_after(model, tokens):
    with torch.inference_mode():
        tokens = torch.tensor([np.asarray(tokens, np.int64)[-model.context_tokens :].tolist()])
        return model.model(input_ids=tokens).logits[0, -1].double().softmax(0).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_sum_over_the_tokens_that_begin_with_the_byte(hosted, kind):
    model = hosted[kind]
    spelled = model.reader.spelled()
    found = next_byte(model, PREFIXES)
    for row, prefix in enumerate(PREFIXES):
        probability = logits_after(model, model.reader.read([prefix]).token_C)
        expected = np.zeros(256)
        for token, text in enumerate(spelled):
            if text:
                expected[text[0]] += probability[token]
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(found[row], np.log(expected / expected.sum()), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_special_and_unknown_tokens_are_left_out(hosted, tokenizers, kind):
    spelled = hosted[kind].reader.spelled()
    vocabulary = tokenizers[kind].get_vocab()
    for token in ("<|endoftext|>", "<s>", "</s>", "<unk>", "[UNK]", "[CLS]"):
        assert token not in vocabulary or spelled[vocabulary[token]] == b""


@pytest.mark.parametrize("kind", KINDS)
def test_within_a_character_every_way_to_its_bytes_is_summed(hosted, kind):
    model = hosted[kind]
    spelled = model.reader.spelled()
    whole, tail = b"caf", "é".encode()[:1]
    tokens = model.reader.read([whole]).token_C.tolist()
    expected = np.zeros(256)
    first = logits_after(model, tokens)
    for token, text in enumerate(spelled):
        if len(text) > 1 and text.startswith(tail):
            expected[text[1]] += first[token]
    single = next((token for token, text in enumerate(spelled) if text == tail), None)
    if single is not None:
        second = logits_after(model, [*tokens, single])
        for token, text in enumerate(spelled):
            if text:
                expected[text[0]] += first[single] * second[token]
    with np.errstate(divide="ignore"):
        expected = np.log(expected / expected.sum())
    np.testing.assert_allclose(next_byte(model, [whole + tail])[0], expected, atol=1e-4)


def test_a_model_of_bytes_says_its_own_next_distribution(hosted):
    model = hosted["bytes"]
    found = next_byte(model, [*PREFIXES, "é".encode()[:1]])
    for row, prefix in enumerate([*PREFIXES, "é".encode()[:1]]):
        np.testing.assert_allclose(found[row], np.log(logits_after(model, list(prefix))), atol=1e-4)


@pytest.mark.parametrize("kind", ["bytes", *KINDS])
def test_rows_sum_to_one_and_do_not_depend_on_each_other(hosted, kind):
    prefixes = [*PREFIXES, b"", "é€😀".encode()[:1], "é€😀".encode()[:4], "é€😀".encode()[:-1]]
    together = next_byte(hosted[kind], prefixes)
    assert together.shape == (len(prefixes), 256)
    np.testing.assert_allclose(np.exp(together.astype(np.float64)).sum(1), 1, atol=1e-5)
    for batch_tokens in (1, 30):
        np.testing.assert_allclose(next_byte(hosted[kind], prefixes, batch_tokens=batch_tokens), together, atol=1e-4)
    for row, prefix in enumerate(prefixes):
        np.testing.assert_allclose(next_byte(hosted[kind], [prefix])[0], together[row], atol=1e-4)


def test_after_nothing_all_bytes_are_alike(hosted):
    np.testing.assert_allclose(next_byte(hosted["bytes"], [b""]), -np.log(256), rtol=1e-6)
    assert next_byte(hosted["bytes"], []).shape == (0, 256)


def test_nonsense_is_returned_as_it_is(tmp_path):
    model = build_model(Architecture("llama", 16, 1, 2, context=64), 1)
    with torch.no_grad():
        model.lm_head.weight[65] = torch.nan
    save_model(model, tmp_path / "nan")
    assert np.isnan(next_byte(load_hosted(tmp_path / "nan"), [b"abc"])).all()
