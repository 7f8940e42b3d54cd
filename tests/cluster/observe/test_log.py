"""The log: whole lines, two files, who and where; and the Show that writes it."""

import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.config import Network, load_network
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.observe.last import READ_BYTES, last_record
from cluster.observe.log import LogFile, LogLine, older, read_log
from cluster.observe.observed import Observed, at, observed
from cluster.report import EpochRecord, Seconds, append_epoch


class Told(list[str]):
    """A Show that keeps what it hears."""

    def step(self, sentence: str, total: int = 0) -> None:
        self.append(f"step {sentence} {total}")

    def advance(self, done: int) -> None:
        self.append(f"advance {done}")

    def note(self, sentence: str) -> None:
        self.append(f"note {sentence}")

    def epoch(self, record: EpochRecord) -> None:
        self.append(f"epoch {record.epoch}")


@pytest.fixture
def network(tiny_toml: Path) -> Network:
    return load_network(tiny_toml)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def line(sentence: str, **fields: object) -> LogLine:
    return LogLine(time_s=1.0, level="note", network="n", sentence=sentence, **fields)


def closed(epoch: int, block_hash: str = "00") -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        height=3 * epoch,
        block_hash=block_hash,
        collective_bits_per_byte=None,
        best_peer_bits_per_byte=None,
        baseline_bits_per_byte=None,
        new_bits=None,
        minted_rao=1,
        to_stake=True,
        final=True,
        seconds=Seconds(query=1, value=1, train=1, close=1),
        neurons=(),
    )


def sentences(home: Home, last: int | None = None) -> list[str]:
    return [line.sentence for line in read_log(home, last)]


def test_lines_come_back_in_their_order(home: Home) -> None:
    file = LogFile(home.log)
    for number in range(5):
        file.write(line(f"ä{number}\nb", uid=number, step="query", epoch=2))
    assert sentences(home) == [f"ä{number}\nb" for number in range(5)]
    assert sentences(home, 2) == ["ä3\nb", "ä4\nb"]
    assert sentences(home, 0) == []
    assert next(read_log(home)).uid == 0
    assert not file.failure


def test_no_log_is_no_line(home: Home) -> None:
    assert sentences(home) == []


def test_a_line_that_a_crash_cut_off_costs_no_other(home: Home) -> None:
    LogFile(home.log).write(line("whole"))
    with home.log.open("ab") as file:
        file.write(b'{"time_s": 3, "lev')
    LogFile(home.log).write(line("after"))
    assert sentences(home) == ["whole", "after"]


def test_two_files_of_bounded_size_are_kept(home: Home) -> None:
    file = LogFile(home.log, most_bytes=2000)
    for number in range(100):
        file.write(line(f"{number}"))
    there = sentences(home)
    assert there == [str(number) for number in range(100 - len(there), 100)]
    assert 10 < len(there) < 100
    assert home.log.stat().st_size <= 2000
    assert older(home.log).stat().st_size <= 2000
    assert {path.name for path in home.folder.iterdir()} == {"log.jsonl", "log.1.jsonl"}


def test_the_last_lines_are_found_from_the_end_of_both_files(home: Home) -> None:
    file = LogFile(home.log, most_bytes=300_000)
    for number in range(3000):
        file.write(line(f"{number} {'x' * (number % 7) * 30}"))
    everything = [each.sentence for each in read_log(home)]
    assert len(everything) > 1000
    assert older(home.log).exists()
    for last in (0, 1, 500, len(everything) - 1, len(everything), len(everything) + 5):
        assert sentences(home, last) == everything[max(0, len(everything) - last) :]


def test_what_cannot_be_written_is_said_and_raises_nothing(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "gone" / "log.jsonl")
    file.write(line("a"))
    assert "cannot be written" in file.failure


def test_who_follows_reads_on_through_a_new_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.observe.log.POLL_S", 0.01)
    file = LogFile(home.log, most_bytes=1000)
    file.write(line("first"))
    heard: list[str] = []
    enough = threading.Event()

    def follow() -> None:
        for told in read_log(home, last=1, follow=True):
            heard.append(told.sentence)
            if told.sentence == "39":
                enough.set()
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    while not heard:
        threading.Event().wait(0.01)
    for number in range(40):
        file.write(line(str(number)))
        if number % 5 == 0:
            while len(heard) < number + 2 and thread.is_alive():
                threading.Event().wait(0.01)
    assert enough.wait(30)
    assert heard == ["first", *map(str, range(40))]


