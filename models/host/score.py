"""Scoring: the probability that a model gives to each byte of a window, given the bytes before it.

Invariants: natural logarithms; what the model says is what is returned, NaN included, for validators judge; memory
holds the logits of one batch. B windows of T bytes.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def score(model: "PreTrainedModel", text_BT: npt.NDArray[np.uint8], *, batch: int = 16) -> npt.NDArray[np.float32]:
    """Natural log-probability float32 [B, T-1] of each byte from the second on, given its window's bytes before it.

    `batch` windows go through the model at once: on a CPU about 2,000 bytes are quickest, an accelerator wants more.
    float32 on a CPU, bfloat16 autocast on an accelerator with the softmax in float32. Leaves the model in eval mode.
    """
    model.train(False)
    device = model.device
    scores_BT = np.empty((len(text_BT), text_BT.shape[1] - 1), np.float32)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):
        for start in range(0, len(text_BT), batch):
            text = torch.from_numpy(text_BT[start : start + batch].astype(np.int64)).to(device)
            logits = model(input_ids=text[:, :-1], use_cache=False).logits.float()
            targets = logits.gather(2, text[:, 1:, None]).squeeze(2)
            scores_BT[start : start + batch] = (targets - logits.logsumexp(2)).cpu().numpy()
    return scores_BT
