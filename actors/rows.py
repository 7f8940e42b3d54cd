"""Which model versions an epoch asks, read off the ledger: the same list for the driver and for every validator.

Invariants:
* a version stands once: the ledger lets nobody publish another's again;
* members of the collective come first, then new versions in order of publication, then what is only measured;
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
        present: it is what its neuron stands for today: its answer is the peer's.
    """

    manifest: bytes
    uid: int
    member: bool
    new: bool
    present: bool


def rows_to_ask(state: State) -> tuple[Row, ...]:
    """The versions that the open epoch asks: members, new versions, and the other neurons' present versions."""
    neurons = {neuron.uid: neuron for neuron in state.neurons()}
    fresh = {neuron.uid for neuron in state.roster()}
    order = [(m.uid, m.manifest) for m in state.collective.members if m.uid != BASELINE_UID]
    order += [(neuron.uid, neuron.manifest) for neuron in state.roster() if neuron.manifest is not None]
    order += [(neuron.uid, neuron.manifest) for neuron in neurons.values() if neuron.manifest is not None]
    members = {m.manifest for m in state.collective.members}
    rows: dict[bytes, Row] = {}
    for uid, manifest in order:
        member = manifest in members
        present = uid in neurons and neurons[uid].manifest == manifest
        rows.setdefault(manifest, Row(manifest, uid, member, present and not member and uid in fresh, present))
    return tuple(rows.values())
