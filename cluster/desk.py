"""Where a submission is made: a network's door, and the wallets that sign.

Invariants: a coldkey's secret is read only where it has to sign; a wallet is made, and the faucet is asked, only in the
home of a network in development.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from cluster.config import OPERATOR
from cluster.door import Door, Receipt, Registered, Terms
from cluster.errors import SubmissionRefused
from cluster.home import Home
from cluster.home_door import HomeDoor, read_settings
from cluster.queueing import VALID_BLOCKS, queueing
from cluster.records import Record, Records, records_of
from cluster.show import Progress
from ledger.blocks import APPLIED
from ledger.errors import REFUSALS, Refusal
from ledger.extrinsics import Call, encode_extrinsic, sign_extrinsic
from ledger.keys import Keypair
from ledger.wallet import DEFAULT_HOTKEY, Wallet, list_wallets

RUNNING_WAIT_S = 600.0
"""How long a submission to a running network waits for the blocks that hold it."""

POLL_S = 0.5
POLL_FAR_S = 2.0
"""How often a home's ledger is read while that is waited for, and how often a network elsewhere is asked."""


@dataclass(frozen=True)
class Keys:
    """Who signs for a neuron: a wallet and the name of its hotkey."""

    wallet: Wallet
    hotkey_name: str

    @property
    def hotkey(self) -> Keypair:
        """The hotkey, which needs no password."""
        return self.wallet.hotkey(self.hotkey_name)


