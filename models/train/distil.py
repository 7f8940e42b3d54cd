"""Distillation: what the collective expects of shared pages, kept small, and how far a model is from it.

At each place the likeliest bytes are told apart, and all others are one: the divergence (Hinton et al. 2015,
arXiv:1503.02531) is that of the distribution over these parts, which asks nothing of how a model divides the rest.

Invariants: the parts of a place are kept in order of their probability, ties by the byte, and each byte stands once;
safetensors, never pickle; a file appears whole or not at all.

Legend: P pages of T bytes, L = T−1 places that a byte is expected at, K bytes told apart, B pages of a step.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

    from models.host.hosted import Hosted

ROWS_AT_ONCE = 32
"""Pages in one batch of a member's answers."""
LEAST_REST = 1e-6
"""What all other bytes have together at least: what was told apart may sum to 1 in float32."""


@dataclass(frozen=True)
class Teaching:
    """What a collective expects of the bytes of some pages.

    Attributes:
        text_PT: the pages, uint8.
        byte_PLK: the bytes told apart after each prefix, uint8.
        probability_PLK: theirs, float32; 0 for those below the floor, which belong to the rest.
    """

    text_PT: NDArray[np.uint8]
    byte_PLK: NDArray[np.uint8]
    probability_PLK: NDArray[np.float32]


def expected_bytes(hosted: "Hosted", text_PT: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A byte model's probabilities, float32 [P, L, 256], of what stands at each place but the first of each page."""
    device = hosted.model.device
    parts = []
    with hosted.speaking(), torch.inference_mode():
        for start in range(0, len(text_PT), ROWS_AT_ONCE):
            token_BT = torch.from_numpy(text_PT[start : start + ROWS_AT_ONCE, :-1].astype(np.int64)).to(device)
            probability_PV = hosted.head.logits(hosted.head.hidden(token_BT))[0].softmax(-1)
            parts.append(probability_PV.view(*token_BT.shape, -1).cpu().numpy())
    return np.concatenate(parts)


def keep_likeliest(
    text_PT: NDArray[np.uint8], probability_PLV: NDArray[np.float32], *, top: int, floor: float
) -> Teaching:
    """What is kept of whole distributions [P, L, 256]: the `top` likeliest bytes, as far as they have `floor`."""
    byte_PLK = np.argsort(-probability_PLV, axis=-1, kind="stable")[..., :top]
    kept_PLK = np.take_along_axis(probability_PLV, byte_PLK, axis=-1)
    kept_PLK = np.where(kept_PLK >= floor, kept_PLK, 0).astype(np.float32)
    return Teaching(text_PT, byte_PLK.astype(np.uint8), kept_PLK)


def divergence(logits_BLV: "Tensor", byte_BLK: "Tensor", probability_BLK: "Tensor") -> "Tensor":
    """Mean Kullback-Leibler divergence, nats per byte, of a model's distributions from what was kept of others'.

    Args:
        byte_BLK: int64.
    """
    log_BLV = logits_BLV.float().log_softmax(-1)
    apart_BLK = probability_BLK > 0
    log_BLK = log_BLV.gather(-1, byte_BLK)
    others_BLV = log_BLV.scatter(-1, byte_BLK, log_BLK.masked_fill(apart_BLK, -torch.inf))
    rest_BL = (1 - probability_BLK.sum(-1)).clamp(min=LEAST_REST)
    of_parts_BL = (torch.special.xlogy(probability_BLK, probability_BLK) - probability_BLK * log_BLK).sum(-1)
    of_rest_BL = rest_BL * (rest_BL.log() - others_BLV.logsumexp(-1))
    mean: Tensor = (of_parts_BL + of_rest_BL).mean()
    return mean


def save_teaching(path: Path, teaching: Teaching, stratum: str) -> None:
    """Write what is expected of pages of one stratum to `path`, atomically; its folder is made."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    tensors = {"text": teaching.text_PT, "byte": teaching.byte_PLK, "probability": teaching.probability_PLK}
    try:
        save_file({name: np.ascontiguousarray(own) for name, own in tensors.items()}, aside, {"stratum": stratum})
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def load_teaching(paths: Sequence[str | Path], strata: Collection[str] | None = None) -> Teaching | None:
    """What some files hold, of pages of these strata (None: of all), in the files' order; None where that is nothing.

    Raises TrainingError where a file is absent or damaged, or files do not fit each other.
    """
    parts = [own for path in paths if (own := _load(Path(path), strata)) is not None]
    if not parts:
        return None
    if len({(own.text_PT.shape[1], own.byte_PLK.shape[2]) for own in parts}) > 1:
        raise TrainingError(f"{Path(paths[0]).parent} holds pages of different lengths: remove it to make them again")
    return Teaching(
        np.concatenate([own.text_PT for own in parts]),
        np.concatenate([own.byte_PLK for own in parts]),
        np.concatenate([own.probability_PLK for own in parts]),
    )


def _load(path: Path, strata: Collection[str] | None) -> Teaching | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            if strata is not None and (file.metadata() or {})["stratum"] not in strata:
                return None
            own = Teaching(*(file.get_tensor(name) for name in ("text", "byte", "probability")))
    except (OSError, SafetensorError, KeyError) as error:
        raise TrainingError(f"{path} does not say what is expected of its pages ({error}): remove it") from None
    shape = own.byte_PLK.shape
    if shape != own.probability_PLK.shape or own.text_PT.shape != (shape[0], shape[1] + 1):
        raise TrainingError(f"{path} has {own.text_PT.shape} bytes and {shape} expectations: remove it")
    return own
