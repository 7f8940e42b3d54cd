"""Wallets: the folder of keys of one owner, laid out as in btcli.

<wallets>/<name>/coldkey  coldkeypub.txt  hotkeys/<hotkey>

Invariants: files are readable by their owner alone (0600, folders 0700) and written whole or not at all; an existing
key is never overwritten; a coldkey with a password is on disk only as Argon2id + secretbox; no secret is in an error or
a repr.
"""

import os
import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from nacl import pwhash, secret, utils
from nacl.exceptions import CryptoError

from ledger.errors import InvalidKey, WalletError
from ledger.keys import Keypair, decode_address, generate_mnemonic

DEFAULT_HOTKEY = "default"
OPERATIONS = pwhash.argon2id.OPSLIMIT_MODERATE
MEMORY_BYTES = pwhash.argon2id.MEMLIMIT_MODERATE
"""What a guess at a password costs: 3 passes over 256 MiB, about a second. Key files keep theirs, so these can rise."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class PlainKey(Struct, frozen=True, kw_only=True, tag="plain", forbid_unknown_fields=True):
    """A key file without password."""

    address: str
    seed: Annotated[bytes, Meta(min_length=32, max_length=32)]

    def __repr__(self) -> str:
        return f"PlainKey({self.address})"


class SealedKey(Struct, frozen=True, kw_only=True, tag="argon2id+secretbox", forbid_unknown_fields=True):
    """A key file whose seed is encrypted by a key derived from the password; the limits are libsodium's."""

    address: str
    salt: Annotated[bytes, Meta(min_length=pwhash.argon2id.SALTBYTES, max_length=pwhash.argon2id.SALTBYTES)]
    operations: Annotated[int, Meta(ge=1, le=pwhash.argon2id.OPSLIMIT_SENSITIVE)]
    memory_bytes: Annotated[int, Meta(ge=8192, le=pwhash.argon2id.MEMLIMIT_SENSITIVE)]
    box: bytes


class Wallet:
    """An open wallet: a name, a coldkey that may need a password, and hotkeys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name

    @classmethod
    def create(
        cls,
        folder: str | Path,
        name: str,
        *,
        password: str | None = None,
        mnemonic: str | None = None,
        coldkey_seed: bytes | None = None,
        hotkey_seed: bytes | None = None,
    ) -> "tuple[Wallet, str]":
        """A new wallet with a hotkey "default", and the coldkey's words ("" if it is from a seed). WalletError if it
        exists.

        The coldkey is random, or from the mnemonic, or from the seed; seeds are for networks in development.
        """
        path = _checked_path(Path(folder), name)
        if (path / "coldkey").exists():
            raise WalletError(f"{path}: there is a wallet of this name already; choose another name")
        words = "" if coldkey_seed else mnemonic or generate_mnemonic()
        keypair = Keypair.from_seed(coldkey_seed) if coldkey_seed else Keypair.from_mnemonic(words)
        wallet = cls(path)
        for made in (path.parent, path, path / "hotkeys"):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not wallet._hotkey_path(DEFAULT_HOTKEY).exists():
            wallet.create_hotkey(DEFAULT_HOTKEY, seed=hotkey_seed)
        _write_new(path / "coldkeypub.txt", (keypair.address + "\n").encode(), replace=True)
        _write_new(path / "coldkey", _encode_key(keypair, password))
        return wallet, words

    @classmethod
    def open(cls, folder: str | Path, name: str) -> "Wallet":
        """An existing wallet; WalletError if there is none of this name."""
        path = _checked_path(Path(folder), name)
        if not (path / "coldkeypub.txt").is_file():
            raise WalletError(f"{path}: there is no wallet of this name; `taoray wallet new` makes one")
        return cls(path)

    @property
    def coldkey_public(self) -> bytes:
        """The coldkey's public key; no password needed."""
        path = self.folder / "coldkeypub.txt"
        try:
            return decode_address(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, InvalidKey) as error:
            raise WalletError(f"{path}: the coldkey's address can't be read: {error}") from None

    @property
    def encrypted(self) -> bool:
        """Whether the coldkey needs a password."""
        return isinstance(_read_key(self.folder / "coldkey"), SealedKey)

    def coldkey(self, password: str | None = None) -> Keypair:
        """The coldkey; WalletError if it needs a password and this isn't it."""
        path = self.folder / "coldkey"
        return _open_key(_read_key(path), password, path)

    def hotkey(self, name: str = DEFAULT_HOTKEY) -> Keypair:
        """A hotkey of this wallet; WalletError if there is none of this name."""
        path = self._hotkey_path(name)
        return _open_key(_read_key(path), None, path)

    def hotkey_public(self, name: str = DEFAULT_HOTKEY) -> bytes:
        """A hotkey's public key."""
        return self.hotkey(name).public

    def create_hotkey(self, name: str, seed: bytes | None = None) -> Keypair:
        """A new hotkey, random or from a seed; WalletError if there is one of this name."""
        keypair = Keypair.from_seed(seed) if seed else Keypair.generate()
        _write_new(self._hotkey_path(name), _encode_key(keypair, None))
        return keypair

    def hotkeys(self) -> list[str]:
        """The names of the hotkeys."""
        return sorted(path.name for path in (self.folder / "hotkeys").glob("*") if _NAME.fullmatch(path.name))

    def _hotkey_path(self, name: str) -> Path:
        return _checked_path(self.folder / "hotkeys", name)

    def __repr__(self) -> str:
        return f"Wallet({self.folder})"


