"""Publications: a neuron names the version of its model, and the parameters that it trained, by hashes.

Invariants: at most one version of a uid is valued in an epoch, the last one published before its open block; a manifest
belongs to whoever published it first, and versions of one epoch are valued in the order of their publication.
"""

from msgspec.structs import replace

from ledger.entries import Checkpointed, Neuron, Publisher
from ledger.errors import Refusal
from ledger.extrinsics import BASELINE_MANIFEST, Checkpoint, Publish, Withdraw
from ledger.rules.limits import count_call
from ledger.state import State, uid_key


def apply_publish(state: State, signer: bytes, call: Publish) -> None:
    """Set the neuron's version, to be valued in the epoch that this block opens."""
    neuron = validate_neuron(state, signer)
    if call.manifest == BASELINE_MANIFEST:
        raise Refusal("invalid_call", "32 zero bytes are the baseline, not a manifest")
    origin = state.origin(signer)
    publisher = state.publishers.get(call.manifest)
    if publisher is not None and publisher.origin != origin:
        raise Refusal("already_published", "another neuron published this version before; publish one of your own")
    count_call(state, signer, "publish")
    scalars = replace(state.globals, publications=state.globals.publications + 1)
    state.scalars.put(b"", scalars)
    state.publishers.put(call.manifest, Publisher(origin=origin))
    published = replace(
        neuron,
        manifest=call.manifest,
        published_epoch=state.block_epoch,
        publication=scalars.publications,
        versions=neuron.versions + 1,
    )
    state.neuron_rows.put(uid_key(neuron.uid), published)


def apply_withdraw(state: State, signer: bytes, call: Withdraw) -> None:
    """Leave the neuron without a version from the epoch on that this block opens. It keeps its uid."""
    neuron = validate_neuron(state, signer)
    if neuron.manifest is None:
        raise Refusal("no_version", f"uid {neuron.uid} has no version to withdraw")
    state.neuron_rows.put(uid_key(neuron.uid), replace(neuron, manifest=None, published_epoch=0))


def apply_checkpoint(state: State, signer: bytes, call: Checkpoint) -> None:
    """Keep the neuron's latest trained parameters; the ones before are in the blocks."""
    neuron = validate_neuron(state, signer)
    count_call(state, signer, "checkpoint")
    kept = Checkpointed(parameters=call.parameters, manifest=call.manifest, height=state.globals.height)
    state.neuron_rows.put(uid_key(neuron.uid), replace(neuron, checkpoint=kept))


def validate_neuron(state: State, hotkey: bytes) -> Neuron:
    """The hotkey's neuron; Refusal `not_registered` if it has none."""
    neuron = state.neuron_by_hotkey(hotkey)
    if neuron is None:
        raise Refusal("not_registered", "the signing hotkey has no uid; register it with its coldkey first")
    return neuron
