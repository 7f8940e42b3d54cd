"""Blocks: a hash-chained header that commits to extrinsics, receipts and state, signed by the keeper.

Invariants: a block's hash covers a domain tag, the genesis hash through `parent`, and every field of its header; the
header covers the rest by roots. Block 0 is derived from the genesis alone, has the genesis hash as its parent, and
carries no signature.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ledger.keys import HEADER_DOMAIN, Keypair, verify
from ledger.trust.merkle import compute_root
from ledger.units import Hash32, Natural, PublicKey, blake2b_256

Kind = Literal["genesis", "open", "commit", "close"]
NO_SIGNATURE = b""

APPLIED = "ok"
"""The receipt of an extrinsic that was applied; every other receipt is a refusal's code."""


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a block's hash covers.

    `epoch` is the one it belongs to: an epoch's open, commit and close blocks share it.
    """

    height: Natural
    parent: Hash32
    term: Natural
    epoch: Natural
    kind: Kind
    extrinsics_root: Hash32
    receipts_root: Hash32
    state_root: Hash32
    keeper: PublicKey

    @property
    def hash(self) -> bytes:
        """The block's hash: BLAKE2b-256 of a domain tag and the canonical encoding."""
        return blake2b_256(HEADER_DOMAIN, msgspec.msgpack.encode(self))

    @property
    def closed_epoch(self) -> int:
        """The last epoch that is closed when this is the last block; 0 if none is."""
        return self.epoch - (self.kind in ("open", "commit"))


class Block(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A header, encoded extrinsics, one receipt for each, and the keeper's signature of the hash."""

    header: Header
    extrinsics: tuple[bytes, ...]
    receipts: tuple[str, ...]
    signature: Annotated[bytes, Meta(max_length=64)]

    @property
    def height(self) -> int:
        """The number of blocks before this one."""
        return self.header.height

    @property
    def hash(self) -> bytes:
        """The header's hash."""
        return self.header.hash


def encode_block(block: Block) -> bytes:
    """The canonical encoding."""
    return msgspec.msgpack.encode(block)


def decode_block(data: bytes) -> Block:
    """The block in these bytes; ValueError if they are not the canonical encoding of one."""
    block = msgspec.msgpack.decode(data, type=Block)
    if encode_block(block) != data:
        raise ValueError("the bytes are not a block's canonical encoding")
    return block


def compute_roots(extrinsics: tuple[bytes, ...], receipts: tuple[str, ...]) -> tuple[bytes, bytes]:
    """The Merkle roots of a block's extrinsics and of its receipts."""
    return compute_hashed_roots([blake2b_256(data) for data in extrinsics], receipts)


def compute_hashed_roots(hashes: Sequence[bytes], receipts: Sequence[str]) -> tuple[bytes, bytes]:
    """The same roots from the extrinsics' hashes, which are what the tree is over: they prove that an extrinsic was in
    a block after its bytes are gone.
    """
    return compute_root(hashes), compute_root([receipt.encode() for receipt in receipts])


def sign_header(header: Header, keypair: Keypair, genesis_hash: bytes) -> bytes:
    """The keeper's signature of a header's hash, for the network of this genesis only: a key that keeps two networks
    can't be shown to contradict itself by a block of each.
    """
    return keypair.sign(HEADER_DOMAIN + genesis_hash + header.hash)


def verify_header(header: Header, signature: bytes, genesis_hash: bytes) -> bool:
    """Whether the keeper that the header names signed it for the network of this genesis."""
    return verify(header.keeper, HEADER_DOMAIN + genesis_hash + header.hash, signature)
