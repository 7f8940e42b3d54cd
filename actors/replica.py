"""A validator's replica of the ledger, and what binds the validator, which outlives the replica's disk.

Invariants: what is signed or promised is on disk before it is told, on the replica's and, where that is a node's own,
as an oath in the home, a vote there first; of two processes of one validator, as on both sides of a cut network, the
later one signs alone; a validator that cannot know what it signed before signs nothing.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from actors.disk import WRITER_WAIT_S, Disk, open_here
from ledger.blocks import Block
from ledger.errors import NotWriter, StoreError
from ledger.genesis import Genesis
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.store.oath import Oath, bind, current_oath, forgotten
from ledger.store.replica import Known, absorb, follow, known, promise, votes_between
from ledger.trust.finality import Vote
from ledger.trust.terms import Mandate, Pledge

REPLICA = "replica.db"
OATH = "oath"


class Replica:
    """The chain that a validator follows and signs.

    Args:
        folder: the validator's, in the home.
        disk: where the replica is; None: in the folder.
        voted: whether the home shows that it voted before.
    """

    def __init__(
        self, name: str, folder: Path, genesis: Genesis, keypair: Keypair, *, disk: Disk | None, voted: bool
    ) -> None:
        self._name, self._keypair, self._oath_path = name, keypair, folder / OATH
        self._turn = 0
        bound = read_oath(self._oath_path)
        if disk is not None and bound is None and (folder / REPLICA).exists():
            with Chain.open(folder / REPLICA) as before:
                bound = current_oath(before, keypair.public)
        # A replica in the home is its own oath, unless one on another disk was followed by it.
        self._apart = disk is not None or bound is not None
        self._forgot = disk is not None and bound is None and voted
        if disk is not None:
            self.chain = open_here(disk.folder(name) / REPLICA, genesis, term=0)
        elif (folder / REPLICA).exists():
            self.chain = Chain.open(folder / REPLICA, write=True, timeout_s=WRITER_WAIT_S)
        else:
            self.chain = Chain.create(folder / REPLICA, genesis)
        if bound is not None:
            bind(self.chain, bound)
        if self._apart and not self._forgot:
            with self._held_oath() as written:
                self._turn = 1 + (0 if written is None else written.turn)
                self._told = current_oath(self.chain, keypair.public, turn=self._turn)
                write_oath(self._oath_path, self._told)

    def known(self) -> Known:
        """What the replica has, and the last vote."""
        return known(self.chain, self._keypair.public)

    def follow(self, blocks: list[Block], votes: Sequence[Vote], mandate: Mandate | None) -> list[Vote]:
        """Execute blocks and sign the head. Refusal `no_oath` where it may have signed another before."""
        if self._forgot:
            absorb(self.chain, blocks, votes, mandate)
        self._require_oath()
        signed = follow(self.chain, blocks, votes, mandate, self._keypair, self._swear)
        self._swear()
        return signed

    def promise(self, term: int) -> Pledge:
        """Promise not to sign for lower terms. Refusal `no_oath` where it may have voted before."""
        self._require_oath()
        pledge = promise(self.chain, term, self._keypair)
        self._swear()
        return pledge

    def blocks(self, first: int, last: int | None = None) -> list[Block]:
        """The blocks from a height to another; None: the head."""
        return list(self.chain.blocks(first, last))

    def votes(self, first: int, last: int | None = None) -> list[Vote]:
        """The votes that are kept for those blocks."""
        return votes_between(self.chain, first, last)

    def close(self) -> None:
        """Give the database back."""
        self.chain.close()

    def _swear(self, vote: Vote | None = None) -> None:
        """Bring the oath in the home up to the replica's, and to a vote that is about to be given."""
        if not self._apart:
            return
        oath = current_oath(self.chain, self._keypair.public, vote, turn=self._turn)
        if oath == self._told:
            return
        with self._held_oath() as written:
            if written is None or written.turn != self._turn:
                raise NotWriter(f"another process signs for {self._name} by now; this one ({os.getpid()}) does not")
            write_oath(self._oath_path, oath)
        self._told = oath

    @contextmanager
    def _held_oath(self) -> Iterator[Oath | None]:
        """The oath as it is in the home, held against other processes of this validator."""
        lock = os.open(self._oath_path.with_name(OATH + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield read_oath(self._oath_path)
        finally:
            os.close(lock)

    def _require_oath(self) -> None:
        if self._forgot:
            raise forgotten(self._name, str(self._oath_path))


def read_oath(path: Path) -> Oath | None:
    """The oath at a path, or None where there is none. StoreError where it can't be read: it binds, whatever it is."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Oath)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(f"{path}: the validator's oath can't be read ({error}); bring it back") from None


def write_oath(path: Path, oath: Oath) -> None:
    """Replace the oath whole: after this it is there, whatever stops. StoreError if the disk says no."""
    aside = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.msgpack.encode(oath))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"{path}: the validator's oath can't be kept: {error.strerror}") from None
