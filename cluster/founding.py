"""Founding a network, and coming back to it: wallets, genesis and the ledger's database.

Invariants:
* a home is founded once; a second run must bring the same ledger parameters, or is refused with the field's name;
* keys are random unless the genesis says `development`: then they come from the network's seed, so that runs can be
  compared, and are worth nothing.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from cluster.config import OPERATOR, Network
from cluster.errors import ConfigurationError
from cluster.home import Home
from ledger.errors import GenesisError
from ledger.genesis import Genesis, GenesisNeuron, validate_genesis
from ledger.store.chain import Chain
from ledger.units import RAO_PER_TAO
from ledger.wallet import Wallet, list_wallets


def find_genesis(network: Network, home: Home) -> Genesis | None:
    """The genesis of a home that was founded before; None where it was not.

    Raises:
        ConfigurationError: the configuration contradicts what the ledger fixed.
        LedgerError: the ledger's database is damaged.
    """
    if not home.chain.exists():
        return None
    with Chain.open(home.chain) as chain:
        genesis = chain.genesis
    _check_same(network, genesis)
    _wallets(network, home.wallets)
    return genesis


def found(network: Network, home: Home, private_text: bytes | None = None) -> Genesis:
    """Found a network in a new home; `private_text` is the root over its private documents.

    Raises:
        ConfigurationError: a ledger parameter is out of bounds.
    """
    genesis = make_genesis(network, _wallets(network, home.wallets), private_text)
    Chain.create(home.chain, genesis).close()
    return genesis


def make_genesis(network: Network, wallets: dict[str, Wallet], private_text: bytes | None = None) -> Genesis:
    """Block 0: the validators with their stakes, what the peers register with, and the treasury.

    Raises:
        ConfigurationError: a ledger parameter is out of bounds.
    """
    balances = [(OPERATOR, network.network.treasury_tao), *((peer.name, peer.balance_tao) for peer in network.peers)]
    genesis = Genesis(
        network=network.network.name,
        development=network.network.development,
        keeper=wallets[OPERATOR].hotkey_public(),
        parameters=network.ledger,
        balances=tuple((wallets[name].coldkey_public, tao * RAO_PER_TAO) for name, tao in balances if tao),
        stakes=tuple(
            (wallets[v.name].hotkey_public(), wallets[v.name].coldkey_public, v.stake_tao * RAO_PER_TAO)
            for v in network.validators
        ),
        neurons=tuple(
            GenesisNeuron(
                hotkey=wallets[v.name].hotkey_public(),
                coldkey=wallets[v.name].coldkey_public,
                name=v.name,
                permit=True,
            )
            for v in network.validators
        ),
        panel=network.query.panel,
        private_text=private_text,
    )
    try:
        validate_genesis(genesis)
    except GenesisError as error:
        raise ConfigurationError(error.field.replace("parameters", "ledger"), error.sentence) from error
    return genesis


def check_text(genesis: Genesis, private_text: bytes | None) -> None:
    """Raise ConfigurationError unless the private text, by its root, is what the genesis commits to."""
    if private_text != genesis.private_text:
        then, now = (root.hex()[:16] if root else "none" for root in (genesis.private_text, private_text))
        raise ConfigurationError(
            "data.private",
            f"was committed to at genesis with the root {then}, the text there now has {now}: bring back the documents "
            "and their limits of length, or found a new home",
        )


def _wallets(network: Network, folder: Path) -> dict[str, Wallet]:
    names = (OPERATOR, *(v.name for v in network.validators), *(p.name for p in network.peers))
    return {name: _wallet(network, folder, name, list_wallets(folder)) for name in names}


def _wallet(network: Network, folder: Path, name: str, existing: Iterable[str]) -> Wallet:
    if name in existing:
        return Wallet.open(folder, name)
    if not network.network.development:
        return Wallet.create(folder, name)[0]
    seeds = {
        part: hashlib.blake2b(
            f"taoray/development/{network.network.name}/{network.network.seed}/{name}/{part}".encode(), digest_size=32
        ).digest()
        for part in ("coldkey", "hotkey")
    }
    return Wallet.create(folder, name, coldkey_seed=seeds["coldkey"], hotkey_seed=seeds["hotkey"])[0]


def _check_same(network: Network, genesis: Genesis) -> None:
    if network.network.name != genesis.network:
        raise ConfigurationError("network.name", f"is {network.network.name!r}, but this home is {genesis.network!r}")
    if network.network.development != genesis.development:
        raise ConfigurationError("network.development", "was fixed at genesis; found a new home to change it")
    if network.query.panel != genesis.panel:
        raise ConfigurationError(
            "query.panel", f"was fixed at genesis as {genesis.panel}; found a new home to change it"
        )
    for field in network.ledger.__struct_fields__:
        now, then = getattr(network.ledger, field), getattr(genesis.parameters, field)
        if now != then:
            raise ConfigurationError(f"ledger.{field}", f"was fixed at genesis as {then}, the configuration says {now}")
