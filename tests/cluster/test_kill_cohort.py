"""A cohort whose host and keeper are killed with -9: the same θ everywhere, and the ledger whole."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.kill_cohort import LOOK_S, Launched, blocks
from benchmarks.kill_cohort_check import check_network, copy_updates
from cluster.home import Home

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

EPOCHS = 3


def test_a_cohort_goes_on_through_kills(tmp_path: Path) -> None:
    home, copies, log = Home(tmp_path / "home"), tmp_path / "copies", tmp_path / "launches.log"
    copies.mkdir()
    chance = random.Random(7)

    def watch(launched: Launched, done: Callable[[], bool]) -> None:
        """Until it is done, or the launch has ended."""
        while not done() and launched.ended() is None:
            copy_updates(home, copies)
            time.sleep(LOOK_S)

    launched = Launched(home.folder, EPOCHS, log)
    try:
        for kind in ("host", "keeper"):
            height = blocks(home)
            watch(launched, lambda height=height: blocks(home) > height)
            assert launched.ended() is None, log.read_text()[-2000:]
            assert launched.kill(kind, chance), f"there is no {kind}"
        watch(launched, lambda: False)
        assert launched.ended() == 0, log.read_text()[-2000:]
    finally:
        launched.end()
    found = check_network(home, copies)
    assert found["members"] == 4
    assert found["epochs"] == EPOCHS
    assert found["rounds_with_updates_taken"] >= 1
    assert found["different_parameters"] >= 2
