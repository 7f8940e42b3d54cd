"""What a member of a cohort remembers of its last rounds: AdamW's state, what there was to send, and what was sent.

Invariants: safetensors, never pickle; a record appears whole or not at all, and is found by the job that led to it, so
a job that is done twice has one outcome; the record before the last one stays, for a job that has to be done again.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

from models.content import write_whole
from models.errors import TrainingError
from models.train.layout import Vector
from models.train.optimizer import OptimizerState

OPTIMIZER = "optimizer/"
KEPT = 2
"""Records that stay: the last one, and the one that it went on from."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a record.

    Attributes:
        round: counted by the member, from 1. previous: hash of the update before, empty in the first round.
        parameters, manifest: of θ, which the round began at. payload: hash of what was made to be sent.
        tokens: bytes of text of this round. steps_done: of AdamW, over all rounds.
        messages: what a person should know of the training.
    """

    round: int
    previous: bytes
    parameters: bytes
    manifest: bytes
    payload: bytes
    tokens: int
    steps_done: int
    loss_bits_per_byte: float | None
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class MemberRecord:
    """A round of one member. `key`: of its job; `accumulated_P`: what there was to send, float32."""

    key: bytes
    receipt: Receipt
    payload: bytes
    accumulated_P: Vector
    optimizer: OptimizerState


class MemberRecords:
    """The records of one member in one cohort: files in a folder of their own, by round and job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: bytes) -> MemberRecord | None:
        """The record of a job, if it is done. Raises TrainingError where it is damaged."""
        path = next((path for path in self._paths() if path.stem.endswith(key.hex())), None)
        return None if path is None else _read(path, key)

    def before(self, key: bytes) -> MemberRecord | None:
        """The last record of another job than this one; None where there is none. Raises TrainingError likewise."""
        path = next((path for path in reversed(self._paths()) if not path.stem.endswith(key.hex())), None)
        return None if path is None else _read(path, bytes.fromhex(path.stem.partition("-")[2]))

    def keep(self, record: MemberRecord) -> None:
        """Write a record, and forget those that no job goes on from, and what a killed host left half-written."""
        path = self._folder / f"{record.receipt.round:08d}-{record.key.hex()}.safetensors"
        _write(path, record)
        half_written = [other for other in self._folder.glob(".*") if other.name < f".{record.receipt.round:08d}"]
        for other in (*self._paths()[:-KEPT], *half_written):
            other.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*-*.safetensors"))


def _write(path: Path, record: MemberRecord) -> None:
    from safetensors.torch import save

    tensors = {OPTIMIZER + name: tensor.contiguous().cpu() for name, tensor in record.optimizer.items()}
    tensors["accumulated"] = torch.from_numpy(record.accumulated_P)
    tensors["payload"] = torch.from_numpy(np.frombuffer(record.payload, np.uint8).copy())
    write_whole(path, save(tensors, metadata={"receipt": msgspec.json.encode(record.receipt).decode()}))


def _read(path: Path, key: bytes) -> MemberRecord:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
            receipt = msgspec.json.decode((file.metadata() or {})["receipt"], type=Receipt)
        accumulated, payload = tensors.pop("accumulated"), tensors.pop("payload")
    except (OSError, SafetensorError, KeyError, msgspec.MsgspecError) as error:
        raise TrainingError(f"{path} is not a member's record ({error}): remove it to go on without it") from None
    optimizer = {name.removeprefix(OPTIMIZER): tensor for name, tensor in tensors.items()}
    return MemberRecord(key, receipt, payload.numpy().tobytes(), accumulated.numpy(), optimizer)
