"""Cohorts: what the configuration names, as the ledger knows it.

Invariants: a cohort's first parameters come from the network's seed, so its record in the home can be made again; a
cohort whose architecture or rules change is another one.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from actors.miner import Job
from cluster.config import CohortEntry
from cluster.run import Run
from models.content import write_whole
from models.host.architectures import Architecture
from models.train.cohort import OuterSettings, cohort_id


class CohortRecord(Struct, frozen=True, kw_only=True):
    """What a cohort of the configuration began with, and its name on the ledger.

    Attributes:
        manifest: of its first parameters' version. id: what the ledger calls it. Both hexadecimal.
    """

    id: str
    manifest: str
    architecture: Architecture
    outer: OuterSettings
    seed: int


def first_jobs(run: Run) -> dict[str, Job]:
    """The jobs that make the first parameters of cohorts, by cohort, of those that have none yet."""
    return {
        cohort.name: Job(
            peer=f"the cohort {cohort.name}",
            work="begin",
            base=None,
            architecture=cohort.architecture,
            seed=_seed(run, cohort),
            strata=(),
            page_seed=b"",
            settings=run.network.training,
            noise=0.0,
        )
        for cohort in run.network.cohorts
        if _read(run, cohort) is None
    }


def keep_first(run: Run, made: Mapping[str, bytes]) -> None:
    """Record the first parameters' manifests, by cohort."""
    for cohort in run.network.cohorts:
        if cohort.name in made:
            manifest = made[cohort.name]
            record = CohortRecord(
                id=cohort_id(manifest, cohort.outer).hex(),
                manifest=manifest.hex(),
                architecture=cohort.architecture,
                outer=cohort.outer,
                seed=_seed(run, cohort),
            )
            write_whole(_path(run, cohort), msgspec.json.format(msgspec.json.encode(record), indent=1))


def first_manifests(run: Run) -> set[bytes]:
    """The versions that the configuration's cohorts began with."""
    return {bytes.fromhex(record.manifest) for _, record in read_cohorts(run)}


def read_cohorts(run: Run) -> list[tuple[CohortEntry, CohortRecord]]:
    """The configuration's cohorts, each with its record, as far as they have begun."""
    found = [(cohort, _read(run, cohort)) for cohort in run.network.cohorts]
    return [(cohort, record) for cohort, record in found if record is not None]


def _read(run: Run, cohort: CohortEntry) -> CohortRecord | None:
    """The cohort's record, if it is of the cohort that the configuration describes."""
    try:
        record = msgspec.json.decode(_path(run, cohort).read_bytes(), type=CohortRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    described = (cohort.architecture, cohort.outer, _seed(run, cohort))
    return record if (record.architecture, record.outer, record.seed) == described else None


def _path(run: Run, cohort: CohortEntry) -> Path:
    return run.home.cohorts / f"{cohort.name}.json"


def _seed(run: Run, cohort: CohortEntry) -> int:
    text = f"{run.network.network.seed}/{cohort.name}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, person=b"taoray/cohort").digest(), "little") >> 1
