"""The home: the folder in which a network lives, and where everything in it stands."""

import os
from dataclasses import dataclass
from pathlib import Path

from cluster.job.inside import in_job, job_home


@dataclass(frozen=True)
class Home:
    """Paths inside a home. The ledger's database and the wallets are all that cannot be made again."""

    folder: Path

    @property
    def chain(self) -> Path:
        """The ledger's database."""
        return self.folder / "ledger" / "chain.db"

    @property
    def mempool(self) -> Path:
        """Signed extrinsics that wait for a block."""
        return self.folder / "ledger" / "mempool.db"

    @property
    def wallets(self) -> Path:
        """Wallets of the operator, the validators, the peers and people."""
        return self.folder / "wallets"

    @property
    def validators(self) -> Path:
        """Per validator: its replica of the ledger and its ballots."""
        return self.folder / "validators"

    @property
    def evidence(self) -> Path:
        """Per epoch and validator: what a vote rests on."""
        return self.folder / "evidence"

    @property
    def store(self) -> Path:
        """Model versions by content."""
        return self.folder / "store"

    @property
    def peers(self) -> Path:
        """Per peer: the state of its optimizer, and what a member of a cohort sends."""
        return self.folder / "peers"

    @property
    def cohorts(self) -> Path:
        """One file a cohort of the configuration: what it began with."""
        return self.folder / "cohorts"

    @property
    def contributions(self) -> Path:
        """Members' updates by their hash, from the epoch on in which they were committed to."""
        return self.folder / "contributions"

    @property
    def teaching(self) -> Path:
        """Of this epoch: what the collective expects of shared pages. It can be made again."""
        return self.folder / "teaching"

    @property
    def uploads(self) -> Path:
        """What is being uploaded, by manifest."""
        return self.folder / "uploads"

    @property
    def submissions(self) -> Path:
        """One file a submitted peer: what its submitter asked for, such as training."""
        return self.folder / "submissions"

    @property
    def text(self) -> Path:
        """The prepared text."""
        return self.folder / "text"

    @property
    def lease(self) -> Path:
        """Who drives this home now."""
        return self.folder / "driver.db"

    @property
    def resolved(self) -> Path:
        """The configuration of the last run, with every default filled in."""
        return self.folder / "network.json"

    @property
    def placement(self) -> Path:
        """Which host answered for which versions in the last epoch."""
        return self.folder / "placement.json"

    @property
    def epochs(self) -> Path:
        """One JSON line an epoch: what the report says of it."""
        return self.folder / "epochs.jsonl"

    @property
    def log(self) -> Path:
        """What drivers told, one JSON line each; `log.1.jsonl` has what came before."""
        return self.folder / "log.jsonl"

    @property
    def rounds_plot(self) -> Path:
        """The figure of what cohorts have learned."""
        return self.folder / "rounds.png"


def find_home(home: Path | None, network: str) -> Home:
    """The home that is meant: as told, else `TAORAY_HOME`, else `./taoray-home/<network>`, in a job `~/taoray-home/…`.

    Raises ConfigurationError: in a job, a place that is relative to its folder, which vanishes.
    """
    told = home or (Path(os.environ["TAORAY_HOME"]) if os.environ.get("TAORAY_HOME") else None)
    if in_job():
        return Home(job_home(told, network))
    return Home((told or Path("taoray-home") / network).absolute())


def find_work(home: Path | None) -> Path:
    """The folder in which models are evaluated: `evaluate` in the home as told, in `TAORAY_HOME`, or in
    `./taoray-home`.
    """
    told = home or (Path(os.environ["TAORAY_HOME"]) if os.environ.get("TAORAY_HOME") else None)
    return ((told or Path("taoray-home")) / "evaluate").absolute()
