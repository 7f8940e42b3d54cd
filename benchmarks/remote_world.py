"""A next_byte network in a folder with remote peers in processes of their own: what the record and the tests share."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

import taoray
from cluster.config import Network
from cluster.founding import found
from cluster.home import Home
from cluster.report import EpochRecord
from cluster.show import Quiet
from ledger.genesis import Genesis
from ledger.keys import encode_address
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.text.prepare import prepare_corpus
from models.text.windows import draw_pages
from models.train.local import train_steps
from models.train.settings import TrainSettings

ROOT = Path(__file__).parents[1]
START_S = 120.0
LESSONS = TrainSettings(steps=150, batch=16, page_bytes=128, learning_rate=5e-3)
ARCHITECTURE = Architecture("llama", hidden=48, layers=2, heads=4)


def found_home(network: Network, home: Home) -> Genesis:
    """A home with text, wallets and genesis, in which nothing has run."""
    home.folder.mkdir(parents=True, exist_ok=True)
    prepare_corpus(
        network.data, home.text, window_bytes=network.query.window_bytes, minimum_windows=network.query.windows
    )
    home.resolved.write_bytes(msgspec.json.encode(network))
    return found(network, home)


def train_remote(network: Network, home: Home, folder: Path, *, seed: int, lessons: TrainSettings = LESSONS) -> Path:
    """A model that has learned from the network's training text, in `folder`."""
    corpus = prepare_corpus(
        network.data, home.text, window_bytes=network.query.window_bytes, minimum_windows=network.query.windows
    )
    model = build_model(ARCHITECTURE, seed)
    pages_PT = draw_pages(
        corpus,
        seed.to_bytes(32, "big"),
        strata=None,
        pages=lessons.pages,
        page_bytes=lessons.page_bytes,
    )
    train_steps(model, None, pages_PT, lessons, steps_done=0)
    save_model(model, folder)
    return folder


def join(home: Home, name: str, endpoint: str) -> None:
    """Submit a remote peer whose wallet has its name: it is asked a question first, so it has to answer."""
    taoray.submit(endpoint, name=name, wallet=name, home=home.folder)


def running_peer(model: Path, home: Home, genesis: Genesis, wallet: str) -> "Running":
    """The example of a remote peer, in a process of its own."""
    return _running(
        lambda port: [
            *("examples/remote_peer/peer.py", str(model), "--wallets", str(home.wallets), "--wallet", wallet),
            *("--genesis", genesis.hash.hex(), "--keeper", encode_address(genesis.keeper), "--port", str(port)),
        ]
    )


def running_hostile(behaviour: Path, upstream: str, home: Home, wallet: str) -> "Running":
    """An endpoint that does what the file says, in front of an honest one, in a process of its own."""
    return _running(
        lambda port: ["benchmarks/hostile_peer.py", str(port), str(behaviour), upstream, str(home.wallets), wallet]
    )


Running = Iterator[str]


@contextmanager
def _running(command: Callable[[int], list[str]]) -> Running:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with subprocess.Popen([sys.executable, *command(port)], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + START_S
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{' '.join(command(port))} did not start")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


class Conductor(Quiet):
    """Has the hostile endpoint behave otherwise each epoch, and keeps what came of it.

    Args:
        file: that the endpoint reads.
        score: a behaviour for each epoch, the first from the first.

    Attributes:
        records: the epochs' records.
        waited_s: for each epoch how long it waited for remote peers when its hosts were done.
    """

    def __init__(self, file: Path, score: list[str]) -> None:
        self.records: list[EpochRecord] = []
        self.waited_s: list[float] = []
        self._waits_since: float | None = None
        self._file = file
        self._score = score
        self._set()

    def step(self, sentence: str, total: int = 0) -> None:
        """Take the time between the step that waits for remote peers and the next."""
        if self._waits_since is not None:
            self.waited_s.append(time.monotonic() - self._waits_since)
        self._waits_since = time.monotonic() if "remote peers" in sentence else None

    def epoch(self, record: EpochRecord) -> None:
        """Keep it, and turn the page."""
        self.records.append(record)
        self._set()

    def _set(self) -> None:
        if len(self.records) < len(self._score):
            self._file.write_text(self._score[len(self.records)])
