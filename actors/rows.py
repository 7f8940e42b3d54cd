"""Which model versions an epoch asks, read off the ledger: the same list for the driver and for every validator.

Invariants:
* a version stands once, however many neurons name it, as what it first was; its answer is the answer of them all;
* members of the collective come first, then the versions published for this epoch by uid, then what is only measured;
* nothing but the state of the ledger enters, so everybody derives the same rows.
"""

from dataclasses import dataclass

from ledger.extrinsics import BASELINE_UID
from ledger.state import State


@dataclass(frozen=True)
class Row:
    """One version to ask.

    Attributes:
        manifest: 32 bytes.
        uid: the neuron that published it.
        member: it belongs to the collective that the last close block fixed.
        new: it was published since the last epoch and is valued in this one.
        holders: the neurons that stand for it today: its answer is theirs.
    """

    manifest: bytes
    uid: int
    member: bool
    new: bool
    holders: tuple[int, ...]

    @property
    def present(self) -> bool:
        """Whether it is what the neuron that published it stands for today."""
        return self.uid in self.holders


def rows_to_ask(state: State) -> tuple[Row, ...]:
    """The versions that the open epoch asks: members, new versions, and the other neurons' present versions."""
    neurons = {neuron.uid: neuron for neuron in state.neurons()}
    fresh = {neuron.uid for neuron in state.roster()}
    order = [(m.uid, m.manifest) for m in state.collective.members if m.uid != BASELINE_UID]
    order += [(neuron.uid, neuron.manifest) for neuron in state.roster() if neuron.manifest is not None]
    order += [(neuron.uid, neuron.manifest) for neuron in neurons.values() if neuron.manifest is not None]
    members = {m.manifest for m in state.collective.members}
    holders_of: dict[bytes, tuple[int, ...]] = {}
    for neuron in neurons.values():
        if neuron.manifest is not None:
            holders_of[neuron.manifest] = (*holders_of.get(neuron.manifest, ()), neuron.uid)
    rows: dict[bytes, Row] = {}
    for uid, manifest in order:
        holders = holders_of.get(manifest, ())
        member = manifest in members
        rows.setdefault(manifest, Row(manifest, uid, member, uid in holders and not member and uid in fresh, holders))
    return tuple(rows.values())
