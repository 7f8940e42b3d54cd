"""Publications: a neuron names the version of its model by its manifest's hash.

Invariant: at most one version of a uid is valued in an epoch, the last one published before its open block.
"""

from msgspec.structs import replace

from ledger.entries import Neuron
from ledger.errors import Refusal
from ledger.extrinsics import BASELINE_MANIFEST, Publish
from ledger.state import State, uid_key


def apply_publish(state: State, signer: bytes, call: Publish) -> None:
    """Set the neuron's version, to be valued in the epoch that this block opens."""
    neuron = validate_neuron(state, signer)
    if call.manifest == BASELINE_MANIFEST:
        raise Refusal("invalid_call", "32 zero bytes are the baseline, not a manifest")
    published = replace(
        neuron,
        manifest=call.manifest,
        published_epoch=state.globals.epoch + 1,
        versions=neuron.versions + 1,
    )
    state.neuron_rows.put(uid_key(neuron.uid), published)


def validate_neuron(state: State, hotkey: bytes) -> Neuron:
    """The hotkey's neuron; Refusal `not_registered` if it has none."""
    neuron = state.neuron_by_hotkey(hotkey)
    if neuron is None:
        raise Refusal("not_registered", "the signing hotkey has no uid; register it with its coldkey first")
    return neuron
