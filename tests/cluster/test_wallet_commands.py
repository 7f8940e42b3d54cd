"""`taoray wallet`: keys that come back, messages, stake, the faucet, and secrets that stay secret."""

import json
import logging
import pickle
import stat
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from nacl import pwhash

import taoray
from cluster.cli.main import app
from cluster.config import load_network
from cluster.founding import found
from cluster.home import Home
from ledger.errors import InvalidKey, LedgerError, WalletError
from ledger.extrinsics import AddStake, RemoveStake, Transfer, decode_extrinsic
from ledger.keys import Keypair, generate_mnemonic
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool
from ledger.wallet import Wallet, _read_key

Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id at its least cost."""
    monkeypatch.setattr("ledger.wallet.OPERATIONS", pwhash.argon2id.OPSLIMIT_MIN)
    monkeypatch.setattr("ledger.wallet.MEMORY_BYTES", pwhash.argon2id.MEMLIMIT_MIN)


def queued(home: Path) -> list[object]:
    with Chain.open(Home(home).chain) as chain:
        mempool = Mempool(Home(home).mempool, chain.genesis_hash)
        calls = [decode_extrinsic(data).call for _, data in mempool.pending()]
        mempool.close()
        return calls


def test_a_wallet_comes_back_from_its_words(run: Command, home: Path) -> None:
    made = json.loads(run("wallet", "new", "anna", "--no-password", "--home", str(home), "--json").stdout)
    words = made["mnemonic"]
    done = run("wallet", "recover", "again", "--home", str(home), "--json", typed=f"{words}\nan old password\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"name": "again", "coldkey": made["coldkey"]}
    again = Wallet.open(Home(home).wallets, "again")
    assert again.encrypted
    assert again.coldkey("an old password").public == Keypair.from_mnemonic(words).public
    for path in again.folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert run("wallet", "recover", "again", "--no-password", "--home", str(home), typed=words).returncode == 1
    for wrong in ("", "these are no words", f"{words} {words}"):
        refused = run("wallet", "recover", "never", "--no-password", "--home", str(home), typed=wrong)
        assert refused.returncode == 1
        assert "never" not in {path.name for path in Home(home).wallets.iterdir()}
        assert not wrong or wrong not in refused.stdout + refused.stderr


def test_a_message_is_signed_and_checked(run: Command, home: Path) -> None:
    signed = json.loads(run("wallet", "sign", "ada", "I am ada", "--home", str(home), "--json").stdout)
    assert run("wallet", "verify", signed["address"], "I am ada", signed["signature"]).returncode == 0
    piped = run("wallet", "verify", signed["address"], "-", signed["signature"], "--json", typed="I am ada")
    assert json.loads(piped.stdout) == {"address": signed["address"], "good": True}
    other = json.loads(
        run("wallet", "sign", "ada", "I am ada", "--hotkey", "default", "--home", str(home), "--json").stdout
    )
    assert other["address"] != signed["address"]
    for address, message, signature in (
        (signed["address"], "I am eve", signed["signature"]),
        (other["address"], "I am ada", signed["signature"]),
        (signed["address"], "I am ada", other["signature"]),
        (signed["address"], "I am ada", "00"),
    ):
        assert run("wallet", "verify", address, message, signature).returncode == 1
    assert run("wallet", "verify", signed["address"], "I am ada", "no digits").returncode == 2


def test_stake_and_faucet_are_queued(run: Command, home: Path) -> None:
    for command in (("stake", "ada", "vera", "2.5"), ("unstake", "ada", "vera", "1"), ("faucet", "ada", "7")):
        done = run("wallet", *command, "--home", str(home), "--json")
        assert done.returncode == 0, done.stderr
    vera, ada = Wallet.open(Home(home).wallets, "vera"), Wallet.open(Home(home).wallets, "ada")
    assert queued(home) == [
        AddStake(hotkey=vera.hotkey_public(), amount_rao=2_500_000_000),
        RemoveStake(hotkey=vera.hotkey_public(), amount_rao=1_000_000_000),
        Transfer(to=ada.coldkey_public, amount_rao=7_000_000_000),
    ]
    for wrong in (("stake", "ada", "nobody", "1"), ("stake", "ada", "vera", "much"), ("faucet", "nobody", "1")):
        assert run("wallet", *wrong, "--home", str(home)).returncode in (1, 2)


def test_only_networks_in_development_have_a_faucet(run: Command, tiny_toml: Path, tmp_path: Path) -> None:
    network = load_network(tiny_toml, ["network.development=false"])
    found(network, Home(tmp_path))
    done = run("wallet", "faucet", network.peers[0].name, "1", "--home", str(tmp_path))
    assert done.returncode == 1
    assert "no faucet" in done.stderr
    assert queued(tmp_path) == []


def test_an_encrypted_coldkey_asks_for_its_password(run: Command, home: Path) -> None:
    assert run("wallet", "new", "eva", "--home", str(home), typed="open sesame\n").returncode == 0
    address = taoray.Wallet.open(Home(home).wallets, "eva").coldkey_public
    for command in (("transfer", "eva", "ada", "1"), ("stake", "eva", "vera", "1"), ("sign", "eva", "hello")):
        right = run("wallet", *command, "--home", str(home), typed="open sesame\n")
        wrong = run("wallet", *command, "--home", str(home), typed="open barley\n")
        silent = run("wallet", *command, "--home", str(home))
        assert (right.returncode, wrong.returncode, silent.returncode) == (0, 1, 1), right.stderr
        assert "barley" not in wrong.stderr + wrong.stdout
    assert len(queued(home)) == 2
    assert address


def test_no_command_takes_a_secret_as_an_argument() -> None:
    commands = [typer.main.get_command(app)]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        for parameter in command.params:
            secret = {"mnemonic", "words", "password", "passphrase", "seed", "secret"} & {parameter.name or ""}
            assert not secret or parameter.is_flag, f"{command.name} takes {parameter.name}"
            assert not {name for name in parameter.opts if "password" in name and not parameter.is_flag}


def test_no_secret_is_in_what_fails_or_is_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    words = generate_mnemonic()
    wallet, _ = Wallet.create(tmp_path, "anna", mnemonic=words)
    keypair = wallet.coldkey()
    secrets = [words, keypair.seed.hex(), repr(keypair.seed)]
    shown = [repr(keypair), str(keypair), repr(wallet), repr(_read_key(wallet.folder / "coldkey")), f"{keypair!r:>80}"]
    failures: list[Callable[[], object]] = [
        lambda: Keypair.from_mnemonic(words + " zoo"),
        lambda: Keypair.from_seed(keypair.seed + b"!"),
        lambda: Wallet.create(tmp_path, "anna", mnemonic=words),
        lambda: Wallet.create(tmp_path, "bob", mnemonic=words.replace(words.split()[0], "zzz")),
        lambda: (
            (wallet.folder / "coldkey").write_bytes((wallet.folder / "coldkey").read_bytes()[:-3]) and wallet.coldkey()
        ),
    ]
    for fail in failures:
        with pytest.raises((InvalidKey, WalletError)) as error:
            fail()
        assert isinstance(pickle.loads(pickle.dumps(error.value)), LedgerError)
        chain: BaseException | None = error.value
        while chain is not None:
            shown += [str(chain), repr(chain), repr(chain.args)]
            chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
        shown.append("".join(traceback.format_exception_only(error.value)))
    shown.append(caplog.text)
    for secret in secrets:
        assert not [text for text in shown if secret in text]


def test_a_home_keeps_its_secrets_in_its_wallets(home: Path) -> None:
    place = Home(home)
    wallets = [Wallet.open(place.wallets, path.name) for path in place.wallets.iterdir()]
    seeds = [key.seed for wallet in wallets for key in (wallet.coldkey(), wallet.hotkey())]
    files = [path for path in home.rglob("*") if path.is_file() and place.wallets not in path.parents]
    assert files
    for path in files:
        data = path.read_bytes()
        assert not [seed for seed in seeds if seed in data or seed.hex().encode() in data], path
