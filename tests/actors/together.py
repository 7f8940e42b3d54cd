"""A network without Ray whose peers are a cohort: the test is the driver."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.ballot import Finding
from actors.member import Behaviour, MemberJob, RoundReceipt
from actors.round_wire import Entrant, WeighAnswer, WeighRequest, page_seed
from ledger.entries import Cohort, Neuron
from ledger.extrinsics import Checkpoint, Contribute, Publish
from models.train.cohort import OuterSettings, cohort_id
from models.train.settings import TrainSettings

OUTER = OuterSettings(keep=1024, rate=1.0)
TRAINING = TrainSettings(steps=12, batch=8, page_bytes=64, learning_rate=1e-2, warmup_steps=2)
MEMBERS: dict[str, Behaviour] = {"ada": "train", "grace": "train", "echo": "train", "flo": "flip", "stan": "still"}
WINDOWS = 96
STAKES_TAO = {"vera": 40, "victor": 35, "viola": 25}


@dataclass
class Together:
    """A network whose peers are a cohort."""

    plain: Any
    first: bytes
    behaviours: dict[str, Behaviour] = field(default_factory=lambda: dict(MEMBERS))

    @property
    def name(self) -> bytes:
        return cohort_id(self.first, OUTER)

    @property
    def row(self) -> Cohort | None:
        return self.plain.keeper.view().cohorts.get(self.name)

    @property
    def contributions(self) -> Path:
        return self.plain.folder / "contributions"

    def neuron(self, name: str) -> Neuron:
        return self.plain.keeper.view().neurons[self.plain.uid(name)]

    def job(self, name: str) -> MemberJob:
        view, row, neuron = self.plain.keeper.view(), self.row, self.neuron(name)
        last = view.contributions.get(neuron.uid)
        counted = last is not None and row is not None and last.epoch == row.epoch
        return MemberJob(
            peer=name,
            cohort=self.name,
            manifest=self.first if row is None else row.manifest,
            parameters=None if row is None else row.parameters,
            accepted=() if row is None else tuple((each.uid, each.payload) for each in row.accepted),
            outer=OUTER,
            settings=TRAINING,
            page_seed=page_seed(view.close_hash, neuron.hotkey),
            strata=(),
            behaviour=self.behaviours[name],
            committed=last.payload if counted else None,
        )

    def commit_to(self, name: str, receipt: RoundReceipt) -> None:
        epoch = self.plain.epoch + 1
        call = Contribute(cohort=self.name, epoch=epoch, parameters=receipt.parameters, payload=receipt.payload)
        self.plain.submit(call, self.plain.wallets[name].hotkey())

    def open(self, *names: str) -> dict[str, RoundReceipt]:
        """Members do their jobs, and the block that opens the epoch has their updates."""
        row = self.row
        receipts = {name: self.plain.host.contribute(self.job(name)) for name in names or self.behaviours}
        for name, receipt in receipts.items():
            self.commit_to(name, receipt)
        if row is not None and row.accepted:
            lowest = next(name for name in receipts if self.plain.uid(name) == row.accepted[0].uid)
            hotkey, receipt = self.plain.wallets[lowest].hotkey(), receipts[lowest]
            self.plain.submit(Publish(manifest=receipt.manifest), hotkey)
            self.plain.submit(Checkpoint(parameters=receipt.parameters, manifest=receipt.manifest), hotkey)
        self.plain.seal("open")
        self.share(receipts)
        return receipts

    def share(self, receipts: dict[str, RoundReceipt]) -> None:
        self.contributions.mkdir(exist_ok=True)
        for name, receipt in receipts.items():
            laid = self.plain.folder / "peers" / name / "outbox" / receipt.payload.hex()
            if laid.exists():
                laid.replace(self.contributions / laid.name)

    def request(self) -> WeighRequest:
        view, row = self.plain.keeper.view(), self.row
        committed = sorted(view.contributions.items(), key=lambda each: each[1].place)
        return WeighRequest(
            cohort=self.name,
            first=self.first,
            manifest=self.first if row is None else row.manifest,
            parameters=None if row is None else row.parameters,
            accepted=() if row is None else tuple((each.uid, each.payload) for each in row.accepted),
            outer=OUTER,
            entrants=tuple(
                Entrant(
                    uid=uid,
                    parameters=each.parameters,
                    payload=each.payload,
                    page_seed=page_seed(view.previous_close_hash, view.neurons[uid].hotkey),
                    strata=(),
                )
                for uid, each in committed
            ),
            windows=24,
            nodes=3,
            check_pages=8,
            pages=TRAINING.pages,
            page_bytes=TRAINING.page_bytes,
        )

    def weigh(self, name: str) -> WeighAnswer:
        return self.plain.host.weigh(self.request(), self.plain.validators[name].draw(self.plain.epoch))

    def vote(self) -> dict[str, Finding]:
        """Every validator has the round weighed on its own windows, and votes."""
        plain, answers = self.plain, self.plain.ask()
        found = {
            name: validator.value(plain.epoch, {}, answers, rounds=[self.weigh(name)])
            for name, validator in plain.validators.items()
        }
        plain.keeper.submit([validator.commit(plain.epoch) for validator in plain.validators.values()])
        plain.seal("commit")
        plain.keeper.submit([validator.reveal(plain.epoch) for validator in plain.validators.values()])
        plain.seal("close")
        return found


@dataclass(frozen=True)
class Played:
    """A network after three rounds: the folder, the version it began with, and what came of each round."""

    folder: Path
    first: bytes
    receipts: list[dict[str, RoundReceipt]]
    findings: list[dict[str, Finding]]
    rows: list[Cohort | None]
