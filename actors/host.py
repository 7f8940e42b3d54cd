"""A host: holds model versions, answers queries for them, and does its peers' training.

Invariants:
* it keeps nothing that another could not load again: versions come from the store by hash, so after a crash it, or
  any other host, answers the same;
* versions of one shape are answered for in one batch, and where that cannot be one by one, which the receipt says;
* answers are signed by the hotkey of the peer that published the version, or by the operator's where that is not here;
* it judges nothing: what a model says is passed on as it is.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from actors.member import MemberJob, RoundReceipt, contribute
from actors.miner import Job, make_version
from actors.round_wire import WeighAnswer, WeighRequest, sign_weighed
from actors.teacher import Lesson, LessonReceipt, write_lesson
from actors.weigher import weigh
from actors.wire import Answer, Query, Said, WireError, check_query, sign_answer
from ledger.genesis import Panel
from ledger.keys import Keypair
from ledger.wallet import Wallet
from models.host.hosted import Hosted
from models.host.library import Library
from models.host.next_byte import next_byte_together
from models.host.score import score_together
from models.host.stacked import StackError, pays
from models.store import Store
from models.text.align import Scores, take_windows
from models.text.corpus import Corpus


class HostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a host finds what it needs. Folders are those of the network's home; `operator` is a wallet's name."""

    genesis: bytes
    store: str
    corpus: str
    wallets: str
    peers: str
    device: str
    threads: int
    capacity_bytes: int
    depot: str = ""
    contributions: str = ""
    operator: str = "operator"


class Part(msgspec.Struct, frozen=True):
    """Windows `first` to `last` (exclusive) of the query at index `query`."""

    query: int
    first: int
    last: int


class ScoreRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request to some versions, of one shape where there are several: parts of several validators' queries,
    answered together. `wallets`: who signs for each version.
    """

    versions: tuple[bytes, ...]
    wallets: tuple[str, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class ScoreReceipt:
    """What the pool learns of a batch.

    Attributes:
        windows: how many were scored, of each version.
        seconds: that it took, loading included.
        size_bytes: what each version occupies in memory by itself, an adapter without its base.
        apart: why several versions were answered for one by one; empty where they were not.
    """

    windows: int
    seconds: float
    size_bytes: dict[bytes, int]
    apart: str = ""


@dataclass(frozen=True)
class JobReceipt:
    """What the driver learns of a job: the version made, its training loss, and the seconds it took."""

    manifest: bytes
    loss_bits_per_byte: float | None
    seconds: float


class Host:
    """The plain class behind a host actor."""

    def __init__(self, settings: HostSettings) -> None:
        torch.set_num_threads(settings.threads)
        self._settings = settings
        self._device = _device(settings.device)
        self._store = Store(Path(settings.store), settings.depot)
        self._library = Library(self._store, device=self._device, capacity_bytes=settings.capacity_bytes)
        self._corpus = Corpus.open(Path(settings.corpus))
        self._hotkeys: dict[str, Keypair] = {}

    def ping(self) -> int:
        """The process id: the host is alive."""
        return os.getpid()

    def score(self, request: ScoreRequest, *queries: Query) -> tuple[ScoreReceipt, list[Answer]]:
        """Answer a request; one signed answer a version and part, a version's one after another.

        Raises:
            WireError: a query is not what it claims to be.
            StoreError, ModelRefused, TextError: a version cannot be loaded, or cannot read the text.
        """
        began = time.perf_counter()
        for query in queries:
            check_query(query, genesis=self._settings.genesis)
        if len({query.panel for query in queries}) > 1:
            raise WireError("the queries are of different panels, and a network has one")
        texts = [
            text.tobytes() for part in request.parts for text in queries[part.query].text_WT[part.first : part.last]
        ]
        said, apart = self._say(request.versions, queries[0].panel, texts)
        answers = [
            answer
            for version, wallet, own in zip(request.versions, request.wallets, said, strict=True)
            for answer in self._sign(version, wallet, request.parts, queries, own)
        ]
        sizes = {version: self._library.size_bytes(version) for version in request.versions}
        return ScoreReceipt(len(texts), time.perf_counter() - began, sizes, apart), answers

    def _say(self, versions: Sequence[bytes], panel: Panel, texts: Sequence[bytes]) -> tuple[list[Said], str]:
        """What each version says of the texts; and, where they were asked one by one, why."""
        apart = ""
        if len(versions) > 1:
            try:
                return _speak(self._library.stacked(versions), panel, texts), apart
            except (StackError, torch.OutOfMemoryError) as error:
                apart = str(error).partition("\n")[0]
        return [said for version in versions for said in _speak(self._library.hosted(version), panel, texts)], apart

    def _sign(
        self, version: bytes, wallet: str, parts: Sequence[Part], queries: Sequence[Query], said: Said
    ) -> list[Answer]:
        keypair = self._hotkey(wallet)
        answers, row = [], 0
        for part in parts:
            last = row + part.last - part.first
            answers.append(
                sign_answer(
                    keypair,
                    query=queries[part.query].digest,
                    version=version,
                    first=part.first,
                    said=take_windows(said, row, last) if isinstance(said, Scores) else said[row:last],
                )
            )
            row = last
        return answers

    def work(self, job: Job) -> JobReceipt:
        """Do a peer's job of this epoch. Raises as `make_version` does."""
        began = time.perf_counter()
        folder = Path(self._settings.peers) / job.peer
        made = make_version(job, store=self._store, corpus=self._corpus, folder=folder, device=self._device)
        return JobReceipt(made.manifest, made.loss_bits_per_byte, time.perf_counter() - began)

    def teach(self, lesson: Lesson, path: str) -> LessonReceipt:
        """Write to `path` what the collective expects of shared pages. Raises as `write_lesson` does."""
        return write_lesson(lesson, Path(path), self._library, self._corpus)

    def contribute(self, job: MemberJob) -> RoundReceipt:
        """Do a cohort member's job of this epoch. Raises as `actors.member.contribute` does."""
        return contribute(
            job,
            store=self._store,
            corpus=self._corpus,
            folder=Path(self._settings.peers) / job.peer,
            contributions=Path(self._settings.contributions),
            device=self._device,
        )

    def weigh(self, request: WeighRequest, query: Query) -> WeighAnswer:
        """Weigh a cohort's round on a validator's windows, signed by the operator.

        Raises:
            WireError: the query is not what it claims to be.
            StoreError, ModelRefused, TrainingError, TextError: as `actors.weigher.weigh`.
        """
        check_query(query, genesis=self._settings.genesis)
        answer = weigh(
            request,
            query,
            store=self._store,
            corpus=self._corpus,
            contributions=Path(self._settings.contributions),
            device=self._device,
        )
        return sign_weighed(self._hotkey(self._settings.operator), answer)

    def _hotkey(self, wallet: str) -> Keypair:
        if wallet not in self._hotkeys:
            self._hotkeys[wallet] = Wallet.open(Path(self._settings.wallets), wallet).hotkey()
        return self._hotkeys[wallet]


def _speak(hosted: Hosted, panel: Panel, texts: Sequence[bytes]) -> list[Said]:
    if hosted.members and not pays(hosted, texts):
        return [said for member in hosted.members for said in _speak(member, panel, texts)]
    return [*(score_together(hosted, texts) if panel == "segments" else next_byte_together(hosted, texts))]


def _device(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"
