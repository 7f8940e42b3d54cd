"""A run's Show that also writes the log and exports metrics: one wrapper, put around whatever shows the run.

Invariants:
* what is shown is passed on unchanged, and first;
* a note about a neuron, host or validator begins with its name: by that the log knows whom it is about;
* the driver's end by an error is in the log before it leaves the driver, and Python's warnings are.
"""

import contextlib
import os
import re
import time
import traceback
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TextIO

from cluster.config import Network
from cluster.epoch import Step
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.observe.export import Exporter
from cluster.observe.last import last_record
from cluster.observe.log import Level, LogFile, LogLine
from cluster.observe.metrics import sample, samples
from cluster.report import EpochRecord
from cluster.show import Show
from ledger.errors import LedgerError
from models.errors import ModelsError

EXPECTED = (ClusterError, LedgerError, ModelsError)
"""Errors that say in their sentence what was wrong; of others the log has the trace."""

LIVE_S = 1.0
"""How often the number of answers is exported, at most."""

_HOST = re.compile(r"host-\d+|quarantine|gateway")
_SUBJECT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*?)(?:'s\b|:|\s|$)")

_at: ContextVar[tuple[int | None, str]] = ContextVar("at", default=(None, ""))


@contextlib.contextmanager
def at(*, epoch: int, step: str) -> Iterator[None]:
    """What is told until the end belongs to this step of this epoch; after an error the run's end does too."""
    token = _at.set((epoch, step))
    yield
    _at.reset(token)


class Observed:
    """`cluster.show.Show` around another one. Made by `observed`."""

    def __init__(self, show: Show, home: Home, network: Network) -> None:
        self._show, self._network = show, network.network.name
        self._validators = frozenset(entry.name for entry in network.validators)
        self._file = LogFile(home.log)
        self.exporter = Exporter(self._network)
        self._live_s = 0.0
        self._seen: tuple[int | None, str] = (None, "")
        self._uids: dict[str, int] = {}
        with contextlib.suppress(OSError):
            last = last_record(home.epochs)
            self._uids = {neuron.name: neuron.uid for neuron in last.neurons} if last else {}

    def step(self, sentence: str, total: int = 0) -> None:
        """A step begins."""
        self._show.step(sentence, total)
        self._write("info", sentence)
        self.exporter.tell([*sample("taoray_step_answers", 0), *sample("taoray_step_expected_answers", total)])

    def advance(self, done: int) -> None:
        """So many answers are there."""
        self._show.advance(done)
        if time.monotonic() - self._live_s > LIVE_S:
            self._live_s = time.monotonic()
            self.exporter.tell(sample("taoray_step_answers", done))

    def note(self, sentence: str) -> None:
        """Something that a person should know."""
        self._show.note(sentence)
        self._write("note", sentence)

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is closed."""
        self._show.epoch(record)
        self._uids = {neuron.name: neuron.uid for neuron in record.neurons}
        with at(epoch=record.epoch, step=Step.CLOSE):
            self._write("info", _told(record))
        self.exporter.close_epoch(samples(record))

    def ended(self, error: BaseException) -> None:
        """The run ends by an error."""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self._write("note", "the driver was told to stop")
        elif isinstance(error, EXPECTED):
            self._write("error", " ".join(str(error).split()))
        else:
            trace = "".join(traceback.format_exception(error))
            self._write("error", f"{type(error).__name__}: {' '.join(str(error).split())}", trace=trace)

    def warned(self, message: Warning | str, category: type[Warning], filename: str, lineno: int) -> None:
        """Python warns of something."""
        self._write("warning", f"{category.__name__}: {' '.join(str(message).split())} ({filename}:{lineno})")

    def _write(self, level: Level, sentence: str, *, trace: str = "") -> None:
        epoch, step = now = _at.get()
        if epoch is not None and now != self._seen:
            self._seen = now
            self.exporter.tell(sample("taoray_open_epoch_number", epoch))
            self.exporter.tell(sample("taoray_step_timestamp_seconds", time.time(), step=step))
        uid, host, validator = self._about(sentence) if level == "note" else (None, "", "")
        line = LogLine(
            time_s=round(time.time(), 3),
            level=level,
            network=self._network,
            sentence=sentence,
            epoch=epoch,
            step=step,
            uid=uid,
            host=host,
            validator=validator,
            process=os.getpid(),
            trace=trace,
        )
        told = self._file.failure
        self._file.write(line)
        if self._file.failure and not told:
            self._show.note(self._file.failure)
        if level != "info":
            self.exporter.tell(sample("taoray_notes", 1, level=level))

    def _about(self, sentence: str) -> tuple[int | None, str, str]:
        """Whom a note is about: a neuron's uid, a host, a validator."""
        found = _SUBJECT.match(sentence)
        subject = found[1] if found else ""
        host = subject if _HOST.fullmatch(subject) else ""
        return self._uids.get(subject), host, subject if subject in self._validators else ""


@contextlib.contextmanager
def observed(show: Show, home: Home, network: Network) -> Iterator[Observed]:
    """Observe a run for as long as the context lasts; `show` shows it to somebody."""
    own, outside = Observed(show, home, network), _at.set((None, ""))
    with warnings.catch_warnings():
        before = warnings.showwarning

        def warned(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            own.warned(message, category, filename, lineno)
            before(message, category, filename, lineno, file, line)

        warnings.showwarning = warned
        own.exporter.start()
        try:
            yield own
        except BaseException as error:
            own.ended(error)
            raise
        finally:
            own.exporter.stop()
            _at.reset(outside)


def _told(record: EpochRecord) -> str:
    bits = record.collective_bits_per_byte
    known = "" if bits is None else f", the collective needs {bits:.4f} bits per byte"
    return f"epoch {record.epoch} is closed: block {record.height} {record.block_hash[:16]}{known}"
