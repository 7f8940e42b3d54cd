"""Keeper and validators of a network on disks that can be lost, without Ray and without text: the test is the driver.

The keeper, the replicas with their oaths, the home's replica and queue, and the driver's own way to the ledger are the
product's. What is not there: what validators value, which the ledger does not need.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from actors.disk import Disk
from actors.keeper import Keeper, KeeperSettings
from actors.replica import Replica
from cluster.assembly import Answers
from cluster.errors import Gone
from cluster.following import Follower
from cluster.home import Home
from cluster.leading import Leading
from cluster.sealing import make_final, seal_final
from cluster.show import Quiet
from ledger.errors import LedgerError
from ledger.extrinsics import Transfer, encode_extrinsic, sign_extrinsic
from ledger.genesis import Genesis, GenesisNeuron
from ledger.store.chain import Chain
from ledger.store.replay import verify
from ledger.units import RAO_PER_TAO
from ledger.wallet import Wallet

OPERATOR = "operator"
NAMES = ("vera", "victor", "viola", "vito")
KINDS = ("open", "commit", "close")
GIFT_RAO = 10**6
MINTED_AN_EPOCH_RAO = 360 * 10**9


def receiver(number: int) -> bytes:
    """Whom the gift of this number goes to."""
    return hashlib.sha256(str(number).encode()).digest()


class Lost(Exception):
    """A process that is ended in the middle of a call."""


class Told(Quiet):
    """Keeps what a person is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        """Keep it."""
        self.notes.append(sentence)


