"""Which versions and peers an epoch asks, read off the ledger: the same list for the driver and for every validator.

Invariants:
* a version stands once: the ledger lets nobody publish another's again;
* members of the collective come first, then new versions in order of publication, then what is only measured, then
  remote peers in order of registration;
* who names another's hotkey as its version has no row: no folder hashes to a key that somebody holds;
* nothing but the state of the ledger enters, so everybody derives the same rows.
"""

from dataclasses import dataclass
from typing import Literal

from ledger.extrinsics import BASELINE_UID
from ledger.state import State


@dataclass(frozen=True)
class Row:
    """One version, or one remote peer, to ask.

    Attributes:
        manifest: 32 bytes; of a remote peer its hotkey.
        uid: the neuron that published it.
        member: it belongs to the collective that the last close block fixed.
        new: it was published since the last epoch and is valued in this one.
        present: it is what its neuron stands for today: its answer is the peer's.
        remote: it answers from its endpoint, as whatever it is today.
    """

    manifest: bytes
    uid: int
    member: bool
    new: bool
    present: bool
    remote: bool = False


def rows_to_ask(state: State, panel: Literal["segments", "next_byte"]) -> tuple[Row, ...]:
    """What the open epoch asks: members, new versions, the other neurons' present versions; then, where answers cannot
    be looked up (panel next_byte), the neurons that have an endpoint and no version.
    """
    remotes = _remotes(state) if panel == "next_byte" else ()
    taken = {row.manifest for row in remotes}
    return (*(row for row in _versions(state) if row.manifest not in taken), *remotes)


def _versions(state: State) -> tuple[Row, ...]:
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


def _remotes(state: State) -> tuple[Row, ...]:
    serving = [neuron for neuron in state.neurons() if neuron.manifest is None and neuron.endpoint is not None]
    return tuple(
        Row(neuron.hotkey, neuron.uid, member=False, new=False, present=True, remote=True)
        for neuron in sorted(serving, key=lambda neuron: (neuron.registered_at, neuron.uid))
    )
