"""Checks of what was uploaded: one at a time, in a thread of its own.

Invariants: every check that begins ends in an outcome, or in a pause that says why; a server that stops leaves what it
checks as it lies, to be checked again.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cluster.errors import ClusterError
from cluster.serve.errors import NETWORK_ERRORS, HttpRefused, Problem, problem_of
from cluster.serve.limits import Buckets
from cluster.serve.upload import Outcome, Upload
from cluster.serve.uploads import Uploads
from ledger.errors import Refusal
from models.content import holds
from models.errors import ModelRefused
from models.intake.check import Checked

Receive = Callable[[Path, bytes, Callable[[int, int], None]], Checked]
"""`HomeDoor.receive`: check a folder and put it into the store."""

CHECK_S_AN_HOUR = 1200.0
"""Of one key: everybody waits for the checks before theirs."""

SWEEP_S = 30.0
"""How often uploads that ended by themselves are taken away where nobody asks."""

_log = logging.getLogger("taoray.serve")


class Checks:
    """The queue of uploads that are complete, and who works it off."""

    def __init__(self, uploads: Uploads, receive: Receive) -> None:
        self._uploads = uploads
        self._receive = receive
        self._used = Buckets(CHECK_S_AN_HOUR / 3600, CHECK_S_AN_HOUR)
        self._waiting: queue.SimpleQueue[Upload | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        # A check may take minutes: whoever stops the server does not wait for it.
        threading.Thread(target=self._work, name="checks", daemon=True).start()

    def check_share(self, key: bytes) -> None:
        """HttpRefused `rate_limited` where a key's checks took more than their share."""
        wait_s = self._used.take(key, 0.0, time.monotonic())
        if wait_s:
            raise HttpRefused("rate_limited", f"a key's checks take {CHECK_S_AN_HOUR:.0f} s an hour here", wait_s)

    def put(self, upload: Upload) -> None:
        """Check an upload after those before it; its `begin_check` said so."""
        self._waiting.put(upload)

    def close(self) -> None:
        """Begin no further check, and write down nothing of the one under way."""
        self._ended.set()
        self._waiting.put(None)

    def _work(self) -> None:
        while not self._ended.is_set():
            try:
                upload = self._waiting.get(timeout=SWEEP_S)
            except queue.Empty:
                self._uploads.sweep()
                continue
            if upload is None or self._ended.is_set():
                return
            self._end(upload, self._timed(upload))

    def _end(self, upload: Upload, ended: Outcome | Problem) -> None:
        if self._ended.is_set():
            return
        with upload.lock:
            if isinstance(ended, Problem):
                upload.pause(ended, self._uploads.now_s())
            else:
                upload.settle(ended, self._uploads.now_s())

    def _timed(self, upload: Upload) -> Outcome | Problem:
        began_s = time.monotonic()
        ended = self._check(upload)
        self._used.owe(upload.payer, time.monotonic() - began_s, time.monotonic())
        return ended

    def _check(self, upload: Upload) -> Outcome | Problem:
        """What came of it: an outcome, or a problem after which it may be asked for again."""
        try:
            for file in upload.manifest.files:
                if not holds(upload.files / file.path, file):
                    with upload.lock:
                        upload.drop_file(file.path)
                    raise HttpRefused("hash_mismatch", f"{file.path} is not what its manifest says; send it again")
            delivered = self._receive(upload.files, upload.payer, lambda done, of: None)
            if delivered.manifest != upload.hash:
                raise ClusterError("the files changed while they were checked")
        except (ModelRefused, Refusal) as error:
            return Outcome(None, problem_of(error, upload.files, self._uploads.home))
        except HttpRefused as error:
            return problem_of(error)
        except (*NETWORK_ERRORS, OSError) as error:
            return problem_of(HttpRefused("check_failed", str(error)), upload.files, self._uploads.home)
        except Exception as error:
            # The thread that all uploads wait for must outlive a fault in one check.
            _log.exception("the check of version %s failed", upload.hash.hex())
            return problem_of(HttpRefused("check_failed", f"{type(error).__name__}: {error}"))
        return Outcome(delivered, None)
