"""The genesis: what a network starts from and can never change.

Invariants: its hash names the network, and is in every signature; balances and stakes in it count as issuance; its
permitted neurons with stake are the first finality set.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from ledger.epoch.emission import CAP_RAO
from ledger.errors import GenesisError
from ledger.extrinsics import Name
from ledger.keys import GENESIS_DOMAIN
from ledger.parameters import Parameters, validate_parameters
from ledger.units import Hash32, PublicKey, Rao, blake2b_256

PROTOCOL = 4
"""Changes when the same blocks would give another state."""

Panel = Literal["segments", "next_byte"]
"""What a network asks: `segments` shows whole windows, of which a model scores every position; `next_byte` shows
windows without their last byte, and asks for the distribution of that byte.
"""


class GenesisNeuron(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A neuron that is there from the beginning; its uid is its place in the list."""

    hotkey: PublicKey
    coldkey: PublicKey
    name: Name
    permit: bool = False


class Genesis(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Block 0's content.

    `balances` are (public key, RAO), `stakes` (hotkey, coldkey, RAO); `keeper` signs the blocks. `panel`: what peers
    are asked. `private_text`: the Merkle root over the sorted hashes of the held-out documents where these are not
    public, None where they are; it stands before every seed, so that no text is chosen for what a seed draws from it.
    """

    network: Name
    keeper: PublicKey
    development: bool = False
    parameters: Parameters = Parameters()
    balances: tuple[tuple[PublicKey, Rao], ...] = ()
    stakes: tuple[tuple[PublicKey, PublicKey, Rao], ...] = ()
    neurons: tuple[GenesisNeuron, ...] = ()
    panel: Panel = "segments"
    private_text: Hash32 | None = None
    protocol: int = PROTOCOL

    @property
    def hash(self) -> bytes:
        """BLAKE2b-256 of a domain tag and the canonical encoding: the network's name for signatures."""
        return blake2b_256(GENESIS_DOMAIN, encode_genesis(self))

    @property
    def issuance_rao(self) -> int:
        """Everything that exists before the first epoch."""
        return sum(rao for _, rao in self.balances) + sum(rao for _, _, rao in self.stakes)


def encode_genesis(genesis: Genesis) -> bytes:
    """The canonical encoding."""
    return msgspec.msgpack.encode(genesis)


def decode_genesis(data: bytes) -> Genesis:
    """The genesis in these bytes, validated; GenesisError names the field that is wrong."""
    try:
        genesis = msgspec.msgpack.decode(data, type=Genesis)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GenesisError("genesis", str(error)) from None
    if genesis.protocol != PROTOCOL:
        raise GenesisError("protocol", f"this version speaks protocol {PROTOCOL}, the genesis {genesis.protocol}")
    if encode_genesis(genesis) != data:
        raise GenesisError("genesis", "the bytes are not its canonical encoding")
    _validate_content(genesis)
    return genesis


def validate_genesis(genesis: Genesis) -> None:
    """GenesisError unless a network can start from this."""
    try:
        encoded = encode_genesis(genesis)
    except (OverflowError, TypeError) as error:
        raise GenesisError("genesis", str(error)) from None
    decode_genesis(encoded)


def _validate_content(genesis: Genesis) -> None:
    parameters = genesis.parameters
    validate_parameters(parameters)
    _refuse_repeats("balances", (public for public, _ in genesis.balances))
    _refuse_repeats("stakes", ((hotkey, coldkey) for hotkey, coldkey, _ in genesis.stakes))
    _refuse_repeats("neurons", (neuron.hotkey for neuron in genesis.neurons))
    if any(rao < max(1, parameters.existential_rao) for _, rao in genesis.balances):
        raise GenesisError("balances", f"expected at least existential_rao = {parameters.existential_rao} each")
    if any(rao < 1 for _, _, rao in genesis.stakes):
        raise GenesisError("stakes", "expected at least 1 RAO each")
    if genesis.issuance_rao > CAP_RAO:
        raise GenesisError("balances", f"balances and stakes together exceed the cap of {CAP_RAO} RAO")
    if len(genesis.neurons) > parameters.max_uids:
        raise GenesisError("neurons", f"expected at most max_uids = {parameters.max_uids} neurons")
    _validate_permits(genesis)


def _validate_permits(genesis: Genesis) -> None:
    staked = {hotkey for hotkey, _, _ in genesis.stakes}
    permitted = [neuron for neuron in genesis.neurons if neuron.permit]
    if len(permitted) > genesis.parameters.max_validators:
        raise GenesisError("neurons", f"expected at most max_validators = {genesis.parameters.max_validators} permits")
    if not any(neuron.hotkey in staked for neuron in permitted):
        raise GenesisError("neurons", "expected at least one neuron with permit and stake, else no block can be final")


def _refuse_repeats(field: str, keys: Iterable[object]) -> None:
    seen: set[object] = set()
    for position, key in enumerate(keys):
        if key in seen:
            raise GenesisError(f"{field}[{position}]", "this key was named before")
        seen.add(key)
