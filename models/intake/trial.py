"""A trial: a submission is loaded and answers a little text, in this process and within limits.

Invariants: limits are set once the libraries are loaded, before anything of the submission is read; no file can be
written; standard output carries READY and one line, the answer, and nothing else; whatever else happens is this
process's end, and its caller's to judge.

    python -m models.intake.trial < question
"""

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Literal

import msgspec

from models.errors import ModelRefused
from models.intake.limited import READY

NICENESS = 5
MOST_THREADS = 8


class Question(msgspec.Struct, frozen=True):
    """What is to be tried. base: the folder of an adapter's base. stored: how many numbers the files hold."""

    folder: str
    base: str | None
    panel: Literal["segments", "next_byte"]
    window_bytes: int
    stored: int
    most_parameters: float
    trial_mib: int
    trial_s: float


class Passed(msgspec.Struct, frozen=True, tag="passed"):
    """What was found; fields as those of `models.intake.check.Checked`."""

    model_type: str
    parameters: int
    context_tokens: int
    reads: Literal["bytes", "tokens"]
    bits_per_byte: float
    peak_mib: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Why not."""

    code: str
    sentence: str


Answer = Passed | Refused


def main() -> None:
    """Answer the question on standard input."""
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    # What a library prints goes to standard error.
    said = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warm_up()
    before_mib = status_mib("VmRSS")
    limit(question)
    said.write(READY)
    said.flush()
    answer = answer_to(question, before_mib)
    said.write(msgspec.json.encode(answer) + b"\n")
    said.flush()


def warm_up() -> None:
    """Load what every model needs, so that it does not count as the submission's."""
    import torch

    from models.host.architectures import Architecture, build_model

    os.nice(NICENESS)
    torch.set_num_threads(max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2)))
    model = build_model(Architecture("llama", 64, 1, 2), 0)
    with torch.inference_mode():
        model(input_ids=torch.zeros((2, 64), dtype=torch.int64))


def limit(question: Question) -> None:
    """From here on this process has so much memory and time, and writes no file."""
    import torch

    data_bytes = (status_mib("VmData") + question.trial_mib) << 20
    seconds = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime + question.trial_s * torch.get_num_threads()) + 1
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # If the caller is gone, this ends by itself.
    signal.setitimer(signal.ITIMER_REAL, question.trial_s + 1)


def answer_to(question: Question, before_mib: int) -> Answer:
    """What came of the trial."""
    from models.faults import is_exhaustion
    from models.intake.probe import one_line

    try:
        return examine(question, before_mib)
    except ModelRefused as refusal:
        return Refused(refusal.code, refusal.sentence)
    except Exception as error:
        # Whatever a submission makes the libraries raise is its refusal.
        if is_exhaustion(error):
            return Refused("out_of_memory", too_much_memory(question.trial_mib))
        return Refused(
            "fails", f"it does not answer ({type(error).__name__}: {one_line(error)}): try it on text yourself"
        )


def too_much_memory(trial_mib: int) -> str:
    """The sentence for a submission that needs more than it may have."""
    return f"its trial needs more than {trial_mib:,} MiB, which this network gives it: use a smaller model"


def examine(question: Question, before_mib: int) -> Passed:
    """Load the submission, and see whether it answers. Raises ModelRefused."""
    import torch

    from models.host.folders import has_tokenizer
    from models.host.hosted import load_hosted
    from models.intake.probe import bits_of_answers, check_causal, check_finite, described_parameters
    from models.intake.sample import unforeseen_window

    folder, base = Path(question.folder), Path(question.base) if question.base else None
    dtype = torch.float32
    if base is None:
        parameters = described_parameters(folder, question.stored, question.most_parameters)
        # A model that fits in half its memory so is tried in single precision, a larger one in 16 bits.
        dtype = torch.float32 if parameters * 4 <= question.trial_mib << 19 else torch.bfloat16
    hosted = load_hosted(folder, "cpu", dtype, base=base)
    check_finite(hosted)
    check_causal(hosted, unforeseen_window(question.window_bytes))
    bits_per_byte = bits_of_answers(hosted, question.panel, question.window_bytes)
    return Passed(
        model_type=str(hosted.model.config.model_type),
        parameters=hosted.parameters,
        context_tokens=hosted.context_tokens,
        reads="tokens" if has_tokenizer(base or folder) else "bytes",
        bits_per_byte=bits_per_byte,
        peak_mib=max(0, status_mib("VmHWM") - before_mib),
    )


def status_mib(name: str) -> int:
    """A size of this process in MiB, rounded up, as Linux tells it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        field, _, value = line.partition(":")
        if field == name:
            return -(-int(value.split()[0]) // 1024)
    raise OSError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    main()
