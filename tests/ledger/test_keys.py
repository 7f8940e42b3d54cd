"""Keys against published vectors, and what signatures and reprs do not give away."""

import pytest
from mnemonic import Mnemonic

from ledger.errors import InvalidKey
from ledger.keys import Keypair, decode_address, encode_address, generate_mnemonic, verify

# RFC 8032, section 7.1, TEST 1 to 3: secret, public, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2465"
        "5141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb0"
        "0d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc0"
        "27beceea1ec40a",
    ),
]

# BIP-39 reference vectors of trezor/python-mnemonic (passphrase "TREZOR"): words, seed.
BIP_39 = [
    (
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
        "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f"
        "001698e7463b04",
    ),
    (
        "legal winner thank year wave sausage worth useful legal winner thank yellow",
        "2e8905819b8723fe2c1d161860e5ee1830318dbf49a83bd451cfb8440c28bd6fa457fe1296106559a3c80937a1c1069be3a3a5bd381ee6260e"
        "8d9739fce1f607",
    ),
]

# Substrate's documented development account: Alice's sr25519 public key and its address with prefix 42.
ALICE = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"
ALICE_ADDRESS = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    keypair = Keypair.from_seed(bytes.fromhex(secret))
    assert keypair.public.hex() == public
    assert keypair.seed.hex() == secret
    assert keypair.sign(bytes.fromhex(message)).hex() == signature
    assert verify(keypair.public, bytes.fromhex(message), bytes.fromhex(signature))
    assert not verify(keypair.public, bytes.fromhex(message) + b"!", bytes.fromhex(signature))


@pytest.mark.parametrize(("public", "signature"), [(b"", bytes(64)), (bytes(32), b""), (bytes(31), bytes(63))])
def test_verify_says_no_to_what_is_no_key_or_signature(public: bytes, signature: bytes) -> None:
    assert not verify(public, b"message", signature)


@pytest.mark.parametrize(("words", "seed"), BIP_39)
def test_mnemonics_are_those_of_bip_39(words: str, seed: str) -> None:
    assert Mnemonic.to_seed(words, "TREZOR").hex() == seed
    assert Keypair.from_mnemonic(f"  {words.upper()} ").seed == Mnemonic.to_seed(words)[:32]


def test_mnemonics_are_checked_and_generated() -> None:
    with pytest.raises(InvalidKey, match="BIP-39"):
        Keypair.from_mnemonic("abandon " * 12)
    words = generate_mnemonic()
    assert len(words.split()) == 12
    assert words != generate_mnemonic()
    assert Keypair.from_mnemonic(words).public == Keypair.from_mnemonic(words).public


def test_addresses_are_ss58() -> None:
    assert encode_address(bytes.fromhex(ALICE)) == ALICE_ADDRESS
    assert decode_address(f" {ALICE_ADDRESS}\n").hex() == ALICE


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
