"""The shared parameters θ of a cohort's round: from the ledger's row, and the updates that it accepted.

Invariants: whoever takes part derives θ by itself and goes on only from what the ledger's hash says; what an update is
worth or does nobody is believed: every payload is compared with its hash before it is read.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import StoreError
from models.host.folders import load_model
from models.store import Store
from models.train.cohort import OuterSettings
from models.train.compression import payload_hash
from models.train.layout import Layout, Vector, hash_vector, layout_of, read_vector
from models.train.payload import payload_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Standing:
    """What the ledger's row holds: a model with its parameters, and the payloads that lead on from them.

    Attributes:
        theta_P: the row's parameters; the next ones are the step of `accepted` away.
        accepted: payloads by uid.
    """

    model: "PreTrainedModel"
    layout: Layout
    theta_P: Vector
    accepted: dict[int, bytes]


def load_standing(
    manifest: bytes,
    parameters: bytes | None,
    accepted: Mapping[int, bytes],
    outer: OuterSettings,
    *,
    store: Store,
    contributions: Path,
    device: str,
) -> Standing:
    """Load what a row of the ledger names.

    Args:
        parameters: hash of the parameters; None where no round has been: then whatever the version holds.
        accepted: hashes of payloads by uid.
        contributions: the folder of shared payloads.

    Raises:
        StoreError: the version or a payload is absent, or is not what the ledger says.
        ModelRefused: the version cannot be loaded.
        TrainingError: its parameters are not float32.
    """
    model = load_model(store.materialize(manifest), device)
    layout, theta_P = layout_of(model), read_vector(model)
    if parameters is not None and hash_vector(theta_P, layout) != parameters:
        raise StoreError(f"version {manifest.hex()} does not hold the parameters {parameters.hex()} of the ledger")
    found = read_payloads(contributions, accepted, payload_bytes(layout, outer.keep))
    found = {uid: payload for uid, payload in found.items() if payload_hash(payload) == accepted[uid]}
    if missing := sorted(accepted.keys() - found.keys()):
        names = ", ".join(accepted[uid].hex()[:16] for uid in missing)
        raise StoreError(f"accepted updates are not in {contributions}, or damaged: {names}; restore them from a copy")
    return Standing(model, layout, theta_P, found)


def read_payloads(folder: Path, hashes: Mapping[int, bytes], size: int) -> dict[int, bytes]:
    """What is in a folder under these hashes, by uid, unchecked; what is absent is left out.

    Args:
        size: bytes of a payload of this cohort; of a longer file one byte more is read, which shows that it is longer.
    """
    found = {}
    for uid, digest in hashes.items():
        with suppress(FileNotFoundError), (folder / digest.hex()).open("rb") as file:
            found[uid] = file.read(size + 1)
    return found
