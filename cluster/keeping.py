"""What the home must keep: every version that the ledger names, or that a waiting publication will name, and the
updates that lead from one round of a cohort to the next.

Invariants:
* a version leaves the store only when no neuron, no member of the collective, no checkpoint, no cohort, no waiting
  extrinsic and no kept adapter names it, and when it was put there longer ago than the configuration says;
* an update leaves when it is neither of the last open block nor accepted in a cohort's last round;
* evidence and ballots leave with the extrinsics of their epochs, but never a validator's last, nor what the ledger's
  votes rest on.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from actors.keeper import View
from cluster.cohorts import first_manifests
from cluster.home import Home
from cluster.run import Run
from ledger.errors import Refusal
from ledger.extrinsics import Checkpoint, Publish, decode_extrinsic
from ledger.store.mempool import Mempool
from models.errors import StoreError
from models.host.shape import read_shape
from models.store import Store

_EPOCH = "[0-9]" * 6
"""How an epoch is written in the name of a file or folder."""


def forget_unused(run: Run) -> None:
    """Collect the store of a network whose epoch has just closed; what goes wrong is told, and nothing is lost."""
    view = run.view()
    named = {row.manifest for row in view.rows if not row.remote}
    named |= {neuron.checkpoint.manifest for neuron in view.neurons if neuron.checkpoint is not None}
    named |= {row.manifest for row in view.cohorts.values()} | first_manifests(run)
    max_bytes = run.genesis.parameters.max_extrinsic_bytes
    with closing(Mempool(run.home.mempool, run.genesis.hash, max_bytes=max_bytes)) as mempool:
        named |= named_by(data for _, data in mempool.pending())
    try:
        store = Store(run.home.store, run.network.storage.depot)
        store.collect(named | bases_of(store, named), run.network.storage.keep_unused_s)
        forget_updates(run.home, view)
        revealed = {neuron.hotkey.hex(): neuron.revealed_epoch for neuron in view.neurons}
        forget_votes(run.home, revealed, run.network.storage.keep_epochs)
    except (StoreError, OSError) as error:
        run.show.note(f"the home was not cleared: {error}")


def forget_updates(home: Home, view: View) -> None:
    """Remove the updates that no step needs any more."""
    named = {each.payload.hex() for each in view.contributions.values()}
    named |= {each.payload.hex() for row in view.cohorts.values() for each in row.accepted}
    for path in home.contributions.glob("*"):
        if path.name not in named:
            path.unlink(missing_ok=True)


def forget_votes(home: Home, revealed: Mapping[str, int], keep_epochs: int) -> None:
    """Remove evidence and ballots of all but the last `keep_epochs` closed epochs; 0: of none.

    Args:
        revealed: by hotkey in hexadecimal, the last epoch whose vote it revealed.
    """
    oldest = max(revealed.values(), default=0) - keep_epochs
    if not keep_epochs or oldest < 1:
        return
    last: dict[str, int] = {}
    for epoch, path in _by_epoch(home.evidence.glob(f"{_EPOCH}/*.evidence"), lambda path: path.parent.name):
        newest = last.setdefault(path.stem, epoch)
        if epoch <= oldest and epoch not in (newest, revealed.get(path.stem)):
            path.unlink(missing_ok=True)
    for folder in home.evidence.glob(_EPOCH):
        if int(folder.name) <= oldest and not any(folder.iterdir()):
            folder.rmdir()
    for folder in home.validators.glob("*/ballots"):
        for epoch, path in _by_epoch(folder.glob(_EPOCH), lambda path: path.name)[1:]:
            if epoch <= oldest:
                path.unlink(missing_ok=True)


def _by_epoch(paths: Iterable[Path], epoch: Callable[[Path], str]) -> list[tuple[int, Path]]:
    """The newest first."""
    return sorted(((int(epoch(path)), path) for path in paths), reverse=True)


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