def list_wallets(folder: str | Path) -> list[str]:
    """The names of the wallets in a folder; none if there is no such folder."""
    return sorted(path.parent.name for path in Path(folder).glob("*/coldkeypub.txt"))


def _checked_path(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise WalletError(f"{name!r} can't name a key: use up to 64 letters, digits, dots, dashes and underscores")
    return folder / name


def _encode_key(keypair: Keypair, password: str | None) -> bytes:
    if password is None:
        key: PlainKey | SealedKey = PlainKey(address=keypair.address, seed=keypair.seed)
        return msgspec.json.encode(key)
    salt = utils.random(pwhash.argon2id.SALTBYTES)
    box = _box(password, salt, OPERATIONS, MEMORY_BYTES).encrypt(keypair.seed)
    key = SealedKey(
        address=keypair.address, salt=salt, operations=OPERATIONS, memory_bytes=MEMORY_BYTES, box=bytes(box)
    )
    return msgspec.json.encode(key)


def _read_key(path: Path) -> PlainKey | SealedKey:
    try:
        return msgspec.json.decode(path.read_bytes(), type=PlainKey | SealedKey)
    except FileNotFoundError:
        raise WalletError(f"{path}: there is no such key") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        raise WalletError(f"{path}: the file is not a key file, or this user may not read it") from None


def _open_key(key: PlainKey | SealedKey, password: str | None, path: Path) -> Keypair:
    if isinstance(key, PlainKey):
        keypair = Keypair.from_seed(key.seed)
    elif password is None:
        raise WalletError(f"{path}: the key is encrypted; give its password")
    else:
        try:
            seed = _box(password, key.salt, key.operations, key.memory_bytes).decrypt(key.box)
        except (CryptoError, ValueError):
            raise WalletError(f"{path}: the password is wrong, or the file is damaged") from None
        keypair = Keypair.from_seed(seed)
    if keypair.address != key.address:
        raise WalletError(f"{path}: the key in the file is not the one of its address; the file is damaged")
    return keypair


def _box(password: str, salt: bytes, operations: int, memory_bytes: int) -> secret.SecretBox:
    derived = pwhash.argon2id.kdf(
        secret.SecretBox.KEY_SIZE, password.encode(), salt, opslimit=operations, memlimit=memory_bytes
    )
    return secret.SecretBox(derived)


def _write_new(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file that only its owner may read, whole or not at all; WalletError if it is there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            partial.replace(path)
        else:
            os.link(partial, path)
    except FileExistsError:
        raise WalletError(f"{path}: there is a key of this name already; choose another name") from None
    finally:
        partial.unlink(missing_ok=True)
