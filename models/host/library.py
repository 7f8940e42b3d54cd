"""The library of a host: model versions in memory, by manifest hash.

Invariants: what is given out was verified by the store when it was loaded; the versions used least recently leave
first; the limit is exceeded only by a single version that is larger than it.
"""

from collections import OrderedDict
from pathlib import Path

from models.errors import ModelRefused, StoreError
from models.host.adapters import is_adapter, read_adapter_config
from models.host.hosted import Hosted, load_hosted
from models.store import Store


class Library:
    """Models of `store` on `device`, at most `capacity_bytes` of weights at a time. For one thread."""

    def __init__(self, store: Store, *, device: str, capacity_bytes: int) -> None:
        self.store = store
        self.device = device
        self.capacity_bytes = capacity_bytes
        self._models: OrderedDict[bytes, Hosted] = OrderedDict()
        self._sizes: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._models)

    @property
    def resident_bytes(self) -> int:
        """Weights held now."""
        return sum(self._sizes.values())

    def hosted(self, manifest_hash: bytes) -> Hosted:
        """The version of that hash, from memory or from the store. Raises StoreError or ModelRefused.

        An adapter names its base by the hash of the base's manifest, in hexadecimal.
        """
        if manifest_hash not in self._models:
            folder = self.store.materialize(manifest_hash)
            base = self._base(folder) if is_adapter(folder) else None
            size_bytes = self.store.get(manifest_hash).size_bytes
            self._make_room(size_bytes if base is None else self.store.get(base).size_bytes)
            hosted = load_hosted(folder, self.device, base=None if base is None else self.store.materialize(base))
            self._models[manifest_hash] = hosted
            self._sizes[manifest_hash] = sum(tensor.nbytes for tensor in hosted.model.state_dict().values())
        self._models.move_to_end(manifest_hash)
        return self._models[manifest_hash]

    def _base(self, folder: Path) -> bytes:
        """The manifest hash of an adapter's base, which is in the store."""
        name = read_adapter_config(folder).base_model_name_or_path
        try:
            base = bytes.fromhex(name)
            self.store.get(base)
        except (ValueError, StoreError):
            raise ModelRefused(
                "adapter_base",
                f"{folder} is over {name!r}: set base_model_name_or_path to the manifest hash of a stored version",
            ) from None
        return base

    def _make_room(self, wanted_bytes: int) -> None:
        while self._models and self.resident_bytes + wanted_bytes > self.capacity_bytes:
            oldest, _ = self._models.popitem(last=False)
            del self._sizes[oldest]
