"""A host: holds model versions, answers queries for them, and does its peers' training.

Invariants:
* it keeps nothing that another could not load again: versions come from the store by hash, so after a crash it, or
  any other host, answers the same;
* versions of one shape are answered for in one batch, and where that cannot be one by one, which the receipt says;
* answers are signed by the hotkey of the peer that published the version, or by the operator's where that is not here;
* it judges nothing: what a model says is passed on as it is;
* where memory is full it works in smaller batches, or for one version at a time, and its receipts say so; once its GPU
  has failed it says so to whatever is asked, until another process takes its place.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import torch

from actors.member import MemberJob, RoundReceipt, contribute
from actors.miner import Job, make_version
from actors.round_wire import WeighAnswer, WeighRequest, sign_weighed
from actors.spans import Span, Spans
from actors.teacher import Lesson, LessonReceipt, write_lesson
from actors.weigher import weigh
from actors.wire import Answer, Query, Said, WireError, check_query, sign_answer
from ledger.genesis import Panel
from ledger.keys import Keypair
from ledger.wallet import Wallet
from models.errors import MemoryFull
from models.faults import first_line
from models.host.allocator import keep_freed_memory
from models.host.device import Watched
from models.host.hosted import Hosted
from models.host.library import Library
from models.host.next_byte import next_byte_together
from models.host.score import score_together
from models.host.stacked import StackError, pays
from models.store import Store
from models.text.align import Scores, take_windows
from models.text.corpus import Corpus


class HostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a host finds what it needs. Folders are those of the network's home; `operator` is a wallet's name, `gpus`
    how many of them are reserved for it.
    """

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
    name: str = ""
    gpus: float = 0.0


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
        size_bytes: what each version occupies in memory by itself, an adapter without its base.
        apart: why several versions were answered for one by one; empty where they were not.
        host: which host answered.
        notes: what a person should know of its memory.
        spans: what took how long.
    """

    windows: int
    size_bytes: dict[bytes, int]
    apart: str = ""
    host: str = ""
    notes: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class JobReceipt:
    """What the driver learns of a job: the version made, its training loss, the seconds it took, and what a person
    should know of it.
    """

    manifest: bytes
    loss_bits_per_byte: float | None
    seconds: float
    messages: tuple[str, ...] = ()


class Host:
    """The plain class behind a host actor."""

    def __init__(self, settings: HostSettings) -> None:
        torch.set_num_threads(settings.threads)
        keep_freed_memory()
        self._settings = settings
        self._watched = Watched(settings.device, settings.gpus)
        self._device = self._watched.device
        self._store = Store(Path(settings.store), settings.depot)
        self._library = Library(self._store, device=self._device, capacity_bytes=settings.capacity_bytes)
        self._corpus = Corpus.open(Path(settings.corpus))
        self._hotkeys: dict[str, Keypair] = {}

    def ping(self) -> int:
        """The process id: the host is alive. Raises DeviceLost where its GPU is not."""
        self._watched.check()
        return os.getpid()

    def score(self, request: ScoreRequest, *queries: Query) -> tuple[ScoreReceipt, list[Answer]]:
        """Answer a request; one signed answer a version and part, a version's one after another.

        Raises:
            WireError: a query is not what it claims to be.
            StoreError, ModelRefused, TextError, MemoryFull: a version cannot be loaded, or cannot read the text.
            DeviceLost: the GPU is gone, or failed.
        """
        spans = Spans()
        with spans.taken("check"):
            for query in queries:
                check_query(query, genesis=self._settings.genesis)
            if len({query.panel for query in queries}) > 1:
                raise WireError("the queries are of different panels, and a network has one")
            texts = [
                text.tobytes() for part in request.parts for text in queries[part.query].text_WT[part.first : part.last]
            ]
        with spans.taken("score"), self._watched.watching():
            spoken = self._speak(request.versions, queries[0].panel, texts)
        with spans.taken("sign"):
            answers = [
                answer
                for version, wallet, own in zip(request.versions, request.wallets, spoken.said, strict=True)
                for answer in self._sign(version, wallet, request.parts, queries, own)
            ]
        receipt = ScoreReceipt(
            windows=len(texts),
            size_bytes=spoken.size_bytes,
            apart=spoken.apart,
            host=self._settings.name,
            notes=tuple(spoken.notes),
            spans=tuple(spans),
        )
        return receipt, answers

    def _speak(self, versions: Sequence[bytes], panel: Panel, texts: Sequence[bytes]) -> "Spoken":
        """What each version says of the texts: together, else one by one."""
        spoken = Spoken()
        if len(versions) > 1:
            try:
                self._speak_together(versions, panel, texts, spoken)
                return spoken
            except (StackError, MemoryFull) as error:
                spoken.apart = first_line(error)
        for version in versions:
            self._speak_alone(version, panel, texts, spoken)
        return spoken

    def _speak_together(
        self, versions: Sequence[bytes], panel: Panel, texts: Sequence[bytes], spoken: "Spoken"
    ) -> None:
        stacked = self._library.stacked(versions)
        said = _say(stacked, panel, texts)
        sizes = {version: self._library.size_bytes(version) for version in versions}
        spoken.add(said, sizes, [stacked, *stacked.members])

    def _speak_alone(self, version: bytes, panel: Panel, texts: Sequence[bytes], spoken: "Spoken") -> None:
        """Where memory is full the version is asked again with nothing else in it."""
        for last in (False, True):
            hosted = self._library.hosted(version)
            try:
                said = _say(hosted, panel, texts)
            except MemoryFull:
                if last or len(self._library) == 1:
                    raise
            else:
                spoken.add(said, {version: self._library.size_bytes(version)}, [hosted])
                return
            del hosted
            self._library.clear()

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
        with self._watched.watching():
            made = make_version(job, store=self._store, corpus=self._corpus, folder=folder, device=self._device)
        return JobReceipt(made.manifest, made.loss_bits_per_byte, time.perf_counter() - began, made.messages)

    def teach(self, lesson: Lesson, path: str) -> LessonReceipt:
        """Write to `path` what the collective expects of shared pages. Raises as `write_lesson` does."""
        with self._watched.watching():
            return write_lesson(lesson, Path(path), self._library, self._corpus)

    def contribute(self, job: MemberJob) -> RoundReceipt:
        """Do a cohort member's job of this epoch. Raises as `actors.member.contribute` does."""
        with self._watched.watching():
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
        with self._watched.watching():
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


@dataclass
class Spoken:
    """What versions said, what they occupy, and what to know of how they were asked."""

    said: list[Said] = field(default_factory=list)
    size_bytes: dict[bytes, int] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    apart: str = ""

    def add(self, said: Sequence[Said], size_bytes: Mapping[bytes, int], spoken: Sequence[Hosted]) -> None:
        """Some models spoke."""
        self.said += said
        self.size_bytes |= size_bytes
        self.notes |= dict.fromkeys(hosted.note for hosted in spoken if hosted.note)


def _say(hosted: Hosted, panel: Panel, texts: Sequence[bytes]) -> list[Said]:
    if hosted.members and not pays(hosted, texts):
        return [said for member in hosted.members for said in _say(member, panel, texts)]
    return [*(score_together(hosted, texts) if panel == "segments" else next_byte_together(hosted, texts))]
