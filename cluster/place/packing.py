"""Packing: what is known of the versions that the network hosts, the plan that follows, and its record for people.

Invariants: the plan is made of what the ledger asks in this epoch, so peers come and go without a restart; a version
is planned by what a host measured, where one has, else by its files; a version that failed answers alone until it
answers again; the record is written whole or not at all, and nothing that decides money reads it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from actors.host import ScoreReceipt
from cluster.config import Placement
from cluster.place.plan import HostPlan, Stack, Wanted, plan_epoch
from cluster.place.record import PlacedHost, PlacedStack, PlacementRecord, read_placement, write_placement
from models.errors import StoreError
from models.host.shape import Shape, read_shape
from models.store import Store

BYTES_A_PARAMETER = 4
"""Until a host has measured: on a CPU weights are float32."""


class Packing:
    """Shapes, sizes and failures of versions, for as long as a driver runs.

    `path`: of the record, which is read at the start.
    """

    def __init__(self, store: Store, path: Path, placement: Placement) -> None:
        self._store = store
        self._path = path
        self._placement = placement
        self._shapes: dict[bytes, Shape] = {}
        self._alone: set[bytes] = set()
        self._noted: set[str] = set()
        before = read_placement(path)
        self._measured = {bytes.fromhex(key): size for key, size in before.measured_bytes.items()} if before else {}

    def plan(self, versions: Sequence[bytes], hosts: int) -> dict[str, HostPlan]:
        """Where these versions answer, by host, with so many hosts; what is known of any others is forgotten."""
        shapes = {version: self._shape(version) for version in versions}
        bases = {shape.base: self._shape(shape.base) for shape in shapes.values() if shape.base is not None}
        self._shapes = {version: shape for version, shape in (bases | shapes).items() if shape.parameters}
        self._measured = {version: size for version, size in self._measured.items() if version in bases | shapes}
        self._alone &= set(versions)
        wanted = [
            Wanted(
                version=version,
                signature=shape.signature,
                parameters=shape.parameters + (bases[shape.base].parameters if shape.base is not None else 0),
                size_bytes=self._size_bytes(version),
                base=shape.base,
            )
            for version, shape in shapes.items()
        ]
        return plan_epoch(
            wanted,
            {base: self._size_bytes(base) for base in bases},
            hosts,
            capacity_bytes=self._placement.capacity_mib << 20,
            most=self._placement.stack,
            alone=self._alone,
        )

    def is_adapter(self, version: bytes) -> bool:
        """Whether a version is an adapter over another."""
        return self._shape(version).base is not None

    def learn(
        self,
        epoch: int,
        plan: Mapping[str, HostPlan],
        receipts: Iterable[ScoreReceipt],
        failed: Iterable[bytes],
        names: Mapping[bytes, str],
    ) -> dict[str, str]:
        """Take in what the epoch's answers said of the versions, and write its record.

        Returns:
            by host what it said of its memory, where it says so for the first time since the driver began.
        """
        apart: dict[bytes, str] = {}
        notes: dict[str, list[str]] = {}
        for receipt in receipts:
            for note in receipt.notes:
                notes.setdefault(receipt.host, []).append(note)
            self._measured |= receipt.size_bytes
            self._alone -= set(receipt.size_bytes)
            if receipt.apart:
                apart |= dict.fromkeys(receipt.size_bytes, receipt.apart)
        self._alone |= set(failed)
        write_placement(self._path, self._record(epoch, plan, names, apart, notes))
        new = {host: said[0] for host, said in notes.items() if host not in self._noted}
        self._noted |= set(new)
        return new

    def _record(
        self,
        epoch: int,
        plan: Mapping[str, HostPlan],
        names: Mapping[bytes, str],
        apart: Mapping[bytes, str],
        notes: Mapping[str, Sequence[str]],
    ) -> PlacementRecord:
        def placed(stack: Stack) -> PlacedStack:
            return PlacedStack(
                versions=tuple(version.hex() for version in stack.versions),
                names=tuple(names.get(version, "") for version in stack.versions),
                size_bytes=sum(self._size_bytes(version) for version in stack.versions),
                apart=next((apart[version] for version in stack.versions if version in apart), ""),
            )

        hosts = tuple(
            PlacedHost(
                host=name,
                size_bytes=own.size_bytes,
                capacity_bytes=self._placement.capacity_mib << 20,
                fits=own.fits,
                stacks=tuple(placed(stack) for stack in own.stacks),
            )
            for name, own in plan.items()
        )
        measured = {version.hex(): size for version, size in sorted(self._measured.items())}
        told = {host: tuple(dict.fromkeys(said)) for host, said in sorted(notes.items())}
        return PlacementRecord(epoch=epoch, hosts=hosts, measured_bytes=measured, notes=told)

    def _shape(self, version: bytes) -> Shape:
        """A version's shape; one whose files are missing is like no other, and its host will say what is wrong."""
        try:
            return self._shapes.get(version) or read_shape(self._store, version)
        except (StoreError, OSError):
            return Shape(signature=version, parameters=0, size_bytes=0)

    def _size_bytes(self, version: bytes) -> int:
        return self._measured.get(version, BYTES_A_PARAMETER * self._shape(version).parameters)
