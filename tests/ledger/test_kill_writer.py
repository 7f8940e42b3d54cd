"""A writer that is killed with -9 loses and doubles nothing: a small share of benchmarks/kill_writer.py."""

from pathlib import Path

import pytest

from benchmarks.kill_writer import run

pytestmark = pytest.mark.thorough


def test_no_acknowledged_block_is_lost_or_doubled(tmp_path: Path) -> None:
    outcome = run(tmp_path, kills=8, seed=7, longest_s=0.6)
    assert outcome["kills"] == 8
    assert outcome["extrinsics"] > 0
