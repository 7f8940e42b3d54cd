"""The work of peers that this network has the keys of: first versions, registrations, and each epoch's training.

Invariants:
* a peer that has an extrinsic in the queue gets no further job, and nothing is published over it: what a crashed run
  left there stands, and so does what its owner asked while its job ran;
* a peer whose job fails keeps its present version, and the reason is told.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

from actors.dispatch import Task
from actors.host import JobReceipt
from actors.keeper import View
from actors.miner import Job
from actors.seam import Handle, Reference
from cluster.calls import ask_one
from cluster.config import PeerEntry
from cluster.errors import ClusterError
from cluster.place.plan import plan_hosts
from cluster.queueing import queueing
from cluster.records import records_of
from cluster.run import Run, Work
from ledger.entries import Neuron
from ledger.errors import WalletError
from ledger.extrinsics import Call, Publish, Register, encode_extrinsic, sign_extrinsic
from ledger.keys import Keypair
from ledger.wallet import Wallet
from models.host.architectures import parameter_count

VALID_BLOCKS = 12
"""For how many blocks a registration or publication stays valid: a few epochs, should the run be interrupted."""


def enlist(run: Run, work: Work) -> None:
    """Peers that are not on the ledger yet: their first versions are made, then registered and published."""
    view = run.view()
    known = {neuron.hotkey for neuron in view.neurons}
    strangers = [peer for peer in run.network.peers if _hotkey(run, peer.name).public not in known]
    strangers = [peer for peer in strangers if not _waits(run, _coldkey(run, peer.name).public)]
    if not strangers:
        return
    run.show.step(f"making {len(strangers)} models", len(strangers))
    made = _do(run, {peer.name: _job(run, peer, "begin", None, b"") for peer in strangers})
    with queueing(run.home):
        extrinsics: dict[str, bytes] = {}
        for peer in strangers:
            if peer.name in made:
                hotkey = _hotkey(run, peer.name)
                price_rao = run.genesis.parameters.registration_price_max_rao
                call = Register(hotkey=hotkey.public, name=peer.name, max_price_rao=price_rao)
                extrinsics[f"{peer.name} (register)"] = _sign(run, work, _coldkey(run, peer.name), call)
                published = Publish(manifest=made[peer.name].manifest)
                extrinsics[f"{peer.name} (publish)"] = _sign(run, work, hotkey, published)
        run.submit(extrinsics)


def train(run: Run, work: Work, view: View) -> None:
    """Every peer does its work; what comes of it is published in the block that opens the epoch, and valued in it."""
    neurons = {neuron.hotkey: neuron for neuron in view.neurons}
    jobs: dict[str, Job] = {}
    for peer in run.network.peers:
        neuron = neurons.get(_hotkey(run, peer.name).public)
        if neuron is not None and not _waits(run, neuron.hotkey):
            job = _epoch_job(run, peer, neuron, view)
            if job is not None:
                jobs[peer.name] = job
    submitted = _submitted(run)
    for name, hotkey in submitted.items():
        neuron = neurons.get(hotkey.public)
        if neuron is not None and neuron.manifest is not None and not _waits(run, neuron.hotkey):
            jobs[name] = _submitted_job(run, name, neuron, view)
    if not jobs:
        return
    run.show.step(f"training {len(jobs)} peers", len(jobs))
    made = _do(run, jobs)
    hotkeys = {name: submitted.get(name) or _hotkey(run, name) for name in made}
    with queueing(run.home):
        meanwhile = submitted.keys() - _submitted(run).keys()
        run.submit(
            {
                name: _sign(run, work, hotkeys[name], Publish(manifest=receipt.manifest))
                for name, receipt in made.items()
                if name not in meanwhile and not _waits(run, hotkeys[name].public)
            }
        )


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


def _submitted_job(run: Run, name: str, neuron: Neuron, view: View) -> Job:
    return Job(
        peer=name,
        work="train",
        base=neuron.manifest,
        seed=_model_seed(run, name),
        strata=(),
        page_seed=_page_seed(view, neuron),
        settings=run.network.training,
        noise=0.0,
    )


def _epoch_job(run: Run, peer: PeerEntry, neuron: Neuron, view: View) -> Job | None:
    if peer.behaviour == "still" or neuron.manifest is None:
        return None
    page_seed = _page_seed(view, neuron)
    if peer.behaviour == "train":
        return _job(run, peer, "train", neuron.manifest, page_seed)
    source = next((n.manifest for n in view.neurons if run.wallets.get(n.hotkey) == peer.copies), None)
    return _job(run, peer, "copy", source, page_seed) if source is not None else None


def _job(
    run: Run, peer: PeerEntry, work: Literal["begin", "train", "copy"], base: bytes | None, page_seed: bytes
) -> Job:
    return Job(
        peer=peer.name,
        work=work,
        base=base,
        architecture=peer.architecture,
        seed=_model_seed(run, peer.name),
        strata=peer.strata,
        page_seed=page_seed,
        settings=run.network.training,
        noise=peer.noise,
    )


def _page_seed(view: View, neuron: Neuron) -> bytes:
    shown = view.previous_close_hash + neuron.uid.to_bytes(4, "little")
    return hashlib.blake2b(shown, digest_size=32, person=b"taoray/pages").digest()


def _model_seed(run: Run, name: str) -> int:
    digest = hashlib.blake2b(f"{run.network.network.seed}/{name}".encode(), digest_size=8, person=b"taoray/model")
    return int.from_bytes(digest.digest(), "little") >> 1


def _do(run: Run, jobs: dict[str, Job]) -> dict[str, JobReceipt]:
    """Have the hosts do the jobs, each about as much; returns the receipts by peer."""

    def send(host: Handle, task: Task) -> Sequence[Reference]:
        return (host.work.remote(jobs[task.key.decode()]),)

    sizes = {name: parameter_count(job.architecture) if job.architecture else 1 for name, job in jobs.items()}
    plan = plan_hosts(sizes, run.network.placement.hosts)
    done = run.crew.pool.run(
        [Task(name.encode()) for name in jobs],
        send,
        homes={host: frozenset(name.encode() for name in names) for host, names in plan.items()},
        task_deadline_s=run.network.deadlines.train_s,
        deadline_s=run.network.deadlines.train_s,
        progress=run.show.advance,
    )
    for name, failure in done.failures.items():
        run.show.note(f"{name.decode()} is {failure.reason}: {failure.sentence}")
    return {task.key.decode(): receipt for task, receipt in done.receipts.items()}


def _sign(run: Run, work: Work, keypair: Keypair, call: Call) -> bytes:
    return encode_extrinsic(
        sign_extrinsic(
            call,
            keypair,
            genesis_hash=run.genesis.hash,
            nonce=_next_nonce(run, keypair.public),
            valid_until=run.position().height + VALID_BLOCKS,
        )
    )


def _next_nonce(run: Run, public: bytes) -> int:
    deadline_s = run.network.deadlines.validator_s
    nonce: int = ask_one("the keeper", run.crew.keeper.next_nonce.remote(public), deadline_s=deadline_s)
    return nonce


def _waits(run: Run, public: bytes) -> bool:
    deadline_s = run.network.deadlines.validator_s
    waits: bool = ask_one("the keeper", run.crew.keeper.waiting.remote(public), deadline_s=deadline_s)
    return waits


def _hotkey(run: Run, name: str) -> Keypair:
    return Wallet.open(run.home.wallets, name).hotkey()


def _coldkey(run: Run, name: str) -> Keypair:
    return Wallet.open(run.home.wallets, name).coldkey()
