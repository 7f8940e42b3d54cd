"""What the store must keep: every version that the ledger names, or that a waiting publication will name.

Invariants: a version leaves the store only when no neuron, no member of the collective, no checkpoint, no waiting
extrinsic and no kept adapter names it, and when it was put there longer ago than the configuration says.
"""

from collections.abc import Iterable
from contextlib import closing

from cluster.run import Run
from ledger.errors import Refusal
from ledger.extrinsics import Checkpoint, Publish, decode_extrinsic
from ledger.store.mempool import Mempool
from models.errors import StoreError
from models.host.shape import read_shape
from models.store import Store


def forget_unused(run: Run) -> None:
    """Collect the store of a network whose epoch has just closed; what goes wrong is told, and nothing is lost."""
    view = run.view()
    named = {row.manifest for row in view.rows if not row.remote}
    named |= {neuron.checkpoint.manifest for neuron in view.neurons if neuron.checkpoint is not None}
    max_bytes = run.genesis.parameters.max_extrinsic_bytes
    with closing(Mempool(run.home.mempool, run.genesis.hash, max_bytes=max_bytes)) as mempool:
        named |= named_by(data for _, data in mempool.pending())
    try:
        store = Store(run.home.store, run.network.storage.depot)
        store.collect(named | bases_of(store, named), run.network.storage.keep_unused_s)
    except (StoreError, OSError) as error:
        run.show.note(f"the store was not cleared: {error}")


def named_by(extrinsics: Iterable[bytes]) -> set[bytes]:
    """The manifests that encoded extrinsics publish."""
    named = set()
    for data in extrinsics:
        try:
            call = decode_extrinsic(data).call
        except Refusal:
            continue
        if isinstance(call, Publish | Checkpoint):
            named.add(call.manifest)
    return named


def bases_of(store: Store, versions: Iterable[bytes]) -> set[bytes]:
    """The versions that the adapters among these are over. Raises StoreError where a stored manifest is damaged."""
    shapes = (read_shape(store, version) for version in versions if version in store)
    return {shape.base for shape in shapes if shape.base is not None}
