"""The door of a network whose home lies on this machine, whether somebody drives it or not.

Invariants:
* what is read comes from the ledger's database as it is now; a driver that writes it meanwhile is never disturbed;
* a folder is copied aside, the copy is checked, and only what passed is adopted by the store: a refusal leaves nothing;
* its methods may be called from any thread.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from actors.errors import EndpointRefused
from actors.gateway import try_endpoint
from cluster.archive import open_chain
from cluster.config import OPERATOR, Network, Questions, Remote
from cluster.door import Holdings, Receipt, Registered, Terms
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.lease import read_holder
from ledger.errors import Refusal
from ledger.extrinsics import Extrinsic, Publish, Register, decode_extrinsic
from ledger.keys import Keypair
from ledger.rules.membership import compute_bumped_price
from ledger.state import State
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool
from ledger.wallet import Wallet
from models.intake.check import Checked, check_submission
from models.intake.listing import check_listing
from models.intake.quotas import Quotas
from models.store import Store

LOOKED_AT = 4096
"""How many waiting extrinsics are read for what they reserve and register: those behind them are many blocks away."""


class HomeDoor:
    """`cluster.door.Door` in front of a home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._lock = threading.Lock()
        self._chain: Chain | None = None

    def terms(self) -> Terms:
        """What the network is and where it stands. ClusterError where the home holds no network."""
        settings = read_settings(self.home)
        with self._reading() as chain, self._queue(chain) as mempool:
            genesis, state = chain.genesis, chain.state
            waiting = sum(isinstance(extrinsic.call, Register) for extrinsic in _waiting(mempool))
            return Terms(
                network=genesis.network,
                genesis=chain.genesis_hash,
                keeper=genesis.keeper,
                development=genesis.development,
                panel=genesis.panel,
                window_bytes=settings.query.window_bytes if settings else Questions().window_bytes,
                quotas=settings.submissions if settings else Quotas(),
                price_rao=_price_after(state, waiting),
                max_price_rao=genesis.parameters.registration_price_max_rao,
                height=chain.head.height,
                epoch=state.globals.epoch,
                phase=state.globals.phase,
                immunity_epochs=-(-genesis.parameters.immunity // genesis.parameters.tempo),
                running=read_holder(self.home.lease) is not None,
            )

    def holdings(self, public: bytes) -> Holdings:
        """What a key has; a registration that waits reserves what it would cost after those before it."""
        with self._reading() as chain, self._queue(chain) as mempool:
            while True:
                head = chain.head_hash
                held = _holdings(chain.state, mempool, public)
                # What a block took leaves the queue after the block is there: one in between shows as a new head.
                chain.refresh()
                if chain.head_hash == head:
                    return held

    def neurons(self) -> list[Registered]:
        """All neurons by uid."""
        with self._reading() as chain:
            return [
                Registered(
                    uid=neuron.uid,
                    name=neuron.name,
                    hotkey=neuron.hotkey,
                    coldkey=neuron.coldkey,
                    registered_epoch=neuron.registered_epoch,
                    manifest=neuron.manifest,
                    published_epoch=neuron.published_epoch,
                    endpoint=neuron.endpoint,
                )
                for neuron in chain.state.neurons()
            ]

    def deliver(self, folder: Path, payer: Keypair, progress: Callable[[int, int], None]) -> Checked:
        """Check a model folder and put it into the store. Raises ModelRefused, or Refusal `already_published`."""
        return self.receive(folder, payer.public, progress)

    def receive(self, folder: Path, payer: bytes, progress: Callable[[int, int], None]) -> Checked:
        """`deliver` for whoever holds only the payer's public key."""
        terms = self.terms()
        check_listing(folder, terms.quotas)
        size_bytes = sum(path.stat().st_size for path in folder.iterdir() if not path.name.startswith("."))
        progress(0, size_bytes)
        store = self.store()
        with store.staged(folder) as staged:
            self.check_unpublished(staged.manifest.hash, payer)
            checked = check_submission(
                staged.path,
                quotas=terms.quotas,
                panel=terms.panel,
                window_bytes=terms.window_bytes,
                base=store.materialize,
            )
            store.adopt(staged)
        progress(size_bytes, size_bytes)
        return checked

    def check_unpublished(self, manifest: bytes, payer: bytes) -> None:
        """Refusal `already_published` where a version is, or waits to be, another's than the payer's hotkey's."""
        with self._reading() as chain, self._queue(chain) as mempool:
            publisher = chain.state.publishers.get(manifest)
            origins = {chain.state.origin(e.signer) for e in _waiting(mempool) if e.call == Publish(manifest=manifest)}
            if publisher is not None:
                origins.add(publisher.origin)
            if origins - {chain.state.origin(payer)}:
                raise Refusal(
                    "already_published",
                    f"version {manifest.hex()[:16]} was published by another neuron before; submit one of your own",
                )

    def try_endpoint(self, endpoint: str, hotkey: bytes) -> None:
        """Ask an endpoint a small question, signed by the operator. Raises EndpointRefused."""
        terms, settings = self.terms(), read_settings(self.home)
        if terms.panel != "next_byte":
            raise EndpointRefused(
                "panel", f"{terms.network} shows whole windows, which no remote peer may see: submit a model folder"
            )
        remote = settings.remote if settings else Remote()
        try_endpoint(
            endpoint,
            hotkey=hotkey,
            genesis=terms.genesis,
            asker=Wallet.open(self.home.wallets, OPERATOR).hotkey(),
            window_bytes=terms.window_bytes,
            deadline_s=remote.deadline_s,
            allow_private=remote.allow_private,
        )

    def send(self, extrinsic: bytes) -> bytes:
        """Queue a signed extrinsic, and return its hash. Raises Refusal where it cannot be queued."""
        with self._reading() as chain, self._queue(chain) as mempool:
            return mempool.submit(extrinsic)

    def receipt(self, extrinsic_hash: bytes, since_height: int) -> Receipt | None:
        """What became of an extrinsic in the blocks after a height; None while no block holds it."""
        with self._reading() as chain:
            found = chain.receipt(extrinsic_hash, since_height + 1)
            if found is None:
                return None
            header = chain.header(found.height)
            return Receipt(height=found.height, epoch=header.epoch, code=found.code, final=found.final)

    def store(self) -> Store:
        """The network's store, with its depot where the configuration names one."""
        settings = read_settings(self.home)
        return Store(self.home.store, depot=settings.storage.depot if settings else "")

    def close(self) -> None:
        """Give the ledger's file back; a later call opens it again."""
        with self._lock:
            if self._chain is not None:
                self._chain.close()
                self._chain = None

    @contextmanager
    def _reading(self) -> Iterator[Chain]:
        with self._lock:
            if self._chain is None:
                self._chain = open_chain(self.home.folder)
            else:
                self._chain.refresh()
            yield self._chain

    @contextmanager
    def _queue(self, chain: Chain) -> Iterator[Mempool]:
        most_bytes = chain.genesis.parameters.max_extrinsic_bytes
        with closing(Mempool(self.home.mempool, chain.genesis_hash, max_bytes=most_bytes)) as mempool:
            yield mempool


def read_settings(home: Home) -> Network | None:
    """The configuration of the last run; None where the network was founded and never ran.

    Raises:
        ClusterError: the file is not what a run writes.
    """
    try:
        return msgspec.json.decode(home.resolved.read_bytes(), type=Network)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ClusterError(f"{home.resolved} is not a configuration ({error}): launch the network again") from None


def _waiting(mempool: Mempool) -> list[Extrinsic]:
    return [decode_extrinsic(data) for _, data in mempool.pending(LOOKED_AT)]


def _holdings(state: State, mempool: Mempool, public: bytes) -> Holdings:
    registrations = [(e.signer, e.call) for e in _waiting(mempool) if isinstance(e.call, Register)]
    return Holdings(
        free_rao=state.account(public),
        reserved_rao=sum(
            min(call.max_price_rao, _price_after(state, index))
            for index, (signer, call) in enumerate(registrations)
            if signer == public and isinstance(call, Register)
        ),
        next_nonce=mempool.next_nonce(public, state.nonce(public)),
    )


def _price_after(state: State, registrations: int) -> int:
    """What a registration costs in the next block that takes one, after so many others in it."""
    price_rao = state.globals.price_rao
    for _ in range(registrations):
        price_rao = compute_bumped_price(price_rao, state.parameters)
    return price_rao
