"""Bits per byte and throughput against lm-evaluation-harness (`loglikelihood_rolling`), same models, texts and windows.

What bounds it: the model's own products, which both sides do in the same library. What differs is around them:
lm-evaluation-harness pads a batch to its longest window in the order of the texts, computes log-probabilities of the
whole vocabulary at every padded position, and takes each window's out in Python; `score_windows` sorts by length, puts
only positions that predict through the output layer, and a few at a time. So the ratio grows with the vocabulary.

lm-evaluation-harness runs at the quickest of several batch sizes, on the device and in the number type of the other.
Both are timed from text to sums, tokenizer included. `bare` is PyTorch alone over the very batches of `score_windows`:
padded rectangles made beforehand, the model's logits, their log-softmax, the target's entry.

Run in an environment that has lm-eval: `python benchmarks/lm_eval.py [--pairs 9] [--threads 2]`. Its module is named
as this file is, so the script's own folder must not come first on the path.
"""

import argparse
import contextlib
import logging
import os
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path = [str(ROOT), *[entry for entry in sys.path if Path(entry).resolve() != ROOT / "benchmarks"]]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from benchmarks.record import summarize, time_pairs, write_record  # noqa: E402
from models.host.batches import cut_spans, next_batch, pad, places  # noqa: E402
from models.host.hosted import Hosted, load_hosted  # noqa: E402
from models.host.score import CPU_BATCH_TOKENS, score_windows  # noqa: E402

CASES = {
    "llama, 4k tokens": {"kind": "llama", "vocabulary": 4096, "hidden": 128, "layers": 2, "context": 128},
    "gpt2, 16k tokens": {"kind": "gpt2", "vocabulary": 16384, "hidden": 128, "layers": 2, "context": 256},
}
LM_EVAL_BATCHES = (1, 8, 32)
TEXTS, LONGEST_BYTES = 12, 2000
AIM_DIFFERENCE, AIM_RATIO = 1e-3, {"cpu": 1.0, "cuda": 3.0}


def standard_library() -> list[str]:
    """The text of the standard library's own modules, sorted by name."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return [path.read_text("utf-8") for path in paths]


def pick_texts(modules: list[str]) -> list[str]:
    """Beginnings of modules, of lengths from 100 bytes to the longest, drawn once."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(100, LONGEST_BYTES, TEXTS)
    return [module[: int(length)] for module, length in zip(modules[::2], lengths, strict=False) if module]


