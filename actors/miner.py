"""What a peer does between two publications: begin, train, or take over another's version.

Invariants:
* a job is complete in itself, and two runs of one job give the same version: a host may die at any instant, and
  another takes its place;
* the optimizer's state is kept beside the version that it led to, so training goes on where it was.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from models.errors import ModelRefused
from models.host.architectures import Architecture, build_model
from models.host.folders import has_tokenizer, load_model, save_model
from models.store import Store
from models.text.corpus import Corpus
from models.text.windows import draw_pages
from models.train.distil import load_teaching
from models.train.local import perturb, train_folder
from models.train.settings import TrainSettings
from models.train.sharded import train_sharded

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One peer's work in one epoch.

    Attributes:
        peer: its name, also the folder of its optimizer's state.
        work: begin (a new model from `architecture` and `seed`), train (from `base`), copy (`base` with `noise`).
        base: manifest hash to start from; None to begin.
        strata: the strata of training text it learns from, as far as there are any of these names; else all text.
        page_seed: from which its pages are assigned.
        teaching: files with what the collective expects of shared pages; those of its strata are followed.
    """

    peer: str
    work: Literal["begin", "train", "copy"]
    base: bytes | None
    seed: int
    strata: tuple[str, ...]
    page_seed: bytes
    settings: TrainSettings
    noise: float
    architecture: Architecture | None = None
    teaching: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """A version that a job made.

    Attributes:
        manifest: its hash, already in the store.
        loss_bits_per_byte: mean training loss of the round; None where nothing was trained.
        messages: what a person should know of the training.
    """

    manifest: bytes
    loss_bits_per_byte: float | None
    messages: tuple[str, ...] = ()


def make_version(job: Job, *, store: Store, corpus: Corpus, folder: Path, device: str) -> Made:
    """Do a job: a new version in the store.

    Args:
        folder: where this peer keeps its optimizer's state.

    Raises:
        StoreError: the base is not in the store, or damaged.
        ModelRefused: the base cannot be loaded, or reads tokens.
        ModelsError: the loss is not finite.
    """
    if job.work == "begin":
        if job.architecture is None:
            raise ValueError(f"the job of {job.peer} is to begin, and names no architecture")
        return Made(put_model(build_model(job.architecture, job.seed), store), None)
    if job.base is None:
        raise ValueError(f"the job of {job.peer} is to {job.work}, and names no version to start from")
    folder_of_base = store.materialize(job.base)
    if has_tokenizer(folder_of_base):
        raise ModelRefused(
            "tokenizer", f"the version that {job.peer} is to {job.work} reads tokens, training is by bytes"
        )
    if job.work == "copy":
        model = load_model(folder_of_base, device)
        perturb(model, job.noise, int.from_bytes(job.page_seed[:8], "little"))
        return Made(put_model(model, store), None)
    return _trained(job, folder_of_base, store=store, corpus=corpus, folder=folder, device=device)


def _trained(job: Job, source: Path, *, store: Store, corpus: Corpus, folder: Path, device: str) -> Made:
    assert job.base is not None
    strata = corpus.known_strata(job.strata) or None
    pages_PT = draw_pages(
        corpus,
        job.page_seed,
        strata=strata,
        pages=job.settings.pages,
        page_bytes=job.settings.page_bytes,
    )
    teaching = load_teaching(job.teaching, strata)
    folder.mkdir(parents=True, exist_ok=True)
    state, next_state = folder / f"{job.base.hex()}.safetensors", folder / "next.safetensors"
    with tempfile.TemporaryDirectory(prefix="taoray-") as scratch:
        target = Path(scratch) / "model"
        train = train_sharded if job.settings.processes > 1 else train_folder
        trained = train(
            source,
            target,
            state if state.exists() else None,
            next_state,
            pages_PT,
            job.settings,
            device=device,
            teaching=teaching,
        )
        manifest = store.put_folder(target).hash
    next_state.replace(folder / f"{manifest.hex()}.safetensors")
    for other in folder.glob("*.safetensors"):
        if other.stem not in (manifest.hex(), job.base.hex()):
            other.unlink(missing_ok=True)
    return Made(manifest, trained.loss_bits_per_byte, trained.messages)


def put_model(model: "PreTrainedModel", store: Store) -> bytes:
    """Put a model into the store as a version; its manifest hash. Raises StoreError where the disk refuses."""
    with tempfile.TemporaryDirectory(prefix="taoray-") as scratch:
        target = Path(scratch) / "model"
        save_model(model, target)
        return store.put_folder(target).hash