class World:
    """Four validators of one stake, so that any three suffice; each actor on a node of its own."""

    def __init__(self, folder: Path, *, apart: bool = True, keep_epochs: int = 0) -> None:
        self.folder, self.home, self.apart, self.keep_epochs = folder, Home(folder / "home"), apart, keep_epochs
        self.wallets = {name: self._wallet(name) for name in (OPERATOR, *NAMES)}
        self.genesis = self._genesis()
        Chain.create(self.home.chain, self.genesis).close()
        self.show = Told()
        self.nodes = dict.fromkeys((*NAMES, "keeper"), 0)
        self.final: dict[int, bytes] = {}
        self.tried = 0
        self.given: set[int] = set()
        self.before: Callable[[str, str], None] = lambda who, method: None
        self.after: Callable[[str, str], None] = lambda who, method: None
        self.plain_keeper: Keeper | None = self.make_keeper()
        self.replicas: dict[str, Replica | None] = {name: self.make_replica(name) for name in NAMES}
        self.start_driver()

    def _wallet(self, name: str) -> Wallet:
        seeds = (hashlib.sha256(f"{name} {part}".encode()).digest() for part in ("coldkey", "hotkey"))
        coldkey, hotkey = seeds
        return Wallet.create(self.home.wallets, name, coldkey_seed=coldkey, hotkey_seed=hotkey)[0]

    def _genesis(self) -> Genesis:
        keys = {name: (wallet.hotkey_public(), wallet.coldkey_public) for name, wallet in self.wallets.items()}
        return Genesis(
            network="disks",
            development=True,
            keeper=keys[OPERATOR][0],
            balances=((keys[OPERATOR][1], 1000 * RAO_PER_TAO),),
            stakes=tuple((*keys[name], 100 * RAO_PER_TAO) for name in NAMES),
            neurons=tuple(GenesisNeuron(hotkey=keys[n][0], coldkey=keys[n][1], name=n, permit=True) for n in NAMES),
        )

    # Processes and disks.

    def disk(self, who: str) -> Disk | None:
        return Disk(ledger=str(self.node(who)), genesis=self.genesis) if self.apart else None

    def node(self, who: str) -> Path:
        return self.folder / "nodes" / f"{who}-{self.nodes[who]}"

    def make_keeper(self) -> Keeper:
        return Keeper(
            KeeperSettings(
                chain=str(self.home.chain),
                mempool=str(self.home.mempool),
                wallets=str(self.home.wallets),
                operator=OPERATOR,
                keep_epochs=self.keep_epochs,
                disk=self.disk("keeper"),
            )
        )

    def make_replica(self, name: str) -> Replica:
        folder = self.home.validators / name
        folder.mkdir(parents=True, exist_ok=True)
        return Replica(
            name, folder, self.genesis, self.wallets[name].hotkey(), disk=self.disk(name), voted=self.voted(name)
        )

    def voted(self, name: str) -> bool:
        return (self.home.validators / name / "ballots").exists()

    def kill(self, who: str) -> None:
        """End a process; its disk stays where it is."""
        if who == "keeper":
            if self.plain_keeper is not None:
                self.plain_keeper.close()
                self.plain_keeper = None
        elif (replica := self.replicas[who]) is not None:
            replica.close()
            self.replicas[who] = None

    def start(self, who: str, *, lost: bool = False) -> None:
        """Start it again, on the same disk or on that of another node."""
        self.kill(who)
        self.nodes[who] += lost
        if who == "keeper":
            self.plain_keeper = self.make_keeper()
        else:
            self.replicas[who] = self.make_replica(who)

    def copy_disk(self, who: str) -> Path:
        """A copy of a disk as it is, as a machine that froze would bring back."""
        aside = self.folder / "copies" / f"{who}-{len(list((self.folder / 'copies').glob('*')))}"
        self.kill(who)
        shutil.copytree(self.node(who), aside)
        self.start(who)
        return aside

    def bring_back(self, who: str, copy: Path) -> None:
        """Start it on an old disk."""
        self.kill(who)
        self.nodes[who] += 1
        shutil.copytree(copy, self.node(who))
        self.start(who)

    def start_driver(self) -> None:
        """A new driver on the home; who drove before is gone."""
        self.follower = Follower(self.home, self.genesis, self.keep_epochs) if self.apart else None
        names = {wallet.hotkey_public(): name for name, wallet in self.wallets.items()}
        self.leading = Leading(self, self.follower, self.show, names=names, deadline_s=5.0, poll_s=0.0)

    def restart_driver(self) -> None:
        if self.follower is not None:
            self.follower.close()
        self.start_driver()
        self.leading.take_over()

    # The assembly, as the driver asks it.

    def keeper(self, method: str, *arguments: Any) -> Any:
        try:
            self.before("keeper", method)
            if self.plain_keeper is None:
                raise Gone("the keeper is gone")
            answer = getattr(self.plain_keeper, method)(*arguments)
            self.after("keeper", method)
        except Lost:
            raise Gone("the keeper is gone") from None
        return answer

    def validators(self, method: str, *arguments: Any, each: Mapping[str, tuple[Any, ...]] | None = None) -> Answers:
        answers: dict[str, Any] = {}
        failures: dict[str, str] = {}
        for name, own in (dict.fromkeys(NAMES, arguments) if each is None else each).items():
            try:
                self.before(name, method)
                replica = self.replicas[name]
                if replica is None:
                    failures[name] = "died"
                    continue
                answer = getattr(replica, method)(*own)
                self.after(name, method)
                answers[name] = answer
            except Lost:
                failures[name] = "died"
            except LedgerError as error:
                failures[name] = str(error)
        return answers, failures

    def put(self, value: Any) -> Any:
        return value

    def replace_keeper(self) -> None:
        self.start("keeper")

    # What a network does.

    def give(self) -> None:
        """Queue a gift of the treasury's to somebody who is nobody yet: each is told from the others."""
        treasury = self.wallets[OPERATOR].coldkey()
        self.tried += 1
        call = Transfer(to=receiver(self.tried), amount_rao=GIFT_RAO)
        nonce = self.leading.ask("next_nonce", treasury.public)
        signed = sign_extrinsic(call, treasury, genesis_hash=self.genesis.hash, nonce=nonce, valid_until=1000)
        assert self.leading.submit([encode_extrinsic(signed)]) == ["ok"]
        self.given.add(self.tried)

    def run_epoch(self) -> None:
        """One epoch from where the ledger stands, a gift in each block."""
        position = self.leading.ask("position")
        make_final(self.leading, position.height)
        epoch = position.epoch + (position.kind in ("genesis", "close"))
        done = {"open": 1, "commit": 2}.get(position.kind, 0)
        for kind in KINDS[done:]:
            self.give()
            seal_final(self.leading, kind, epoch)
            self.note()

    def chains(self) -> list[Chain]:
        replicas = [replica.chain for replica in self.replicas.values() if replica is not None]
        keeper = [] if self.plain_keeper is None else [self.plain_keeper._chain]
        return [*replicas, *keeper]

    def note(self) -> None:
        """Remember every block that is final anywhere; no height may ever have two."""
        for chain in self.chains():
            for height in range(1, chain.final_height + 1):
                block_hash = chain.header(height).hash
                assert self.final.setdefault(height, block_hash) == block_hash, f"two final blocks of height {height}"

    def check(self, epochs: int) -> None:
        """Everything again from its genesis: one history, every gift given once, each epoch minted once."""
        self.note()
        for who in (*NAMES, "keeper"):
            self.kill(who)
        if self.follower is not None:
            self.follower.close()
        verified = verify(self.home.chain)
        assert (verified.height, verified.final_height) == (3 * epochs, 3 * epochs)
        with Chain.open(self.home.chain) as chain:
            assert {height: chain.header(height).hash for height in self.final} == self.final
            for number in range(1, self.tried + 1):
                had = chain.state.account(receiver(number))
                # One whose driver ended before it heard may be there, or not.
                assert had == GIFT_RAO or (had == 0 and number not in self.given), f"gift {number}: {had}"
            assert chain.state.supply().minted_rao == epochs * MINTED_AN_EPOCH_RAO
