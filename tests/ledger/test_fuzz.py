"""Bad messages of every kind; `benchmarks/fuzz_messages.py` sends a million of them."""

import pytest

from benchmarks.fuzz_messages import FAMILIES, run

pytestmark = pytest.mark.thorough


def test_bad_messages_get_typed_refusals_and_change_nothing():
    seen = run(4_000, seed=7)
    families = {line.split(":")[0] for line in seen}
    assert families == {*FAMILIES, "block", "vote"}
