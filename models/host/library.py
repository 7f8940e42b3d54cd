"""The library of a host: model versions in memory, by manifest hash.

Invariants: what is given out was verified by the store when it was loaded; the versions used least recently leave
first; the limit is exceeded only by a single version that is larger than it.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING

from models.host.folders import load_model
from models.store import Store

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Library:
    """Models of `store` on `device`, at most `capacity_bytes` of weights at a time. For one thread."""

    def __init__(self, store: Store, *, device: str, capacity_bytes: int) -> None:
        self.store = store
        self.device = device
        self.capacity_bytes = capacity_bytes
        self._models: OrderedDict[bytes, PreTrainedModel] = OrderedDict()
        self._sizes: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._models)

    @property
    def resident_bytes(self) -> int:
        """Weights held now."""
        return sum(self._sizes.values())

    def model(self, manifest_hash: bytes) -> "PreTrainedModel":
        """The version of that hash, from memory or from the store. Raises StoreError or ModelRefused."""
        if manifest_hash not in self._models:
            self._make_room(self.store.get(manifest_hash).size_bytes)
            model = load_model(self.store.materialize(manifest_hash), self.device)
            self._models[manifest_hash] = model
            self._sizes[manifest_hash] = sum(tensor.nbytes for tensor in model.state_dict().values())
        self._models.move_to_end(manifest_hash)
        return self._models[manifest_hash]

    def _make_room(self, wanted_bytes: int) -> None:
        while self._models and self.resident_bytes + wanted_bytes > self.capacity_bytes:
            oldest, _ = self._models.popitem(last=False)
            del self._sizes[oldest]
