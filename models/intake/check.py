"""The checks of a submission: its listing, what its files say, and a trial in a process of its own.

Invariants: what is cheap comes first, and nothing is allocated for what a file claims before it was compared with the
file; this process never loads a submission; what passes every check loads and answers on the network's hosts.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from models.errors import ModelRefused, StoreError, TrialError
from models.host.folders import ADAPTER_FILE, TOKENIZER_FILE, is_adapter
from models.intake.adapter import base_hash, read_adapter
from models.intake.configuration import read_configuration
from models.intake.limited import Ended, run_limited
from models.intake.listing import check_listing
from models.intake.quotas import Quotas
from models.intake.shards import read_weights
from models.intake.trial import Answer, Passed, Question, Refused, too_much_memory
from models.manifest import manifest_folder

START_S = 300.0
"""For the libraries to load, on a machine that does much else; 5 s on two idle cores."""
LONGEST_SENTENCE = 400
MILLION = 1e6
EXHAUSTED = ("bad_alloc", "memory allocation of", "allocate memory", "MemoryError", "start new thread")
"""What is said by those who cannot say it otherwise."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A submission that passed.

    Attributes:
        manifest: its hash.
        kind: hosted (whole weights), or adapter over `base`.
        model_type: as transformers names the architecture.
        reads: bytes, or tokens.
        bits_per_byte: of its answers to the trial's text.
        peak_mib: memory that the trial took beside the libraries.
    """

    manifest: bytes
    kind: Literal["hosted", "adapter"]
    base: bytes | None
    model_type: str
    parameters: int
    size_bytes: int
    context_tokens: int
    reads: Literal["bytes", "tokens"]
    bits_per_byte: float
    peak_mib: int


def check_static(folder: Path, quotas: Quotas) -> int:
    """Refuse a folder by what its files say, without loading anything; how many numbers its weights have.

    Raises ModelRefused with a code of `check_listing`, `read_adapter`, `read_configuration` or `read_weights`, or
    `parameters`.
    """
    check_listing(folder, quotas)
    if is_adapter(folder):
        read_adapter(folder, quotas)
    else:
        read_configuration(folder, quotas)
    stored = sum(tensor.numbers for tensor in read_weights(folder).values())
    if stored > quotas.parameters * MILLION:
        raise ModelRefused(
            "parameters",
            f"{folder} holds {stored:,} numbers, this network takes {quotas.parameters * MILLION:,.0f}: use a smaller "
            "model",
        )
    return stored


def check_submission(
    folder: Path,
    *,
    quotas: Quotas,
    panel: Literal["segments", "next_byte"],
    window_bytes: int,
    base: Callable[[bytes], Path] | None,
) -> Checked:
    """All checks of a folder that nobody else writes to.

    `window_bytes`: the length of the text that peers are asked about. `base`: the folder of a stored version by its
    manifest hash, StoreError where there is none; None: adapters are not taken.

    Raises ModelRefused with a code of docs/refusals.md, and TrialError where no trial could be held.
    """
    try:
        stored = check_static(folder, quotas)
        manifest = manifest_folder(folder)
        over = base_of(folder, base) if is_adapter(folder) else None
        question = Question(
            folder=str(folder.resolve()),
            base=None if over is None else str(over[1].resolve()),
            panel=panel,
            window_bytes=window_bytes,
            stored=stored,
            most_parameters=quotas.parameters * MILLION,
            trial_mib=quotas.trial_mib,
            trial_s=quotas.trial_s,
        )
        found = try_model(question)
    except ModelRefused as refusal:
        raise ModelRefused(refusal.code, plain(refusal.sentence, folder)) from None
    return Checked(
        manifest=manifest.hash,
        kind="hosted" if over is None else "adapter",
        base=None if over is None else over[0],
        size_bytes=manifest.size_bytes,
        **msgspec.structs.asdict(found),
    )


def base_of(folder: Path, base: Callable[[bytes], Path] | None) -> tuple[bytes, Path]:
    """The manifest hash and the folder of an adapter's base. Raises ModelRefused with code `adapter_base`."""
    name = base_hash(msgspec.json.decode((folder / ADAPTER_FILE).read_bytes()))
    try:
        root = None if base is None else base(name)
    except StoreError:
        root = None
    if root is None or is_adapter(root):
        raise ModelRefused(
            "adapter_base",
            f"{ADAPTER_FILE} is over {name.hex()}, and this network hosts no whole weights of that hash: "
            "submit the base first",
        )
    if (folder / TOKENIZER_FILE).exists():
        raise ModelRefused("adapter", f"{TOKENIZER_FILE} stands beside {ADAPTER_FILE}: the base's is used, remove it")
    return name, root


def try_model(question: Question) -> Passed:
    """Hold the trial of a submission, and judge how it ended. Raises ModelRefused and TrialError."""
    command = [sys.executable, "-m", "models.intake.trial"]
    try:
        ended = run_limited(command, msgspec.json.encode(question), start_s=START_S, work_s=question.trial_s)
    except OSError as error:
        raise TrialError(f"a process for the trial could not be started: {error}") from error
    if not ended.began:
        raise TrialError(f"the trial's libraries did not load within {START_S:.0f} s: {ended.error.strip()[-300:]}")
    answer = judge(ended, question)
    if isinstance(answer, Refused):
        raise ModelRefused(answer.code, answer.sentence)
    return answer


def judge(ended: Ended, question: Question) -> Answer:
    """What the end of a trial means."""
    if ended.answer and ended.status == 0:
        try:
            return msgspec.json.decode(ended.answer, type=Passed | Refused)
        except msgspec.MsgspecError:
            return Refused("crash", "its trial answered with something else than an answer: check its files")
    if ended.late or -ended.status in (signal.SIGXCPU, signal.SIGALRM):
        return Refused(
            "out_of_time",
            f"its trial took more than {question.trial_s:g} s, which this network gives it: use a smaller model",
        )
    if any(wording in ended.error for wording in EXHAUSTED):
        return Refused("out_of_memory", too_much_memory(question.trial_mib))
    return Refused(
        "crash", f"its trial ended with {describe_status(ended.status)} instead of an answer: check its files"
    )


def describe_status(status: int) -> str:
    """An exit status in words."""
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def plain(sentence: str, folder: Path) -> str:
    """A sentence in one line of bounded length, which names files by their names alone.

    What a stranger wrote may stand in it, and where the network keeps its files is the network's own business.
    """
    for root in {str(folder), str(folder.resolve())}:
        sentence = sentence.replace(f"{root}{os.sep}", "").replace(root, "the folder")
    printable = "".join(letter if letter.isprintable() else "?" for letter in sentence[: 2 * LONGEST_SENTENCE])
    return printable if len(printable) <= LONGEST_SENTENCE else f"{printable[: LONGEST_SENTENCE - 1]}…"
