"""A member of a cohort: derives the shared parameters θ, trains from them on its own pages, and makes its update.

Invariants:
* a job is complete in itself, and the same job gives the same payload: what it led to is kept until the next but one;
* what an update leaves out, and an update that came too late, is part of the next one (error feedback);
* the payload is laid into the member's own folder; others can read it only when its hash stands on the ledger.
"""

import hashlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import torch

from actors.member_record import MemberRecord, MemberRecords, Receipt
from actors.miner import put_model
from actors.parameters import load_standing
from models.content import write_whole
from models.errors import UpdateRefused
from models.host.folders import load_model, save_model
from models.store import Store
from models.text.corpus import Bytes, Corpus
from models.text.windows import draw_pages
from models.train.cohort import OuterSettings
from models.train.compression import accumulate, compress, decode, keep_error, payload_hash
from models.train.distil import Teaching, load_teaching
from models.train.layout import Layout, Vector, hash_vector, read_vector, write_vector
from models.train.local import TrainResult, train_steps
from models.train.optimizer import OptimizerState, load_optimizer, save_optimizer
from models.train.passes import memory_told
from models.train.round import next_parameters
from models.train.settings import TrainSettings
from models.train.sharded import train_sharded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Behaviour = Literal["train", "still", "flip", "noise"]
"""`still` sends nothing but zeros, `noise` what it has not learnt, `flip` the opposite of what it learnt."""


class MemberJob(msgspec.Struct, frozen=True, kw_only=True):
    """One member's work in one round.

    Attributes:
        peer: its name, also its folder. cohort: the cohort's name on the ledger. outer: its rules.
        manifest, parameters, accepted: the ledger's row of the cohort, or the version it begins with, None and nothing.
        page_seed: from which its pages are assigned. strata: of its pages, as far as there are any of these names.
        committed: its payload of the last round; None: it came too late, or there was no agreement on the round.
        teaching: files with what the collective expects of shared pages.
    """

    peer: str
    cohort: bytes
    manifest: bytes
    parameters: bytes | None
    accepted: tuple[tuple[int, bytes], ...]
    outer: OuterSettings
    settings: TrainSettings
    page_seed: bytes
    strata: tuple[str, ...]
    behaviour: Behaviour
    committed: bytes | None
    teaching: tuple[str, ...] = ()


class RoundReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What the driver learns of a member's job.

    Attributes:
        parameters, manifest: of θ, which the update begins at; the version is in the store.
        payload: hash of the update. size_bytes: its own; dense_bytes: what it would have uncompressed.
        tokens: bytes of text that it was trained on.
        loss_bits_per_byte: mean of its steps; None where nothing was trained.
        seconds: that the job took.
        messages: what a person should know of the training.
    """

    parameters: bytes
    manifest: bytes
    payload: bytes
    size_bytes: int
    dense_bytes: int
    tokens: int
    loss_bits_per_byte: float | None
    seconds: float
    messages: tuple[str, ...] = ()


def contribute(
    job: MemberJob, *, store: Store, corpus: Corpus, folder: Path, contributions: Path, device: str
) -> RoundReceipt:
    """Do a member's job: its payload is in `folder/outbox`, under its hash.

    Args:
        folder: where the member keeps what it remembers from round to round.
        contributions: the folder of shared payloads.

    Raises:
        StoreError, ModelRefused, TrainingError: as `load_standing`.
        TextError: there is no text to train on.
        TrainingError: the loss, or what it leads to, is not finite.
    """
    began = time.perf_counter()
    key = hashlib.blake2b(msgspec.msgpack.encode(job), digest_size=32).digest()
    records = MemberRecords(folder / "rounds" / job.cohort.hex()[:16])
    record = records.find(key)
    if record is None or record.receipt.manifest not in store:
        before = records.before(key)
        record = _work(job, key, before, store=store, corpus=corpus, contributions=contributions, device=device)
        records.keep(record)
    _lay_out(folder / "outbox", contributions, record)
    told = record.receipt
    return RoundReceipt(
        parameters=told.parameters,
        manifest=told.manifest,
        payload=told.payload,
        size_bytes=len(record.payload),
        dense_bytes=record.accumulated_P.nbytes,
        tokens=told.tokens,
        loss_bits_per_byte=told.loss_bits_per_byte,
        seconds=time.perf_counter() - began,
        messages=told.messages,
    )


def _work(
    job: MemberJob,
    key: bytes,
    before: MemberRecord | None,
    *,
    store: Store,
    corpus: Corpus,
    contributions: Path,
    device: str,
) -> MemberRecord:
    standing = load_standing(
        job.manifest,
        job.parameters,
        dict(job.accepted),
        job.outer,
        store=store,
        contributions=contributions,
        device=device,
    )
    theta_P, _ = next_parameters(standing.theta_P, standing.layout, standing.accepted, job.outer)
    write_vector(standing.model, theta_P)
    manifest = put_model(standing.model, store) if standing.accepted else job.manifest
    delta_P, trained = _learn(job, standing.model, theta_P, before, corpus, device)
    error_P = None if before is None else unsent(job, before, standing.layout)
    accumulated_P = accumulate(error_P, delta_P, job.outer)
    with memory_told(torch.device(device)):
        payload = compress(accumulated_P, standing.layout, job.outer, device)
    receipt = Receipt(
        round=1 if before is None else before.receipt.round + 1,
        previous=b"" if before is None else before.receipt.payload,
        parameters=hash_vector(theta_P, standing.layout),
        manifest=manifest,
        payload=payload_hash(payload),
        tokens=0 if trained is None else job.settings.pages * job.settings.page_bytes,
        steps_done=0 if trained is None else trained.steps_done,
        loss_bits_per_byte=None if trained is None else trained.loss_bits_per_byte,
        messages=() if trained is None else trained.messages,
    )
    state: OptimizerState = {} if trained is None else trained.optimizer_state
    return MemberRecord(key, receipt, payload, accumulated_P, state)


def _learn(
    job: MemberJob,
    model: "PreTrainedModel",
    theta_P: Vector,
    before: MemberRecord | None,
    corpus: Corpus,
    device: str,
) -> tuple[Vector, TrainResult | None]:
    """The pseudo-gradient Δ = θ − θ_local, and the training that led to it; a cheat's own. `model` has θ."""
    if job.behaviour == "still":
        return np.zeros_like(theta_P), None
    if job.behaviour == "noise":
        seed = int.from_bytes(job.page_seed[:8], "little")
        drawn_P = np.random.default_rng(seed).standard_normal(len(theta_P), dtype=np.float32)
        return drawn_P * np.float32(job.settings.learning_rate), None
    strata = corpus.known_strata(job.strata) or None
    pages_PT = draw_pages(
        corpus, job.page_seed, strata=strata, pages=job.settings.pages, page_bytes=job.settings.page_bytes
    )
    teaching = load_teaching(job.teaching, strata)
    state = before.optimizer if before is not None and before.optimizer else None
    steps_done = before.receipt.steps_done if before is not None and state else 0
    if job.settings.processes > 1:
        trained = _train_sharded(model, state, steps_done, pages_PT, job.settings, device, teaching)
    else:
        trained = train_steps(model, state, pages_PT, job.settings, steps_done=steps_done, teaching=teaching)
    delta_P = theta_P - read_vector(model)
    return -delta_P if job.behaviour == "flip" else delta_P, trained


def _train_sharded(
    model: "PreTrainedModel",
    state: OptimizerState | None,
    steps_done: int,
    pages_PT: Bytes,
    settings: TrainSettings,
    device: str,
    teaching: Teaching | None,
) -> TrainResult:
    """`train_steps` in several processes: between them and this one the model goes through a folder."""
    with tempfile.TemporaryDirectory(prefix="taoray-") as folder:
        scratch = Path(folder)
        save_model(model, scratch / "theta")
        before, after = scratch / "before.safetensors", scratch / "after.safetensors"
        if state is not None:
            save_optimizer(before, state, steps_done)
        source, target = scratch / "theta", scratch / "local"
        kept = None if state is None else before
        done = train_sharded(source, target, kept, after, pages_PT, settings, device=device, teaching=teaching)
        write_vector(model, read_vector(load_model(target)))
        return TrainResult(done.loss_bits_per_byte, done.steps_done, load_optimizer(after)[0], done.messages)


def unsent(job: MemberJob, before: MemberRecord, layout: Layout) -> Vector:
    """What stays of the last round: all of it, if its update was not part of a round."""
    if job.committed != before.receipt.payload:
        return before.accumulated_P
    try:
        return keep_error(before.accumulated_P, decode(before.payload, layout, job.outer))
    except UpdateRefused:
        return before.accumulated_P


def _lay_out(outbox: Path, contributions: Path, record: MemberRecord) -> None:
    """The payload into the outbox, unless others have it already; what is older than the last round's goes."""
    name = record.receipt.payload.hex()
    if not (contributions / name).exists() and not (outbox / name).exists():
        write_whole(outbox / name, record.payload)
    for other in outbox.glob("*"):
        if other.name != record.receipt.previous.hex() and name not in other.name:
            other.unlink(missing_ok=True)
