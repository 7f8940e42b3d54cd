"""Wallet folders: modes, encryption, recovery, and what goes wrong."""

import stat
from pathlib import Path

import pytest
from nacl import pwhash

from ledger.errors import InvalidKey, WalletError
from ledger.keys import Keypair, encode_address
from ledger.wallet import Wallet, list_wallets


def test_a_wallet_is_laid_out_as_in_btcli_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    wallet, words = Wallet.create(tmp_path / "wallets", "alice")
    files = {path.relative_to(wallet.folder).as_posix() for path in wallet.folder.rglob("*") if path.is_file()}
    assert files == {"coldkey", "coldkeypub.txt", "hotkeys/default"}
    for path in [wallet.folder, *wallet.folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert (wallet.folder / "coldkeypub.txt").read_text().strip() == encode_address(wallet.coldkey_public)
    assert Keypair.from_mnemonic(words).public == wallet.coldkey().public == wallet.coldkey_public
    assert not wallet.encrypted


def test_a_password_encrypts_the_coldkey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.wallet.OPERATIONS", pwhash.argon2id.OPSLIMIT_MIN)
    monkeypatch.setattr("ledger.wallet.MEMORY_BYTES", pwhash.argon2id.MEMLIMIT_MIN)
    wallet, words = Wallet.create(tmp_path, "alice", password="correct horse")
    secret = Keypair.from_mnemonic(words).seed
    opened = Wallet.open(tmp_path, "alice")
    assert opened.encrypted
    assert opened.coldkey("correct horse").seed == secret
    for path in wallet.folder.rglob("*"):
        assert path.is_dir() or (secret not in path.read_bytes() and secret.hex().encode() not in path.read_bytes())
    with pytest.raises(WalletError, match="give its password"):
        opened.coldkey()
    with pytest.raises(WalletError, match="password is wrong"):
        opened.coldkey("incorrect horse")
    assert opened.coldkey_public == wallet.coldkey_public
    assert opened.hotkey().public == wallet.hotkey_public()


def test_a_wallet_comes_back_from_its_words_or_its_seed(tmp_path: Path) -> None:
    first, words = Wallet.create(tmp_path, "first")
    again, same = Wallet.create(tmp_path, "again", mnemonic=words)
    assert (again.coldkey_public, same) == (first.coldkey_public, words)
    seeded, no_words = Wallet.create(tmp_path, "seeded", coldkey_seed=bytes(31) + b"\1", hotkey_seed=bytes(31) + b"\2")
    assert no_words == ""
    assert seeded.coldkey().seed == bytes(31) + b"\1"
    assert seeded.hotkey().seed == bytes(31) + b"\2"
    assert list_wallets(tmp_path) == ["again", "first", "seeded"]
    assert list_wallets(tmp_path / "none") == []
    with pytest.raises(InvalidKey):
        Wallet.create(tmp_path, "wrong", mnemonic="these are no words")
    assert "wrong" not in list_wallets(tmp_path)


def test_hotkeys_are_made_listed_and_never_overwritten(tmp_path: Path) -> None:
    wallet, _ = Wallet.create(tmp_path, "alice")
    made = wallet.create_hotkey("miner-2")
    assert wallet.hotkeys() == ["default", "miner-2"]
    assert wallet.hotkey("miner-2").public == made.public
    with pytest.raises(WalletError, match="already"):
        wallet.create_hotkey("miner-2")
    with pytest.raises(WalletError, match="already"):
        Wallet.create(tmp_path, "alice")
    assert wallet.hotkey("miner-2").public == made.public
    assert wallet.hotkeys() == ["default", "miner-2"]


@pytest.mark.parametrize("name", ["", "..", "../alice", "a/b", ".hidden", "x" * 65, "a b"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WalletError, match="can't name a key"):
        Wallet.create(tmp_path, name)
    wallet, _ = Wallet.create(tmp_path, "alice")
    with pytest.raises(WalletError, match="can't name a key"):
        wallet.hotkey(name)


def test_missing_and_damaged_keys_are_said_without_showing_them(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="no wallet of this name"):
        Wallet.open(tmp_path, "nobody")
    wallet, _ = Wallet.create(tmp_path, "alice")
    with pytest.raises(WalletError, match="no such key"):
        wallet.hotkey("other")
    path = wallet.folder / "hotkeys" / "default"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(WalletError, match="not a key file"):
        wallet.hotkey()
    other, _ = Wallet.create(tmp_path, "other")
    mixed = path.with_name("mixed")
    mixed.write_bytes(
        (other.folder / "coldkey")
        .read_bytes()
        .replace(encode_address(other.coldkey_public).encode(), encode_address(wallet.coldkey_public).encode())
    )
    with pytest.raises(WalletError, match="damaged") as damage:
        wallet.hotkey("mixed")
    assert other.coldkey().seed.hex() not in str(damage.value)
