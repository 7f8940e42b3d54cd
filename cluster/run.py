"""What the steps of an epoch share: the run, which stays, and the work of one epoch, which grows step by step."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

from actors.ballot import Finding
from actors.dispatch import Task
from actors.host import ScoreRequest
from actors.keeper import Position, View
from actors.pool import Round
from actors.wire import Query
from cluster.assembly import RayAssembly
from cluster.config import OPERATOR, Network
from cluster.following import Follower
from cluster.home import Home
from cluster.leading import Leading
from cluster.place.crew import Crew
from cluster.place.packing import Packing
from cluster.show import Show
from ledger.genesis import Genesis
from ledger.wallet import Wallet
from models.store import Store


@dataclass(frozen=True)
class Run:
    """A driver's run of a network.

    Attributes:
        wallets: names of the network's own wallets by hotkey: who can sign for a neuron.
        packing: what is known of the versions that hosts answer for.
        leading: the way to the ledger.
    """

    network: Network
    home: Home
    genesis: Genesis
    crew: Crew
    show: Show
    wallets: Mapping[bytes, str]
    packing: Packing
    leading: Leading

    def position(self) -> Position:
        """Where the ledger stands."""
        position: Position = self.leading.ask("position")
        return position

    def view(self) -> View:
        """The ledger's state as the driver needs it."""
        view: View = self.leading.ask("view")
        return view

    def submit(self, extrinsics: Mapping[str, bytes]) -> None:
        """Queue signed extrinsics, each with who sent it; what is refused at once is told."""
        outcomes = self.leading.submit(list(extrinsics.values()))
        for sender, outcome in zip(extrinsics, outcomes, strict=True):
            if outcome != "ok":
                self.show.note(f"{sender}'s extrinsic was refused: {outcome}")


@dataclass
class Work:
    """What the steps of one epoch hand on to each other.

    Attributes:
        queries: this epoch's windows by validator.
        asked: versions and hotkeys of remote peers that were asked; None: not in this run.
        scored: the hosts' answers.
        about: by task, which queries it is about, by their place among the names of who asks; a task that is not there
            is about all.
        requests: what hosts were asked, by task.
        findings: what each validator found, by its name.
        losses: bits per byte at which members of cohorts trained, by name.
        left_out: peers whose job was not done, by name, as "late|dead|invalid: sentence".
        seconds: how long each step took.
        height, block_hash, final: of the last block of this epoch.
        minted_before_rao: what had been minted when the epoch began.
    """

    epoch: int
    queries: dict[str, Query] = field(default_factory=dict)
    asked: tuple[bytes, ...] | None = None
    scored: Round = field(default_factory=Round)
    about: dict[Task, tuple[int, ...]] = field(default_factory=dict)
    requests: dict[Task, ScoreRequest] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    height: int = 0
    block_hash: bytes = b""
    final: bool = False
    minted_before_rao: int = 0


@contextmanager
def running(network: Network, home: Home, genesis: Genesis, crew: Crew, show: Show) -> Iterator[Run]:
    """A run whose keeper leads, for as long as the context.

    Raises:
        NoAnswer: no keeper leads within the deadline; with the names of who did not answer.
    """
    wallets = wallets_by_hotkey(network, home)
    packing = Packing(Store(home.store, network.storage.depot), home.placement, network.placement)
    assembly = RayAssembly(crew, network.deadlines.validator_s, show.note)
    deadline_s = network.deadlines.finality_s
    with ExitStack() as stack:
        follower = None
        if network.storage.ledger:
            follower = stack.enter_context(closing(Follower(home, genesis, network.storage.keep_epochs)))
        leading = Leading(assembly, follower, show, names=wallets, deadline_s=deadline_s)
        leading.take_over()
        yield Run(network, home, genesis, crew, show, wallets, packing, leading)


def take_over(run: Run) -> None:
    """Have the newest ledger lead, whoever led before. Raises NoAnswer with who is waited for."""
    run.leading.take_over()


def wallets_by_hotkey(network: Network, home: Home) -> dict[bytes, str]:
    """The network's own wallets by the public key of their hotkey."""
    names = (OPERATOR, *(v.name for v in network.validators), *(p.name for p in network.peers))
    return {Wallet.open(home.wallets, name).hotkey_public(): name for name in names}