@dataclass(frozen=True)
class Desk:
    """A door, and the folders of those who stand before it.

    Attributes:
        home: holds the wallets; also the network, unless that is elsewhere.
        local: whether the network is in this home.
    """

    door: Door
    home: Home
    terms: Terms
    local: bool
    records: Records

    def own(self) -> dict[bytes, Keys]:
        """The hotkeys of the wallets here, by public key."""
        wallets = [Wallet.open(self.home.wallets, name) for name in list_wallets(self.home.wallets)]
        return {wallet.hotkey_public(hotkey): Keys(wallet, hotkey) for wallet in wallets for hotkey in wallet.hotkeys()}

    def mine(self, name: str) -> tuple[Registered, Keys] | None:
        """The neuron of that name whose hotkey is here; None where the ledger has none of the name.

        Raises:
            SubmissionRefused: `name_taken` where all of that name are others'.
        """
        named = [neuron for neuron in self.door.neurons() if neuron.name == name]
        own = self.own()
        for neuron in named:
            if neuron.hotkey in own:
                return neuron, own[neuron.hotkey]
        if named:
            raise SubmissionRefused(
                "name_taken",
                f"{name!r} is uid {named[0].uid}, whose hotkey is in no wallet of {self.home.wallets}: choose another "
                "--name, or name the --home with its wallet",
            )
        return None

    def waiting(self, name: str) -> Record | None:
        """The record of a submission of that name that no block has taken yet, and one still may."""
        record = self.records.read(name, self.terms.genesis)
        if record is None or record.valid_until <= self.terms.height:
            return None
        found = [self.door.receipt(bytes.fromhex(h), record.since_height) for h in record.extrinsics]
        # A network elsewhere may tell of its neurons a moment later than of a receipt.
        return record if any(receipt is None or receipt.height > self.terms.height for receipt in found) else None

    def find_wallet(self, name: str) -> Wallet:
        """The wallet of that name, made where the home's network is in development.

        Raises:
            SubmissionRefused: `no_wallet`.
        """
        if name in list_wallets(self.home.wallets):
            return Wallet.open(self.home.wallets, name)
        if self.faucet:
            return Wallet.create(self.home.wallets, name)[0]
        raise SubmissionRefused(
            "no_wallet",
            f"there is no wallet {name!r} in {self.home.wallets}: `taoray wallet new {name} --home {self.home.folder}` "
            "makes one; or name one with --wallet",
        )

    def choose_hotkey(self, wallet: Wallet, asked: str | None, name: str) -> Keys:
        """The hotkey for a new neuron: as asked, else "default" where it never signed, else one named like the neuron,
        made where it is not there.

        Raises:
            SubmissionRefused: `hotkey_taken` where it has a uid already.
        """
        taken = {neuron.hotkey for neuron in self.door.neurons()}
        chosen = asked
        settings = read_settings(self.home) if self.local else None
        # A peer of the configuration registers its wallet's default hotkey itself, in the first epoch.
        kept = settings is not None and wallet.name != name and wallet.name in {peer.name for peer in settings.peers}
        if chosen is None and not kept and DEFAULT_HOTKEY in wallet.hotkeys():
            public = wallet.hotkey_public(DEFAULT_HOTKEY)
            if public not in taken and self.door.holdings(public).next_nonce == 1:
                chosen = DEFAULT_HOTKEY
        chosen = chosen or name
        if chosen not in wallet.hotkeys():
            wallet.create_hotkey(chosen)
        if wallet.hotkey_public(chosen) in taken:
            raise SubmissionRefused(
                "hotkey_taken", f"hotkey {chosen!r} of wallet {wallet.name} has a uid already: name another --hotkey"
            )
        return Keys(wallet, chosen)

    def grant_rao(self, public: bytes, needed_rao: int) -> int:
        """What the faucet has to give so that a key can pay, 0 where it can.

        Raises:
            SubmissionRefused: `insufficient_balance` where there is no faucet, or it has not as much.
        """
        held = self.door.holdings(public)
        lacking_rao = needed_rao - (held.free_rao - held.reserved_rao)
        if lacking_rao <= 0:
            return 0
        if not self.faucet:
            raise SubmissionRefused(
                "insufficient_balance",
                f"the wallet has {held.free_rao} RAO free, {held.reserved_rao} of it for what waits already, and "
                f"{needed_rao} are needed: send it TAO first, or accept less with --max-price and --stake",
            )
        treasury = self.door.holdings(Wallet.open(self.home.wallets, OPERATOR).coldkey_public)
        if treasury.free_rao < lacking_rao:
            raise SubmissionRefused(
                "insufficient_balance",
                f"the wallet lacks {lacking_rao} RAO, and the network's treasury has {treasury.free_rao}",
            )
        return lacking_rao

    @property
    def faucet(self) -> bool:
        """Whether the treasury gives what a wallet lacks."""
        return self.local and self.terms.development

    def treasury(self) -> Keypair:
        """Who gives it."""
        return Wallet.open(self.home.wallets, OPERATOR).coldkey()

    def keys_of(self, record: Record) -> Keys:
        """Who signs for what was submitted under a record."""
        return Keys(Wallet.open(self.home.wallets, record.wallet), record.hotkey)

    @contextmanager
    def queue(self) -> Iterator[None]:
        """Hold the queue while nonces are read and used; one that is elsewhere cannot be held."""
        with queueing(self.home) if self.local else nullcontext():
            yield

    def send(self, calls: Sequence[tuple[Call, Keypair]], record: Record) -> Record:
        """Sign and queue calls in their order, and keep the record of it; it is returned with what it lacked."""
        valid_until = self.terms.height + VALID_BLOCKS
        nonces: dict[bytes, int] = {}
        hashes = []
        for call, keypair in calls:
            if keypair.public not in nonces:
                nonces[keypair.public] = self.door.holdings(keypair.public).next_nonce
            extrinsic = sign_extrinsic(
                call,
                keypair,
                genesis_hash=self.terms.genesis,
                nonce=nonces[keypair.public],
                valid_until=valid_until,
            )
            nonces[keypair.public] += 1
            hashes.append(self.door.send(encode_extrinsic(extrinsic)).hex())
        kept = replace(
            record,
            genesis=self.terms.genesis.hex(),
            since_height=self.terms.height,
            valid_until=valid_until,
            extrinsics=tuple(hashes),
        )
        self.records.write(kept)
        return kept

    def wait(self, record: Record, wait_s: float | None, show: Progress) -> list[Receipt]:
        """The receipts of what was sent, in its order; none where the time is over, or nobody drives the network,
        before all are in blocks.

        Args:
            wait_s: how long; None: `RUNNING_WAIT_S` where the network runs, else not at all.

        Raises:
            Refusal: a block refused one of them.
        """
        running = self.terms.running
        end = time.monotonic() + (wait_s if wait_s is not None else RUNNING_WAIT_S if running else 0.0)
        if end > time.monotonic():
            show.step(f"waiting for the next open block of {self.terms.network}")
        while True:
            found = [self.door.receipt(bytes.fromhex(h), record.since_height) for h in record.extrinsics]
            receipts = [receipt for receipt in found if receipt is not None]
            for receipt in receipts:
                if receipt.code != APPLIED:
                    raise Refusal(receipt.code, f"refused in block {receipt.height}: {REFUSALS[receipt.code]}")
            if len(receipts) == len(found) and self.door.terms().height >= max(r.height for r in receipts):
                return receipts
            if time.monotonic() > end or (wait_s is None and not self.door.terms().running):
                return []
            time.sleep(POLL_S if self.local else POLL_FAR_S)


@contextmanager
def open_desk(home: Home, network: str | None) -> Iterator[Desk]:
    """The desk of a home's network, or of one at a URL with the wallets of the home, for as long as the context.

    Raises:
        ClusterError: the home holds no network, or nobody answers at the URL.
    """
    if network is None:
        with closing(HomeDoor(home)) as door:
            yield Desk(door, home, door.terms(), True, records_of(home))
        return
    from cluster.serve.client import UrlDoor  # brings an HTTP client, which a home does not need

    far = UrlDoor(network)
    terms = far.terms()
    yield Desk(far, home, terms, False, records_of(home, terms.genesis))


def as_name(text: str) -> str:
    """A legal name for a neuron, made of a text: lower case, anything else than letters, digits, dot, dash and
    underscore as a dash, at most 63 characters.
    """
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text.lower())
    return plain.strip("._-")[:63].rstrip("._-")


def default_name(model: Path | str, endpoint: str | None) -> str:
    """A name for a submission that has none: the folder's, or the endpoint's host and port."""
    if endpoint is None:
        return as_name(Path(model).absolute().name)
    return as_name(endpoint.partition("://")[2].partition("/")[0])
