"""Keys against published vectors, and what signatures and reprs do not give away."""

import json
from pathlib import Path

import pytest
from mnemonic import Mnemonic

from ledger.errors import InvalidKey
from ledger.keys import (
    EXTRINSIC_DOMAIN,
    HEADER_DOMAIN,
    MANDATE_DOMAIN,
    MESSAGE_DOMAIN,
    PROMISE_DOMAIN,
    SEED_DOMAIN,
    VOTE_DOMAIN,
    Keypair,
    decode_address,
    encode_address,
    generate_mnemonic,
    sign_message,
    verify,
    verify_message,
)

GOLDEN = Path(__file__).parents[1] / "golden"
RFC_8032 = json.loads((GOLDEN / "rfc8032.json").read_text())
BIP_39 = json.loads((GOLDEN / "bip39.json").read_text())

SS58 = {vector["address"]: vector["public"] for vector in json.loads((GOLDEN / "ss58.json").read_text())}
ALICE_SEED = "abf8e5bdbe30c65656c0a3cbd181ff8a56294a69dfedd27982aace4a76909115"


@pytest.mark.parametrize("vector", RFC_8032, ids=lambda vector: vector["name"])
def test_signatures_are_those_of_rfc_8032(vector: dict[str, str]) -> None:
    secret, public, message, signature = (vector[name] for name in ("secret", "public", "message", "signature"))
    keypair = Keypair.from_seed(bytes.fromhex(secret))
    assert keypair.public.hex() == public
    assert keypair.seed.hex() == secret
    assert keypair.sign(bytes.fromhex(message)).hex() == signature
    assert verify(keypair.public, bytes.fromhex(message), bytes.fromhex(signature))
    assert not verify(keypair.public, bytes.fromhex(message) + b"!", bytes.fromhex(signature))


@pytest.mark.parametrize(("public", "signature"), [(b"", bytes(64)), (bytes(32), b""), (bytes(31), bytes(63))])
def test_verify_says_no_to_what_is_no_key_or_signature(public: bytes, signature: bytes) -> None:
    assert not verify(public, b"message", signature)


@pytest.mark.parametrize("vector", BIP_39, ids=lambda vector: vector["entropy"][:8])
def test_mnemonics_are_those_of_bip_39(vector: dict[str, str]) -> None:
    words = vector["words"]
    assert Mnemonic("english").to_mnemonic(bytes.fromhex(vector["entropy"])) == words
    assert Mnemonic.to_seed(words, "TREZOR").hex() == vector["seed"]
    assert Keypair.from_mnemonic(f"  {words.upper()} ").seed == Mnemonic.to_seed(words)[:32]


def test_mnemonics_are_checked_and_generated() -> None:
    with pytest.raises(InvalidKey, match="BIP-39"):
        Keypair.from_mnemonic("abandon " * 12)
    words = generate_mnemonic()
    assert len(words.split()) == 12
    assert words != generate_mnemonic()
    assert Keypair.from_mnemonic(words).public == Keypair.from_mnemonic(words).public


@pytest.mark.parametrize(("address", "public"), SS58.items())
def test_addresses_are_ss58(address: str, public: str) -> None:
    assert encode_address(bytes.fromhex(public)) == address
    assert decode_address(f" {address}\n").hex() == public


def test_the_documented_ed25519_account_is_that_of_its_seed() -> None:
    keypair = Keypair.from_seed(bytes.fromhex(ALICE_SEED))
    assert SS58[keypair.address] == keypair.public.hex()


def test_a_message_is_signed_as_nothing_but_a_message() -> None:
    keypair = Keypair.generate()
    signature = sign_message(keypair, b"I am I")
    assert verify_message(keypair.public, b"I am I", signature)
    assert not verify_message(keypair.public, b"I am you", signature)
    assert not verify_message(Keypair.generate().public, b"I am I", signature)
    assert not verify(keypair.public, b"I am I", signature), "a bare signature would stand for anything"
    for domain in (EXTRINSIC_DOMAIN, VOTE_DOMAIN, HEADER_DOMAIN, PROMISE_DOMAIN, MANDATE_DOMAIN, SEED_DOMAIN):
        assert not verify(keypair.public, domain + b"I am I", signature)
        assert not domain.startswith(MESSAGE_DOMAIN)
        assert not MESSAGE_DOMAIN.startswith(domain)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "prefix 42"),
        ("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ", "checksum"),
        ("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKut0Y", "base58"),
        ("15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5", "prefix 42"),
    ],
)
def test_misspelt_addresses_are_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidKey, match=reason):
        decode_address(text)


def test_a_key_does_not_show_its_secret() -> None:
    keypair = Keypair.generate()
    assert keypair.seed.hex() not in repr(keypair)
    assert repr(keypair) == f"Keypair({keypair.address})"
    with pytest.raises(InvalidKey, match="32 bytes"):
        Keypair.from_seed(b"short")