def test_a_run_is_shown_as_before_and_written(home: Home, network: Network) -> None:
    told = Told()
    with observed(told, home, network) as show:
        show.step("asking", 3)
        show.advance(2)
        with at(epoch=7, step="query"):
            show.note("late is here")
        show.epoch(closed(7))
    assert told == ["step asking 3", "advance 2", "note late is here", "epoch 7"]
    lines = list(read_log(home))
    assert [(each.level, each.epoch, each.step) for each in lines] == [
        ("info", None, ""),
        ("note", 7, "query"),
        ("info", 7, "close"),
    ]
    assert "epoch 7 is closed: block 21" in lines[2].sentence
    assert {each.network for each in lines} == {network.network.name}


def subjects() -> Iterator[tuple[str, tuple[int | None, str, str]]]:
    yield "ada is late: no answer within 3 s", (5, "", "")
    yield "ada: she says so", (5, "", "")
    yield "ada's extrinsic was refused: bad_nonce", (5, "", "")
    yield "adam is late", (None, "", "")
    yield "host-2: the memory is full", (None, "host-2", "")
    yield "block 5 waits for ada", (None, "", "")
    yield "… nobody", (None, "", "")


@pytest.mark.parametrize(("sentence", "about"), [*subjects()])
def test_a_note_names_whom_it_is_about(
    home: Home, network: Network, sentence: str, about: tuple[int | None, str, str]
) -> None:
    show = Observed(Told(), home, network)
    show._uids = {"ada": 5}
    show.note(sentence)
    (only,) = read_log(home)
    assert (only.uid, only.host, only.validator) == about


def test_a_validator_is_named(home: Home, network: Network) -> None:
    name = network.validators[0].name
    Observed(Told(), home, network).note(f"{name} commits nothing in epoch 3: no answer")
    assert next(read_log(home)).validator == name


def test_the_end_by_an_error_is_in_the_log(home: Home, network: Network) -> None:
    with pytest.raises(ClusterError), observed(Told(), home, network), at(epoch=4, step="commit"):
        raise ClusterError("who did not\nstart")
    with pytest.raises(ZeroDivisionError), observed(Told(), home, network):
        1 / 0  # noqa: B018
    with pytest.raises(KeyboardInterrupt), observed(Told(), home, network):
        raise KeyboardInterrupt
    expected, unexpected, stopped = read_log(home)
    assert (expected.level, expected.sentence, expected.trace) == ("error", "who did not start", "")
    assert (expected.epoch, expected.step) == (4, "commit")
    assert (unexpected.epoch, unexpected.step) == (None, "")
    assert unexpected.sentence == "ZeroDivisionError: division by zero"
    assert "test_log.py" in unexpected.trace
    assert unexpected.trace.rstrip() in unexpected.text()
    assert stopped.level == "note"


def test_warnings_of_the_driver_are_in_the_log(home: Home, network: Network) -> None:
    before = warnings.showwarning
    with warnings.catch_warnings(record=True) as passed_on, observed(Told(), home, network):
        warnings.simplefilter("always")
        warnings.warn("this is old", DeprecationWarning, stacklevel=1)
    assert warnings.showwarning is before
    assert [str(each.message) for each in passed_on] == ["this is old"]
    (only,) = read_log(home)
    assert only.level == "warning"
    assert "this is old" in only.sentence


def test_a_full_disk_costs_lines_and_is_told_once(home: Home, network: Network) -> None:
    home.log.mkdir()
    told = Told()
    with observed(told, home, network) as show:
        show.note("a")
        show.note("b")
    assert [each for each in told if "cannot be written" in each] == [told[1]]
    assert "note b" in told


def test_the_last_record_is_found_from_the_end(home: Home) -> None:
    assert last_record(home.epochs) is None
    append_epoch(home.epochs, closed(1))
    append_epoch(home.epochs, closed(2, "f" * 3 * READ_BYTES))
    found = last_record(home.epochs)
    assert found is not None
    assert found.epoch == 2
    with home.epochs.open("ab") as file:
        file.write(b'\n{"epoch": 3, "hei' + b"x" * READ_BYTES)
    found = last_record(home.epochs)
    assert found is not None
    assert found.epoch == 2
    home.epochs.write_bytes(b"")
    assert last_record(home.epochs) is None