def train_tokenizer(modules: list[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(modules, trainer)
    return tokenizer


def save_folder(folder: Path, case: dict[str, Any], modules: list[str]) -> None:
    """A random model and its tokenizer, in the layout of Hugging Face."""
    tokenizer = train_tokenizer(modules, case["vocabulary"])
    hidden, layers, context = case["hidden"], case["layers"], case["context"]
    sizes: dict[str, Any] = {"vocab_size": tokenizer.get_vocab_size(), "initializer_range": 0.1}
    if case["kind"] == "gpt2":
        sizes |= {"n_embd": hidden, "n_layer": layers, "n_head": 4, "n_positions": context}
    else:
        sizes |= {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 4}
        sizes |= {"intermediate_size": 3 * hidden, "num_key_value_heads": 2, "max_position_embeddings": context}
    torch.manual_seed(0)
    config = AutoConfig.for_model(case["kind"], bos_token_id=0, eos_token_id=0, **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    description = '{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}'
    (folder / "tokenizer_config.json").write_text(description)


def ask_lm_eval(harness: HFLM, texts: list[str], batch: int) -> list[float]:
    """The log-likelihood of each text."""
    harness.batch_size_per_gpu = batch
    requests = [Instance("loglikelihood_rolling", {}, (text,), index) for index, text in enumerate(texts)]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        return harness.loglikelihood_rolling(requests, disable_tqdm=True)


def ask_here(hosted: Hosted, data: list[bytes]) -> list[float]:
    """The same, in the same windows."""
    scores = score_windows(hosted, data, stride=hosted.context_tokens)
    return np.add.reduceat(scores.log_probability_C.astype(np.float64), scores.start_W[:-1]).tolist()


def bare_batches(hosted: Hosted, data: list[bytes]) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """What `score_windows` gives the model, made beforehand: inputs, positions that predict, and their targets."""
    reading = hosted.reader.read(data)
    spans = cut_spans(reading.start_W, hosted.context_tokens, hosted.context_tokens)
    spans.sort(key=lambda span: -span.length)
    lengths, batches, first = [span.length for span in spans], [], 0
    while first < len(spans):
        last = next_batch(lengths, first, hosted.batch_tokens or CPU_BATCH_TOKENS)
        token_BT = pad(reading.token_C, spans[first:last])
        place, target = places(spans[first:last], token_BT.shape[1])
        arrays = (token_BT, place, reading.token_C[target].astype(np.int64))
        batches.append(tuple(torch.from_numpy(array).to(hosted.model.device) for array in arrays))
        first = last
    return batches


def run_bare(hosted: Hosted, batches: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> float:
    """The log-likelihood of all, by the model's own logits."""
    total = 0.0
    with torch.inference_mode():
        for token_BT, place, target in batches:
            logits = hosted.model(input_ids=token_BT, use_cache=False).logits.float().log_softmax(2).flatten(0, 1)
            total += float(logits[place, target].double().sum())
    return total


def measure(case: dict[str, Any], modules: list[str], texts: list[str], device: str, pairs: int) -> dict[str, Any]:
    """One model: how far both are apart, and both in turns."""
    data = [text.encode() for text in texts]
    text_bytes = np.array([len(text) for text in data])
    with tempfile.TemporaryDirectory() as name:
        save_folder(Path(name), case, modules)
        hosted = load_hosted(Path(name), device)
        harness = HFLM(pretrained=name, device=device, dtype=str(hosted.model.dtype).removeprefix("torch."))
    tried = {
        batch: time_pairs(lambda: None, lambda b=batch: ask_lm_eval(harness, texts, b), 1)[1]
        for batch in LM_EVAL_BATCHES
    }
    best = min(tried, key=lambda batch: min(tried[batch]))
    here, there = np.array(ask_here(hosted, data)), np.array(ask_lm_eval(harness, texts, best))
    here_s, there_s = time_pairs(lambda: ask_here(hosted, data), lambda: ask_lm_eval(harness, texts, best), pairs)
    batches = bare_batches(hosted, data)
    again_s, bare_s = time_pairs(lambda: ask_here(hosted, data), lambda: run_bare(hosted, batches), pairs)
    tokens = len(hosted.reader.read(data).token_C) - len(texts)
    return {
        "parameters": hosted.parameters,
        "tokens": tokens,
        "bytes": int(text_bytes.sum()),
        "bits_per_byte": float(-here.sum() / text_bytes.sum() / np.log(2)),
        "lm_eval_bits_per_byte": float(-there.sum() / text_bytes.sum() / np.log(2)),
        "largest_difference_of_a_text": float(np.abs((here - there) / text_bytes / np.log(2)).max()),
        "lm_eval_batch": best,
        "tokens_per_second": tokens / summarize(here_s)["median"],
        "lm_eval_tokens_per_second": tokens / summarize(there_s)["median"],
        "times_lm_eval": summarize([b / a for a, b in zip(here_s, there_s, strict=True)]),
        "times_bare": summarize([b / a for a, b in zip(again_s, bare_s, strict=True)]),
    }


def main() -> None:
    """Measure every model, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.WARNING)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    modules = standard_library()
    texts = pick_texts(modules)
    measured = {name: measure(case, modules, texts, device, options.pairs) for name, case in CASES.items()}
    configuration = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "pairs": options.pairs,
        "threads": options.threads,
        "texts": len(texts),
        "models": CASES,
        "lm_eval": version("lm_eval"),
        "transformers": version("transformers"),
        "lm_eval_batches_tried": LM_EVAL_BATCHES,
        "aim": {"bits per byte": AIM_DIFFERENCE, "times lm-eval": AIM_RATIO[device]},
    }
    path = write_record("lm_eval" if device == "cpu" else "lm_eval_gpu", configuration, measured)
    for name, row in measured.items():
        ratio, bare = row["times_lm_eval"], row["times_bare"]
        print(
            f"{name}: {row['tokens_per_second']:,.0f} tokens/s, {ratio['median']:.2f} times lm-eval "
            f"({ratio['least']:.2f} to {ratio['most']:.2f}), {bare['median']:.2f} times bare PyTorch, "
            f"differs by {row['largest_difference_of_a_text']:.1e} bits per byte",
            file=sys.stderr,
        )
    print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
