"""Processes that crash, hang, flood, fork or say nonsense: each ends, and is told apart."""

import signal
import sys
from pathlib import Path

import msgspec
import pytest

from models.errors import ModelRefused, TrialError
from models.intake.check import judge, try_model
from models.intake.limited import MOST_ANSWER_BYTES, Ended, run_limited
from models.intake.trial import Passed, Question, Refused

READY = "import os, sys, time, signal; print('ready', flush=True)\n"
QUESTION = Question("/nowhere", None, "segments", 64, 1, 1e9, 100, 2.0)
ANSWER = b'{"type":"refused","code":"nan","sentence":"no"}'


def run(script: str, question: bytes = b"", work_s: float = 60.0) -> Ended:
    return run_limited([sys.executable, "-c", script], question, start_s=60.0, work_s=work_s)


def code_of(ended: Ended) -> str:
    answer = judge(ended, QUESTION)
    assert isinstance(answer, Refused)
    return answer.code


def is_running(process: int) -> bool:
    """Whether a process lives; one that only waits to be counted does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_question_gets_its_answer():
    ended = run(READY + "print(sys.stdin.read().upper())", b"question")
    assert (ended.began, ended.answer, ended.status, ended.late) == (True, b"QUESTION\n", 0, False)


def test_an_answer_is_what_it_says():
    assert code_of(Ended(began=True, answer=ANSWER)) == "nan"
    passed = Passed("llama", 1, 2, "bytes", 8.0, 3)
    assert judge(Ended(began=True, answer=msgspec.json.encode(passed)), QUESTION) == passed


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("os.abort()", "crash"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crash"),
        ("os._exit(0)", "crash"),
        ("print('{}')", "crash"),
        (f"print('x' * {MOST_ANSWER_BYTES + 1})", "crash"),
        ("print('''" + ANSWER.decode() + "'''); sys.stdout.flush(); os.abort()", "crash"),
        ("time.sleep(600)", "out_of_time"),
        ("os.kill(os.getpid(), signal.SIGXCPU)", "out_of_time"),
        ("sys.stderr.write('std::bad_alloc'); sys.stderr.flush(); os.abort()", "out_of_memory"),
    ],
)
def test_whatever_else_happens_is_a_refusal(script, code):
    assert code_of(run(READY + script, work_s=2.0)) == code


def test_a_flood_of_warnings_is_not_kept():
    ended = run(READY + "sys.stderr.write('w' * (64 << 20) + 'last'); print('done')")
    assert ended.answer == b"done\n"
    assert len(ended.error) <= 1 << 12
    assert ended.error.endswith("last")


def test_its_children_end_with_it():
    script = "pid = os.fork()\nif pid == 0: time.sleep(600)\nprint(pid, flush=True); os._exit(0)"
    ended = run(READY + script, work_s=3.0)
    child = int(ended.answer)
    while is_running(child):
        pass


def test_it_knows_none_of_this_users_secrets(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    ended = run(READY + "print(sorted(name for name, value in os.environ.items() if 'secret' in value))")
    assert ended.answer == b"[]\n"


def test_what_does_not_begin_is_no_fault_of_the_model(monkeypatch):
    monkeypatch.setattr("models.intake.check.run_limited", lambda *_, **__: run("raise SystemExit('no libraries')"))
    with pytest.raises(TrialError, match="no libraries"):
        try_model(QUESTION)


LIMITED = """
import os, sys
from models.intake.trial import Question, limit, warm_up
warm_up()
limit(Question("", None, "segments", 64, 1, 1e9, 64, 4.0))
print("ready", flush=True)
try:
    bytearray(80 << 20)
except MemoryError:
    sys.stderr.write("no memory")
try:
    os.write(os.open(sys.stdin.read(), os.O_CREAT | os.O_WRONLY), b"x")
except OSError as error:
    sys.stderr.write(error.strerror)
sys.stderr.flush()
while True:
    pass
"""


@pytest.mark.thorough
def test_a_trial_limits_itself(tmp_path):
    """Memory, files and time, in the process that holds trials, which nobody else ends here."""
    ended = run(LIMITED, str(tmp_path / "file").encode())
    assert ended.error == "no memoryFile too large"
    assert ended.status in (-signal.SIGXCPU, -signal.SIGALRM)
    assert code_of(ended) == "out_of_time"


def test_a_refusal_keeps_its_code(monkeypatch):
    monkeypatch.setattr("models.intake.check.run_limited", lambda *_, **__: run(READY + f"print({ANSWER.decode()!r})"))
    with pytest.raises(ModelRefused) as refused:
        try_model(QUESTION)
    assert refused.value.code == "nan"
