"""The door of a network: what whoever submits a model asks of it, in its home or over HTTP.

Invariants: one protocol, whether the network runs or not and wherever it is; nothing that changes the ledger goes
through it but signed extrinsics; what is delivered was checked before it is in the store.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from ledger.genesis import Panel
from ledger.keys import Keypair
from models.intake.check import Checked
from models.intake.quotas import Quotas


class Terms(Struct, frozen=True, kw_only=True):
    """What a network is, what it takes, and where it stands.

    Attributes:
        genesis, keeper: the genesis hash and the operator's public hotkey, 32 bytes each.
        window_bytes: the length of the text that peers are asked about.
        price_rao: of a registration in the next block that takes one, after those that wait.
        phase: closed, open or commit: the kind of the last block.
        immunity_epochs: how long a new neuron cannot be replaced.
        running: whether somebody drives the network now.
    """

    network: str
    genesis: bytes
    keeper: bytes
    development: bool
    panel: Panel
    window_bytes: int
    quotas: Quotas
    price_rao: int
    max_price_rao: int
    height: int
    epoch: int
    phase: str
    immunity_epochs: int
    running: bool


class Holdings(Struct, frozen=True, kw_only=True):
    """What a key has: free RAO, what its waiting uploads and registrations reserve of it, and the nonce of its next
    extrinsic, those that wait in the queue counted.
    """

    free_rao: int
    reserved_rao: int
    next_nonce: int


class Registered(Struct, frozen=True, kw_only=True):
    """A neuron of the ledger, as whoever submits needs it. Keys and hashes are 32 bytes."""

    uid: int
    name: str
    hotkey: bytes
    coldkey: bytes
    registered_epoch: int
    manifest: bytes | None
    published_epoch: int
    endpoint: str | None


class Receipt(Struct, frozen=True, kw_only=True):
    """What became of an extrinsic: the block that holds it, and `applied` or the refusal's code."""

    height: int
    epoch: int
    code: str
    final: bool


class Door(Protocol):
    """A network that can be submitted to. Every method may raise ClusterError where it cannot be reached."""

    def terms(self) -> Terms:
        """What the network is and where it stands."""

    def holdings(self, public: bytes) -> Holdings:
        """What a key has."""

    def neurons(self) -> list[Registered]:
        """All neurons by uid."""

    def deliver(self, folder: Path, payer: Keypair, progress: Callable[[int, int], None]) -> Checked:
        """Check a model folder and put it into the network's store.

        Args:
            payer: the coldkey that is to pay the registration, or the hotkey of a neuron that publishes again.
            progress: hears bytes done, of how many.

        Raises:
            ModelRefused: with the code of what is wrong. Refusal: the key cannot pay.
        """

    def try_endpoint(self, endpoint: str, hotkey: bytes) -> None:
        """Ask an endpoint a small question. Raises EndpointRefused where it does not answer as its hotkey should."""

    def send(self, extrinsic: bytes) -> bytes:
        """Queue a signed extrinsic, and return its hash. Raises Refusal where it cannot be queued."""

    def receipt(self, extrinsic_hash: bytes, since_height: int) -> Receipt | None:
        """What became of an extrinsic in the blocks after a height; None while no block holds it."""
