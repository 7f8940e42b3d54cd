"""What a loaded submission must show: finite weights, answers that do not know what comes later, and finite answers.

Invariants: for the trial's own process, whose memory and time are limited; a refusal names the tensor or the place.

Shapes: B texts, T tokens of each, N = B·T.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from models.errors import ModelRefused
from models.faults import is_exhaustion
from models.host.folders import check_decoder, read_config
from models.host.hosted import Hosted
from models.host.next_byte import next_byte
from models.host.score import score_windows
from models.intake.sample import trial_prefixes, trial_windows
from models.text.align import align

CHUNK_NUMBERS = 1 << 22
"""Numbers of a tensor that are looked at at once."""
LONGER_THAN_STORED = 2
"""A configuration that describes this many times the numbers of its files is refused before they are allocated."""
WORST_BITS = 64.0
"""What a byte costs at most that a model calls impossible."""
TOLERANCE = {torch.float32: 0.01, torch.float64: 1e-4}
COARSE_TOLERANCE = 0.5
"""Largest difference of a log-probability that is still rounding: in float32, and in 16 bits."""


def described_parameters(folder: Path, stored: int, most: float) -> int:
    """How many parameters the configuration of a folder describes, without allocating them.

    `stored`: how many numbers its files hold. `most`: the quota. Raises ModelRefused with a code of `check_decoder`, or
    `config_invalid`, `parameters` or `config_weights`.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    check_decoder(read_config(folder), folder)
    auto: Any = AutoModelForCausalLM
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model = auto.from_config(config, dtype=torch.float32)
    except Exception as error:
        if is_exhaustion(error):
            raise
        # A configuration that contradicts itself makes transformers fail with whatever the contradiction meets first.
        raise ModelRefused("config_invalid", f"no model can be built from config.json ({one_line(error)})") from None
    parameters = sum(int(parameter.numel()) for parameter in model.parameters())
    if parameters > most:
        raise ModelRefused("parameters", f"config.json describes {parameters:,} parameters, at most {most:,.0f}")
    if parameters > LONGER_THAN_STORED * stored:
        raise ModelRefused(
            "config_weights", f"config.json describes {parameters:,} parameters, and the files hold {stored:,} numbers"
        )
    return parameters


def check_finite(hosted: Hosted) -> None:
    """Refuse weights, or those of an adapter, that are no numbers.

    Raises ModelRefused with code `nan` or `infinity`.
    """
    for name, tensor in submitted_tensors(hosted):
        if not tensor.is_floating_point():
            continue
        for chunk in torch.split(tensor.detach().reshape(-1), CHUNK_NUMBERS):
            if bool(torch.isnan(chunk).any()):
                raise ModelRefused("nan", f"{name} holds NaN: the training went wrong, give an earlier checkpoint")
            if bool(torch.isinf(chunk).any()):
                raise ModelRefused("infinity", f"{name} holds infinity: save it in a type of larger range")


def submitted_tensors(hosted: Hosted) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of a model, or those that an adapter adds to its base."""
    if hosted.adapter is None:
        yield from hosted.model.state_dict().items()
        return
    for name, pair in hosted.adapter.pairs.items():
        yield from ((f"{name}, {side}", part) for side, part in zip("AB", pair, strict=True))


def check_causal(hosted: Hosted, window: bytes) -> None:
    """Refuse a model whose answers know later tokens, or the texts beside.

    `window`: text that whoever made the model could not foretell. Raises ModelRefused with code `not_causal`.
    """
    most = min(hosted.context_tokens, hosted.head.most_tokens // 2)
    token_T = torch.from_numpy(hosted.reader.read([window]).token_C[:most].astype(np.int64))
    if len(token_T) < 2:
        return
    other_T = torch.where(token_T == token_T[0], (token_T[0] + 1) % hosted.head.vocabulary, token_T[0])
    with torch.inference_mode(), hosted.speaking(), noting_other_attention(hosted) as noted:
        alone_T = answers(hosted, token_T[None], token_T)[0]
        if noted:
            raise ModelRefused("not_causal", f"its layer {noted[0]} attends to what comes later: use a causal model")
        allowed_T = TOLERANCE.get(hosted.model.dtype, COARSE_TOLERANCE) * alone_T.abs().clamp(min=1.0)
        for place in sorted({1, len(token_T) // 2, len(token_T) - 1}):
            rows_BT = torch.stack([token_T, torch.cat([token_T[:place], other_T[place:]])])
            same_T, changed_T = answers(hosted, rows_BT, token_T)
            if bool(((same_T - alone_T).abs() > allowed_T).any()):
                raise ModelRefused("not_causal", "its answers to a text depend on the texts beside it in a batch")
            if bool(((changed_T - alone_T).abs() > allowed_T)[:place].any()):
                raise ModelRefused(
                    "not_causal",
                    f"its answers up to token {place} depend on what comes after it: only a causal model says what it "
                    "expects before it sees it",
                )


def answers(hosted: Hosted, token_BT: torch.Tensor, token_T: torch.Tensor) -> torch.Tensor:
    """Natural log-probability float32 [B, T] of the token that comes next in `token_T`, after each token of B texts."""
    target_N = token_T.roll(-1).repeat(len(token_BT))
    return hosted.head.log_probability(hosted.head.hidden(token_BT), target_N)[0].reshape(len(token_BT), -1)


@contextmanager
def noting_other_attention(hosted: Hosted) -> Iterator[list[str]]:
    """Names of the layers that are called and say of themselves that they are not causal."""
    noted: list[str] = []
    with ExitStack() as hooks:
        for name, module in hosted.model.named_modules():
            if getattr(module, "is_causal", True) is False:
                note = lambda *_, name=name: noted.append(name)  # noqa: E731
                hooks.callback(module.register_forward_hook(note).remove)
        yield noted


def bits_of_answers(hosted: Hosted, panel: Literal["segments", "next_byte"], window_bytes: int) -> float:
    """Bits per byte of a model's answers to the trial text.

    Raises ModelRefused with code `nan_answers`, `coarse_tokenizer` or what scoring raises.
    """
    if panel == "next_byte":
        prefixes, following = trial_prefixes(window_bytes)
        said = next_byte(hosted, prefixes)
        return mean_bits(said[np.arange(len(following)), following], len(following), said)
    texts = trial_windows(window_bytes)
    scores = score_windows(hosted, texts)
    refused = align([scores], texts).refused
    if refused:
        raise refused[0]
    bounds = [(begin, end) for begin, end in pairwise(scores.start_W.tolist()) if end > begin]
    told_bytes = sum(int(scores.cut_C[end - 1] - scores.cut_C[begin]) for begin, end in bounds)
    return mean_bits(scores.log_probability_C, told_bytes, scores.log_probability_C)


def mean_bits(said: npt.NDArray[np.float32], count: int, all_said: npt.NDArray[np.float32]) -> float:
    """Bits for each of `count` bytes of some natural log-probabilities; none of what was said may be NaN or above 0."""
    if np.isnan(all_said).any() or (all_said > 1e-4).any():
        raise ModelRefused("nan_answers", "its answers to ordinary text are not probabilities: try it on text yourself")
    bits = np.minimum(-said.astype(np.float64) / np.log(2.0), WORST_BITS * 16)
    return float(min(bits.sum() / max(1, count), WORST_BITS))


def one_line(error: BaseException) -> str:
    """The first line of what an error says, cut short."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:300]
