"""A folder on the disk of the node that an actor runs on: what is lost with the node.

Invariants: where it is, is found out in the actor's own process, so that a node's environment can say so; a ledger that
is not there is made anew, one that is damaged is set aside, and neither binds or leads by itself.
"""

import os
from pathlib import Path

from msgspec import Struct

from ledger.errors import DamagedLedger, StoreError
from ledger.genesis import Genesis
from ledger.store.chain import Chain

WRITER_WAIT_S = 30.0
"""How long a process that restarts waits for its predecessor to let go of the database."""


class Disk(Struct, frozen=True, kw_only=True):
    """`ledger`: the folder on each node, with ~ and $VARIABLES as that node has them; `genesis`: whose ledger."""

    ledger: str
    genesis: Genesis

    def folder(self, name: str) -> Path:
        """The folder of one actor of this network here, made if need be.

        Raises:
            StoreError: a variable is not set on this node, or the folder can't be made.
        """
        told = os.path.expanduser(os.path.expandvars(self.ledger))
        if "$" in told:
            raise StoreError(f"storage.ledger is {self.ledger}: set the variable in it on every node")
        folder = Path(told) / f"{self.genesis.network}-{self.genesis.hash.hex()[:16]}" / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: can't be made on this node: {error.strerror}") from None
        return folder


def open_here(path: Path, genesis: Genesis, *, term: int) -> Chain:
    """The chain at a path of a node's own disk, to write; a new one of this term where there is none that can be read.

    Raises:
        NotWriter: another process writes it. StoreError: the disk says no.
    """
    if path.exists():
        try:
            return Chain.open(path, write=True, timeout_s=WRITER_WAIT_S)
        except DamagedLedger:
            _set_aside(path)
    return Chain.create(path, genesis, term=term, timeout_s=WRITER_WAIT_S)


def _set_aside(path: Path) -> None:
    number = 1 + sum(1 for _ in path.parent.glob("damaged-*"))
    aside = path.parent / f"damaged-{number}"
    aside.mkdir()
    for suffix in ("", "-wal", "-shm", ".head"):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.replace(aside / file.name)
