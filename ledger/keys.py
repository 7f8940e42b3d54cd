"""Ed25519 keys (RFC 8032, through libsodium), SS58 addresses and BIP-39 mnemonics.

Invariants: a secret never shows in a repr; everything that is signed begins with its own domain tag, so that no
signature can stand for another thing.
"""

import hashlib

import base58
from mnemonic import Mnemonic
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from ledger.errors import InvalidKey

EXTRINSIC_DOMAIN = b"taoray/extrinsic/1"
COMMITMENT_DOMAIN = b"taoray/commitment/1"
SEED_DOMAIN = b"taoray/seed/1"
GENESIS_DOMAIN = b"taoray/genesis/1"
HEADER_DOMAIN = b"taoray/header/1"
VOTE_DOMAIN = b"taoray/vote/1"
PROMISE_DOMAIN = b"taoray/promise/1"
MANDATE_DOMAIN = b"taoray/mandate/1"
MESSAGE_DOMAIN = b"taoray/message/1"

SS58_PREFIX = 42
"""The generic Substrate prefix, which Bittensor's addresses have too."""
_CHECKSUM_BYTES = 2
_ENGLISH = Mnemonic("english")


class Keypair:
    """An Ed25519 secret with its public key."""

    __slots__ = ("_signing", "address", "public")

    def __init__(self, signing: SigningKey) -> None:
        self._signing = signing
        self.public: bytes = bytes(signing.verify_key)
        self.address: str = encode_address(self.public)

    @classmethod
    def generate(cls) -> "Keypair":
        """A key from the operating system's randomness."""
        return cls(SigningKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> "Keypair":
        """The key of a 32-byte RFC 8032 secret; InvalidKey for any other length."""
        if len(seed) != 32:
            raise InvalidKey(f"a seed has 32 bytes, this one has {len(seed)}")
        return cls(SigningKey(seed))

    @classmethod
    def from_mnemonic(cls, words: str) -> "Keypair":
        """The key of a BIP-39 mnemonic: the first 32 bytes of its seed (no passphrase);

        InvalidKey if the words or their checksum are wrong.
        """
        normal = " ".join(words.split()).lower()
        if not _ENGLISH.check(normal):
            raise InvalidKey("these words are not a BIP-39 mnemonic: check their spelling, number and order")
        return cls.from_seed(Mnemonic.to_seed(normal)[:32])

    @property
    def seed(self) -> bytes:
        """The 32-byte secret."""
        return bytes(self._signing)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of the message."""
        return self._signing.sign(message).signature

    def __repr__(self) -> str:
        return f"Keypair({self.address})"


def generate_mnemonic() -> str:
    """Twelve BIP-39 words (128 bits of randomness)."""
    return _ENGLISH.generate(128)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is the public key's, of this message."""
    if len(public) != 32 or len(signature) != 64:
        return False
    try:
        VerifyKey(public).verify(message, signature)
    except BadSignatureError:
        return False
    return True


def sign_message(keypair: Keypair, message: bytes) -> bytes:
    """The signature of a message of a person's own; nothing that the ledger takes can be signed this way."""
    return keypair.sign(MESSAGE_DOMAIN + message)


def verify_message(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the key signed this message by `sign_message`."""
    return verify(public, MESSAGE_DOMAIN + message, signature)


def encode_address(public: bytes) -> str:
    """The SS58 address of a public key."""
    if len(public) != 32:
        raise InvalidKey(f"a public key has 32 bytes, this one has {len(public)}")
    payload = bytes([SS58_PREFIX]) + public
    return base58.b58encode(payload + _checksum(payload)).decode("ascii")


def decode_address(text: str) -> bytes:
    """The public key of an SS58 address; InvalidKey if it is misspelt or has another prefix."""
    try:
        raw = base58.b58decode(text.strip())
    except ValueError:
        raise InvalidKey(f"{text!r} is not an address: it has characters that base58 does not") from None
    payload, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if len(raw) != 1 + 32 + _CHECKSUM_BYTES or payload[0] != SS58_PREFIX:
        raise InvalidKey(f"{text!r} is not an address of this kind: expected SS58 with prefix {SS58_PREFIX}, as in 5F…")
    if checksum != _checksum(payload):
        raise InvalidKey(f"{text!r} is not an address: its checksum is wrong, so a character is mistyped")
    return payload[1:]


def _checksum(payload: bytes) -> bytes:
    return hashlib.blake2b(b"SS58PRE" + payload).digest()[:_CHECKSUM_BYTES]
