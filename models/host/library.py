"""The library of a host: model versions in memory, by manifest hash, alone or stacked with others of their shape.

Invariants: what is given out was verified by the store when it was loaded; a base is held once, however many adapters
speak over it, and stays while one of them does; the versions used least recently leave first, those of one stack
together, for they share memory; the limit is exceeded only by what is asked for at once.
"""

import gc
from collections import OrderedDict
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from models.errors import MemoryFull, ModelRefused, StoreError
from models.faults import first_line, is_exhaustion, memory_of
from models.host.adapters import read_adapter_config
from models.host.folders import is_adapter
from models.host.hosted import Hosted, adapt, load_hosted
from models.host.stacked import StackError, stack
from models.store import Store

MOST_REASONS = 256
"""How many groups that cannot be stacked are remembered."""


class Library:
    """Models of `store` on `device`, at most `capacity_bytes` of weights at a time. For one thread."""

    def __init__(self, store: Store, *, device: str, capacity_bytes: int) -> None:
        self.store = store
        self.device = device
        self.capacity_bytes = capacity_bytes
        self._models: OrderedDict[bytes, Hosted] = OrderedDict()
        self._sizes: dict[bytes, int] = {}
        self._bases: dict[bytes, bytes] = {}
        self._stacks: dict[tuple[bytes, ...], Hosted] = {}
        self._reasons: OrderedDict[tuple[bytes, ...], str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._models)

    @property
    def resident_bytes(self) -> int:
        """Weights held now."""
        return sum(self._sizes.values())

    def size_bytes(self, manifest_hash: bytes) -> int:
        """What a version that was just asked occupies by itself: an adapter without its base."""
        return self._sizes[manifest_hash]

    def hosted(self, manifest_hash: bytes) -> Hosted:
        """The version of that hash, from memory or from the store.

        An adapter names its base by the hash of the base's manifest, in hexadecimal. Where memory is full all others
        are let go. Raises StoreError, ModelRefused, or MemoryFull where it does not fit alone either.
        """
        for _ in range(2):
            try:
                return self._hosted(manifest_hash, ())
            except (RuntimeError, MemoryError, OSError) as error:
                if not is_exhaustion(error):
                    raise
            self.clear()
        size_mib = self.store.get(manifest_hash).size_bytes / 2**20
        memory = memory_of(torch.device(self.device).type)
        raise MemoryFull(f"{memory} is full: a version of {size_mib:,.1f} MiB does not fit, alone in its host")

    def clear(self) -> None:
        """Let everything go: what is asked for next has all the memory."""
        for held in (self._models, self._sizes, self._bases, self._stacks):
            held.clear()
        gc.collect()
        if torch.device(self.device).type == "cuda":
            torch.cuda.empty_cache()

    def stacked(self, versions: Sequence[bytes]) -> Hosted:
        """These versions as one that speaks for all of them, in this order.

        Raises StackError where they cannot be, at once where that is known; else as `hosted`.
        """
        group = tuple(versions)
        if group in self._reasons:
            raise StackError(self._reasons[group])
        if group in self._stacks:
            for version in group:
                self._touch(version)
            return self._stacks[group]
        try:
            for other in [other for other in self._stacks if not set(group).isdisjoint(other)]:
                self._part(other)
            self._stacks[group] = stack([self._hosted(version, group) for version in group])
        except (StackError, RuntimeError, MemoryError, OSError) as error:
            if not isinstance(error, StackError) and not is_exhaustion(error):
                raise
            full = f"{memory_of(torch.device(self.device).type)} is full: they do not fit together"
            self._reasons[group] = first_line(error) if isinstance(error, StackError) else full
            if len(self._reasons) > MOST_REASONS:
                self._reasons.popitem(last=False)
            raise StackError(self._reasons[group]) from None
        return self._stacks[group]

    def _hosted(self, manifest_hash: bytes, beside: Collection[bytes]) -> Hosted:
        if manifest_hash not in self._models:
            folder = self.store.materialize(manifest_hash)
            if is_adapter(folder):
                base = self._base(folder)
                own = self._hosted(base, beside)
                self._bases[manifest_hash] = base
                self._make_room(self.store.get(manifest_hash).size_bytes, {base, *beside})
                hosted = adapt(own, folder)
                size_bytes = hosted.adapter.size_bytes if hosted.adapter else 0
            else:
                self._make_room(self.store.get(manifest_hash).size_bytes, beside)
                hosted = load_hosted(folder, self.device)
                size_bytes = sum(tensor.nbytes for tensor in (*hosted.model.parameters(), *hosted.model.buffers()))
            self._models[manifest_hash], self._sizes[manifest_hash] = hosted, size_bytes
            self._make_room(0, {manifest_hash, self._bases.get(manifest_hash, b""), *beside})
        self._touch(manifest_hash)
        return self._models[manifest_hash]

    def _touch(self, version: bytes) -> None:
        """The version was used last, and its base after it, so that a base never leaves before its adapters."""
        self._models.move_to_end(version)
        if version in self._bases:
            self._models.move_to_end(self._bases[version])

    def _base(self, folder: Path) -> bytes:
        """The manifest hash of an adapter's base, which is in the store."""
        name = read_adapter_config(folder).base_model_name_or_path
        try:
            base = bytes.fromhex(name)
            whole = any(file.path == "config.json" for file in self.store.get(base).files)
        except (ValueError, StoreError):
            whole = False
        if not whole:
            raise ModelRefused(
                "adapter_base",
                f"{folder} is over {name!r}: set base_model_name_or_path to the manifest hash of a stored version of "
                "whole weights",
            )
        return base

    def _make_room(self, wanted_bytes: int, beside: Collection[bytes]) -> None:
        """Let the oldest go until so much more fits, or nothing is left but what is needed now."""
        needed = {*beside, *(self._bases[version] for version in beside if version in self._bases)}
        while self.resident_bytes + wanted_bytes > self.capacity_bytes:
            oldest = next((version for version in self._models if version not in needed), None)
            if oldest is None:
                return
            group = next((group for group in self._stacks if oldest in group), (oldest,))
            if not needed.isdisjoint(group):
                self._part(group)
                group = (oldest,)
            self._stacks.pop(group, None)
            for version in {*group, *(adapter for adapter, base in self._bases.items() if base in group)}:
                self._models.pop(version, None)
                self._sizes.pop(version, None)
                self._bases.pop(version, None)

    def _part(self, group: tuple[bytes, ...]) -> None:
        """Undo a stack: each of its models has memory of its own again."""
        del self._stacks[group]
        for version in group:
            if version not in self._bases:
                for parameter in self._models[version].model.parameters():
                    parameter.data = parameter.data.clone(memory_format=torch.preserve_format)
