"""What a wallet's owner asks of the ledger: balances, transfers, stake, and the faucet of networks in development.

Invariants: what is asked is signed here and queued for the next block, whether the network runs or not; a secret is
used and forgotten; the faucet gives the treasury's TAO only where the genesis says `development`.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

from cluster.archive import open_chain
from cluster.config import OPERATOR
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.queueing import VALID_BLOCKS, queueing
from ledger.extrinsics import AddStake, Call, RemoveStake, Transfer, encode_extrinsic, sign_extrinsic
from ledger.keys import Keypair, decode_address, encode_address
from ledger.store.mempool import Mempool
from ledger.wallet import Wallet, list_wallets


def balances(home: Path | str) -> list[dict[str, Any]]:
    """The wallets in a home: name, coldkey (address), encrypted, and what it holds, free and staked, in RAO."""
    place = Home(Path(home).absolute())
    wallets = [Wallet.open(place.wallets, name) for name in list_wallets(place.wallets)]
    with open_chain(place.folder) as chain:
        pools = [neuron.hotkey for neuron in chain.state.neurons()]
        return [
            {
                "name": wallet.name,
                "coldkey": encode_address(wallet.coldkey_public),
                "encrypted": wallet.encrypted,
                "free_rao": chain.state.account(wallet.coldkey_public),
                "staked_rao": sum(chain.state.stake_of(hotkey, wallet.coldkey_public) for hotkey in pools),
            }
            for wallet in wallets
        ]


def transfer(home: Path | str, wallet: str, to: str, amount_rao: int, *, password: str | None = None) -> str:
    """Sign a transfer and queue it for the next block, whether the network runs or not.

    Args:
        to: a wallet of this home, or an address.

    Returns:
        the extrinsic's hash, hex.

    Raises:
        WalletError: no such wallet, or a wrong password. InvalidKey: `to` is neither. Refusal: it cannot be queued.
    """
    place = Home(Path(home).absolute())
    target = Wallet.open(place.wallets, to).coldkey_public if to in list_wallets(place.wallets) else decode_address(to)
    signer = Wallet.open(place.wallets, wallet).coldkey(password)
    return _queue(place, signer, Transfer(to=target, amount_rao=amount_rao))


def stake(home: Path | str, wallet: str, hotkey: str, amount_rao: int, *, password: str | None = None) -> str:
    """Put free balance on a hotkey: on a neuron's (by its name), on a wallet's default one, or on an address.

    Returns, raises as `transfer`.
    """
    place = Home(Path(home).absolute())
    target, signer = _find_hotkey(place, hotkey), Wallet.open(place.wallets, wallet).coldkey(password)
    return _queue(place, signer, AddStake(hotkey=target, amount_rao=amount_rao))


def unstake(home: Path | str, wallet: str, hotkey: str, amount_rao: int, *, password: str | None = None) -> str:
    """Take stake back from a hotkey into free balance. Arguments, returns, raises as `stake`."""
    place = Home(Path(home).absolute())
    target, signer = _find_hotkey(place, hotkey), Wallet.open(place.wallets, wallet).coldkey(password)
    return _queue(place, signer, RemoveStake(hotkey=target, amount_rao=amount_rao))


def faucet(home: Path | str, wallet: str, amount_rao: int) -> str:
    """Give a wallet, or an address, some of the treasury's TAO, on a network in development.

    Returns as `transfer`, and raises as it does; ClusterError on any other network.
    """
    place = Home(Path(home).absolute())
    with open_chain(place.folder) as chain:
        if not chain.genesis.development:
            raise ClusterError(f"{chain.genesis.network} is not a network in development: it has no faucet")
    return transfer(home, OPERATOR, wallet, amount_rao)


def send(home: Path | str, wallet: str, call: Call, *, hotkey: str | None = None, password: str | None = None) -> str:
    """Sign any of the ledger's calls (`ledger.extrinsics`) and queue it for the next block of its kind.

    Args:
        hotkey: the wallet's hotkey that signs, such as "default"; the coldkey if None.

    Returns, raises as `transfer`.
    """
    place = Home(Path(home).absolute())
    keys = Wallet.open(place.wallets, wallet)
    return _queue(place, keys.coldkey(password) if hotkey is None else keys.hotkey(hotkey), call)


def _find_hotkey(place: Home, name: str) -> bytes:
    with open_chain(place.folder) as chain:
        named = [neuron.hotkey for neuron in chain.state.neurons() if neuron.name == name]
    if len(named) > 1:
        raise ClusterError(f"{len(named)} neurons are named {name!r}: give the address of the hotkey")
    if named:
        return named[0]
    return (
        Wallet.open(place.wallets, name).hotkey_public()
        if name in list_wallets(place.wallets)
        else decode_address(name)
    )


def _queue(place: Home, signer: Keypair, call: Call) -> str:
    with queueing(place), open_chain(place.folder) as chain:
        most_bytes = chain.genesis.parameters.max_extrinsic_bytes
        with closing(Mempool(place.mempool, chain.genesis_hash, max_bytes=most_bytes)) as mempool:
            extrinsic = sign_extrinsic(
                call,
                signer,
                genesis_hash=chain.genesis_hash,
                nonce=mempool.next_nonce(signer.public, chain.state.nonce(signer.public)),
                valid_until=chain.head.height + VALID_BLOCKS,
            )
            return mempool.submit(encode_extrinsic(extrinsic)).hex()
