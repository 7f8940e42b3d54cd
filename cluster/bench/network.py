"""A network to measure with: keeper, validators and hosts on Ray, peers' versions on its ledger, an epoch open.

Invariants: founded, started and opened by the functions that run any network; its home is temporary, its actors are
ended with it; nothing but what is asked for differs from a network's defaults.
"""

import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from actors.keeper import View
from actors.private import private_root
from actors.validator import Validator
from cluster.bench.peers import put_peers
from cluster.config import Deadlines, Identity, Network, PeerEntry, Placement, Questions, ValidatorEntry
from cluster.founding import found
from cluster.home import Home
from cluster.jobs import announce
from cluster.place.crew import end_crew, start_crew
from cluster.place.ray import joined_ray
from cluster.run import Run, Work, running
from cluster.sealing import seal
from cluster.show import Quiet
from ledger.genesis import Panel
from models.store import Store
from models.text.data import Data
from models.text.prepare import prepare_corpus

VALIDATORS = ("vera", "victor")
EPOCH = 1
PLENTY_TAO = 1_000_000
"""Of each peer's coldkey: registrations of one block cost each more than the one before."""
PATIENCE_S = 3600.0
"""No deadline ends a measurement."""
TEXT = ("asyncio", "ctypes", "email", "encodings", "idlelib", "importlib", "json", "multiprocessing", "unittest", "xml")
"""Packages of the standard library, where they have text enough; else all of it."""
TEXT_BYTES = 1 << 20
"""How much held-out text those packages surely have."""


@dataclass(frozen=True)
class Setup:
    """What the network is to be.

    Attributes:
        model: a preset, or a model's folder.
        peers: how many versions of it answer.
        windows, window_bytes: of each validator's query.
        hosts, threads: host actors, and the threads of each.
        device: cpu or cuda; on cuda the hosts share one GPU.
    """

    model: str
    peers: int
    panel: Panel
    windows: int
    window_bytes: int
    hosts: int
    threads: int
    device: str
    dtype: torch.dtype


class Told(Quiet):
    """Passes on what a person should know."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def note(self, sentence: str) -> None:
        """Tell it."""
        self._tell(sentence)


@contextmanager
def opened(setup: Setup, tell: Callable[[str], None], validator_class: type = Validator) -> Iterator[tuple[Run, View]]:
    """The network with its first epoch open, and what stands on its ledger; gone at the end.

    Raises:
        ModelsError: the model is none, or cannot be hosted.
        ClusterError: an actor did not start.
    """
    with tempfile.TemporaryDirectory(prefix="taoray-bench-") as folder:
        home = Home(Path(folder))
        network = _configuration(setup)
        corpus = prepare_corpus(network.data, home.text, window_bytes=setup.window_bytes, minimum_windows=setup.windows)
        genesis = found(network, home, private_root(corpus))
        store = Store(home.store)
        versions = put_peers(
            store, setup.model, setup.peers, device=setup.device, dtype=setup.dtype, aside=home.folder / "aside"
        )
        with joined_ray(None, genesis.hash.hex(), Told(tell)):
            crew = start_crew(network, home, genesis, validator_class=validator_class)
            try:
                with running(network, home, genesis, crew, Told(tell)) as run:
                    announce(run, {peer.name: version for peer, version in zip(network.peers, versions, strict=True)})
                    seal(run, Work(EPOCH), "open")
                    yield run, run.view()
            finally:
                end_crew(crew)


def _configuration(setup: Setup) -> Network:
    library = Path(sysconfig.get_path("stdlib"))
    small = setup.windows * setup.window_bytes <= TEXT_BYTES
    return Network(
        network=Identity(name="bench", development=True),
        validators=tuple(ValidatorEntry(name=name, stake_tao=1000) for name in VALIDATORS),
        peers=tuple(
            PeerEntry(name=f"peer-{index}", behaviour="still", balance_tao=PLENTY_TAO) for index in range(setup.peers)
        ),
        data=Data(paths=tuple(str(library / name) for name in TEXT) if small else (), held_out_share=0.5),
        query=Questions(panel=setup.panel, windows=setup.windows, window_bytes=setup.window_bytes),
        placement=Placement(
            hosts=setup.hosts,
            threads=setup.threads,
            device=setup.device,
            gpus_per_host=1 / setup.hosts if setup.device == "cuda" else 0.0,
            capacity_mib=1 << 20,
        ),
        deadlines=Deadlines(task_s=PATIENCE_S, query_s=PATIENCE_S, validator_s=PATIENCE_S),
    )
