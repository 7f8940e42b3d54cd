"""What a submitter keeps of its submissions: one JSON file a name, beside the wallets that signed them.

Invariants: a file is replaced whole; what it says of the past can be read off the ledger again, so that a lost file
costs no more than training and the knowledge of what still waits.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from cluster.errors import ClusterError
from cluster.home import Home
from ledger.wallet import DEFAULT_HOTKEY


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last submission under a name.

    Attributes:
        genesis: the network's hash, hex.
        wallet, hotkey: the names of the keys that sign for it.
        manifest: of the version that was submitted, hex; endpoint: of a remote peer. None both: it was withdrawn.
        train: the network that holds this file trains it each epoch, as one of its own.
        since_height, valid_until: the ledger's height when its extrinsics were signed, and the last that may take them.
        extrinsics: their hashes, hex.
    """

    genesis: str
    name: str
    wallet: str
    hotkey: str = DEFAULT_HOTKEY
    manifest: str | None = None
    endpoint: str | None = None
    train: bool = False
    since_height: int = 0
    valid_until: int = 0
    extrinsics: tuple[str, ...] = ()

    @property
    def withdrawal(self) -> bool:
        """Whether it was taken back."""
        return self.manifest is None and self.endpoint is None


@dataclass(frozen=True)
class Records:
    """A folder of records; it need not exist."""

    folder: Path

    def read(self, name: str, genesis: bytes) -> Record | None:
        """The record of a name on a network; None where there is none."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            return None
        try:
            record = msgspec.json.decode(path.read_bytes(), type=Record)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ClusterError(f"{path} is no record of a submission ({error}): remove it, and submit again") from None
        return record if record.genesis == genesis.hex() else None

    def names(self) -> list[str]:
        """The names that have a record, of whatever network."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def write(self, record: Record) -> None:
        """Keep a record in place of an older one of its name."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{record.name}.json"
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with aside.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)


def records_of(home: Home, elsewhere: bytes | None = None) -> Records:
    """Records in a home: of its own network, or of one that is elsewhere, by its genesis."""
    return Records(home.submissions if elsewhere is None else home.submissions / elsewhere.hex()[:16])
