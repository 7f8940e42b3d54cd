"""The work of peers that this network has the keys of: first versions, registrations, and each epoch's training.

Invariants:
* a peer that has an extrinsic in the queue gets no further job, and nothing is published over it: what a crashed run
  left there stands, and so does what its owner asked while its job ran;
* a peer whose job fails keeps its present version, and the reason is told.
"""

import hashlib
from collections.abc import Mapping
from typing import Literal

from actors.keeper import View
from actors.member import MemberJob, RoundReceipt
from actors.miner import Job
from actors.round_wire import page_seed
from cluster.cohorts import first_jobs, keep_first
from cluster.config import PeerEntry
from cluster.errands import send_jobs
from cluster.errors import ClusterError
from cluster.queueing import queueing
from cluster.records import records_of
from cluster.rounds import member_jobs, round_calls
from cluster.run import Run, Work
from cluster.signing import coldkey_of, hotkey_of, sign_calls, waits
from cluster.teaching import teach
from ledger.entries import Neuron
from ledger.errors import WalletError
from ledger.extrinsics import Call, Publish, Register
from ledger.keys import Keypair
from ledger.wallet import Wallet


def enlist(run: Run, work: Work) -> None:
    """Peers that are not on the ledger yet: their first versions are made, then registered and published.

    Members of a cohort are registered only: what they learn is their cohort's.
    """
    view = run.view()
    known = {neuron.hotkey for neuron in view.neurons}
    strangers = [peer for peer in run.network.peers if hotkey_of(run, peer.name).public not in known]
    strangers = [peer for peer in strangers if not waits(run, coldkey_of(run, peer.name).public)]
    begun = first_jobs(run)
    jobs = begun | {peer.name: _job(run, peer, "begin", None, b"") for peer in strangers if not peer.cohort}
    if jobs:
        run.show.step(f"making {len(jobs)} models", len(jobs))
    made = {name: receipt.manifest for name, receipt in send_jobs(run, work, jobs).items()}
    keep_first(run, {name: made[name] for name in begun if name in made})
    announce(run, {peer.name: made.get(peer.name) for peer in strangers if peer.cohort or peer.name in made})


def announce(run: Run, first: Mapping[str, bytes | None]) -> None:
    """Queue the registrations of peers by name, and the publications of their first versions, where they have one."""
    price_rao = run.genesis.parameters.registration_price_max_rao
    with queueing(run.home):
        extrinsics: dict[str, bytes] = {}
        for name, manifest in first.items():
            hotkey = hotkey_of(run, name)
            call = Register(hotkey=hotkey.public, name=name, max_price_rao=price_rao)
            extrinsics[f"{name} (register)"] = sign_calls(run, coldkey_of(run, name), [call])[0]
            if manifest is not None:
                extrinsics[f"{name} (publish)"] = sign_calls(run, hotkey, [Publish(manifest=manifest)])[0]
        run.submit(extrinsics)


def train(run: Run, work: Work, view: View) -> None:
    """Every peer does its work; what comes of it is published in the block that opens the epoch, and valued in it.

    Members of cohorts take the step of the last round, learn, and are bound to their updates.
    """
    submitted = _submitted(run)
    teaching = teach(run, work, view)
    jobs: dict[str, Job | MemberJob] = {
        **_own_jobs(run, view, submitted, teaching),
        **member_jobs(run, view, teaching),
    }
    if not jobs:
        return
    run.show.step(f"training {len(jobs)} peers", len(jobs))
    made = send_jobs(run, work, jobs)
    updates = {name: receipt for name, receipt in made.items() if isinstance(receipt, RoundReceipt)}
    work.losses = {n: r.loss_bits_per_byte for n, r in updates.items() if r.loss_bits_per_byte is not None}
    calls: dict[str, list[Call]] = {
        name: [Publish(manifest=receipt.manifest)] for name, receipt in made.items() if name not in updates
    }
    calls |= round_calls(run, work, view, updates)
    hotkeys = {name: submitted.get(name) or hotkey_of(run, name) for name in made}
    with queueing(run.home):
        meanwhile = submitted.keys() - _submitted(run).keys()
        run.submit(
            {
                f"{name} ({type(call).__name__.lower()})": extrinsic
                for name, own in calls.items()
                if name not in meanwhile and not waits(run, hotkeys[name].public)
                for call, extrinsic in zip(own, sign_calls(run, hotkeys[name], own), strict=True)
            }
        )


def _own_jobs(run: Run, view: View, submitted: Mapping[str, Keypair], teaching: tuple[str, ...]) -> dict[str, Job]:
    """The jobs of peers that train alone, by name."""
    neurons = {neuron.hotkey: neuron for neuron in view.neurons}
    jobs: dict[str, Job] = {}
    for peer in run.network.peers:
        neuron = neurons.get(hotkey_of(run, peer.name).public)
        if neuron is not None and not peer.cohort and not waits(run, neuron.hotkey):
            job = _epoch_job(run, peer, neuron, view, teaching)
            if job is not None:
                jobs[peer.name] = job
    for name, hotkey in submitted.items():
        neuron = neurons.get(hotkey.public)
        if neuron is not None and neuron.manifest is not None and not waits(run, neuron.hotkey):
            jobs[name] = _submitted_job(run, name, neuron, view, teaching)
    return jobs


def _submitted(run: Run) -> dict[str, Keypair]:
    """The hotkeys of submitted peers that this network was asked to train, by name; what cannot be read is told."""
    records, found = records_of(run.home), {}
    for name in records.names():
        try:
            record = records.read(name, run.genesis.hash)
            if record is not None and record.train:
                found[name] = Wallet.open(run.home.wallets, record.wallet).hotkey(record.hotkey)
        except (ClusterError, WalletError) as error:
            run.show.note(f"{name} is not trained: {error}")
    return {name: hotkey for name, hotkey in found.items() if name not in {peer.name for peer in run.network.peers}}


def _submitted_job(run: Run, name: str, neuron: Neuron, view: View, teaching: tuple[str, ...]) -> Job:
    return Job(
        peer=name,
        work="train",
        base=neuron.manifest,
        seed=_model_seed(run, name),
        strata=(),
        page_seed=page_seed(view.close_hash, neuron.hotkey),
        settings=run.network.training,
        noise=0.0,
        teaching=teaching,
    )


def _epoch_job(run: Run, peer: PeerEntry, neuron: Neuron, view: View, teaching: tuple[str, ...]) -> Job | None:
    if peer.behaviour == "still" or neuron.manifest is None:
        return None
    seed = page_seed(view.close_hash, neuron.hotkey)
    if peer.behaviour == "train":
        return _job(run, peer, "train", neuron.manifest, seed, teaching)
    source = next((n.manifest for n in view.neurons if run.wallets.get(n.hotkey) == peer.copies), None)
    return _job(run, peer, "copy", source, seed) if source is not None else None


def _job(
    run: Run,
    peer: PeerEntry,
    work: Literal["begin", "train", "copy"],
    base: bytes | None,
    seed: bytes,
    teaching: tuple[str, ...] = (),
) -> Job:
    return Job(
        peer=peer.name,
        work=work,
        base=base,
        architecture=peer.architecture,
        seed=_model_seed(run, peer.name),
        strata=peer.strata,
        page_seed=seed,
        settings=run.network.training,
        noise=peer.noise,
        teaching=teaching,
    )


def _model_seed(run: Run, name: str) -> int:
    digest = hashlib.blake2b(f"{run.network.network.seed}/{name}".encode(), digest_size=8, person=b"taoray/model")
    return int.from_bytes(digest.digest(), "little") >> 1
