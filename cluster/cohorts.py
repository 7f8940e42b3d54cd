"""Cohorts: what a network's configuration names, as the ledger knows it; and the rounds of their members.

Invariants:
* a cohort's first parameters come from the network's seed: its record in the home can be made again;
* what a member sends can be read by others only when its hash stands in a final open block;
* every step may be repeated: what a driver that was killed has done already is found done.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from actors.keeper import View
from actors.miner import Job
from cluster.config import CohortEntry
from cluster.run import Run
from ledger.entries import Neuron
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
            run.home.cohorts.mkdir(parents=True, exist_ok=True)
            waiting = run.home.cohorts / f".{cohort.name}.new"
            waiting.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
            waiting.replace(_path(run, cohort))


def first_manifests(run: Run) -> set[bytes]:
    """The versions that the configuration's cohorts began with."""
    records = (_read(run, cohort) for cohort in run.network.cohorts)
    return {bytes.fromhex(record.manifest) for record in records if record is not None}


def share(run: Run, view: View) -> None:
    """Have everybody read what was committed to in the open block: payloads move from their members' folders into the
    network's. Called when the block is final, and again by whoever goes on from it.
    """
    run.home.contributions.mkdir(parents=True, exist_ok=True)
    names = {neuron.uid: run.wallets.get(neuron.hotkey, "") for neuron in view.neurons}
    for uid, contribution in view.contributions.items():
        shared = run.home.contributions / contribution.payload.hex()
        if names.get(uid) and not shared.exists():
            try:
                (run.home.peers / names[uid] / "outbox" / contribution.payload.hex()).replace(shared)
            except FileNotFoundError:
                run.show.note(f"{names[uid]}'s update is gone: {contribution.payload.hex()[:16]}")


def page_seed(close_hash: bytes, neuron: Neuron) -> bytes:
    """From which a peer's pages of an epoch are assigned: nobody knows it before the last epoch has closed."""
    return hashlib.blake2b(close_hash + neuron.hotkey, digest_size=32, person=b"taoray/pages").digest()


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
