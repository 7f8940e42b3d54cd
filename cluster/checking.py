"""What anybody with a home can check and read: the ledger again from its genesis, votes against evidence, epochs.

Invariants: nothing is written; a home without a network is one sentence.
"""

from pathlib import Path

from cluster.audit import Audited, audit_epoch
from cluster.disclosure import Disclosure
from cluster.disclosure import disclose as _disclose
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.report import EpochRecord, read_epochs
from ledger.store.light import LightlyVerified
from ledger.store.light import verify_light as _verify_light
from ledger.store.replay import Verified
from ledger.store.replay import verify as _verify


def verify(home: Path | str) -> Verified:
    """Derive the whole ledger again from its genesis. Raises DamagedLedger: the first height that does not follow."""
    return _verify(_lived(home).chain)


def epochs(home: Path | str) -> list[EpochRecord]:
    """What was told of each epoch when it closed: bits per byte, new bits, pay and status of every neuron."""
    return read_epochs(_lived(home).epochs)


def verify_light(home: Path | str) -> LightlyVerified:
    """Check the ledger's headers, signatures, finality sets and votes alone, without executing a block. Raises
    DamagedLedger: the first height that is wrong.
    """
    return _verify_light(_lived(home).chain)


def audit(home: Path | str, epoch: int) -> list[Audited]:
    """Check the votes of a closed epoch against their evidence: values from the matrix, votes from the values, one
    entry a validator that revealed. Raises ClusterError where the epoch is not closed.
    """
    return audit_epoch(Home(Path(home).absolute()), epoch)


def disclose(home: Path | str, epoch: int) -> Disclosure:
    """The private documents that a closed epoch asked about, each with its way to the root in the genesis. Raises
    ClusterError where the network's text is public or the epoch is not closed, EvidenceError where evidence is damaged.
    """
    return _disclose(Home(Path(home).absolute()), epoch)


def _lived(home: Path | str) -> Home:
    place = Home(Path(home).absolute())
    if not place.chain.exists():
        raise ClusterError(f"there is no network in {place.folder}: launch one, or name another --home")
    return place
