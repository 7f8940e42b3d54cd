"""What lm-evaluation-harness's Hugging Face back end does for `loglikelihood_rolling`, where the package is not there.

Invariants: the work is that of lm-eval 0.4.13, lm_eval/models/huggingface.py (`loglikelihood_rolling`,
`_loglikelihood_tokens`, `_model_call`) and lm_eval/utils.py (`get_rolling_token_windows`), for one process and a fixed
batch size, in that order and with those of its waits for the device; progress bars, its cache of one-token answers and
the look-up that serves it are left out, so that it is rather quicker than the original.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional

Window = tuple[list[int], list[int]]
"""Tokens before, and tokens that are told."""


class Backend:
    """A model as lm-eval asks it."""

    def __init__(self, model: Any, tokenizer: Tokenizer, prefix: int, max_length: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.prefix = prefix
        self.max_length = max_length

    def loglikelihood_rolling(self, texts: Sequence[str], batch: int) -> list[float]:
        """The log-likelihood of each text in nats: windows in the order of the texts, so many at a time."""
        owners, windows = [], []
        for index, text in enumerate(texts):
            for window in rolling_windows(self.tokenizer.encode(text).ids, self.prefix, self.max_length):
                owners.append(index)
                windows.append(window)
        told: list[float] = []
        for first in range(0, len(windows), batch):
            told += self._tokens(windows[first : first + batch])
        sums = [0.0] * len(texts)
        for owner, value in zip(owners, told, strict=True):
            sums[owner] += value
        return sums

    def _tokens(self, windows: Sequence[Window]) -> list[float]:
        """One batch, sorted by falling length; answers in the order asked."""
        whole = [before + told for before, told in windows]
        order = sorted(range(len(windows)), key=lambda row: (-len(whole[row]), tuple(whole[row])))
        device, inputs = self.model.device, []
        for row in order:
            read = whole[row][-(self.max_length + 1) :][:-1]
            inputs.append(torch.tensor(read, dtype=torch.long, device=device))
        longest = max(len(own) for own in inputs)
        padded = [torch.cat([own, own.new_zeros(longest - len(own))]) for own in inputs]
        with torch.no_grad():
            logits_BTV = self.model(torch.stack(padded)).logits
        log_probability_BTV = functional.log_softmax(logits_BTV, dim=-1, dtype=None)
        answers = [0.0] * len(windows)
        for row, own, log_probability_TV in zip(order, inputs, log_probability_BTV, strict=True):
            told = windows[row][1]
            said = log_probability_TV[len(own) - len(told) : len(own)].unsqueeze(0)
            greedy = said.argmax(dim=-1)
            target = torch.tensor(told, dtype=torch.long, device=device).unsqueeze(0)
            bool((greedy == target).all())
            answers[row] = float(torch.gather(said, 2, target.unsqueeze(-1)).squeeze(-1).sum())
        return answers


def rolling_windows(tokens: list[int], prefix: int, most: int) -> Iterator[Window]:
    """Disjoint windows of at most so many tokens; what comes before the first is the prefix, else one token."""
    first = min(most, len(tokens))
    if tokens:
        yield [prefix], tokens[:first]
    done = first
    while done < len(tokens):
        last = done + min(len(tokens) - done, most)
        yield tokens[last - most - 1 : last][: most - (last - done) + 1], tokens[done:last]
        done = last
