"""docs/scale.md against the record that its tables are made from, and what it promises of growth."""

from benchmarks.draw_scale import FIGURE, PAGE, cpu_s, read_record, rendered
from benchmarks.simulate.exponents import exponents_of

STEEPEST = 1.35
"""n log n has 1.12 to 1.22 at these sizes; the rest is what caches and a busy machine add."""


def test_the_tables_are_those_of_the_record() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page, read_record()) == page
    assert "<!-- end -->\n<!-- end -->" not in page
    assert FIGURE.is_file()


def test_no_step_grows_faster_than_n_log_n() -> None:
    measured = read_record()
    assert exponents_of(measured["runs"]) == measured["exponents"]
    steep = {
        (axis, step, pair): exponent
        for axis, steps in measured["exponents"].items()
        for step, pairs in steps.items()
        for pair, exponent in pairs.items()
        if exponent > STEEPEST
    }
    assert not steep


def test_every_epoch_of_the_record_was_fair() -> None:
    for run in read_record()["runs"]:
        for epoch in run["epochs"]:
            shares, pay = epoch["answered"], epoch["pay"]
            sound = [kind for kind in shares if kind.startswith(("sound", "slow"))]
            # A quarantine that dies by itself takes the innocent with it that it was trying.
            assert all(shares[kind] > 0.999 for kind in sound)
            assert all(abs(pay[kind] - 1) < 0.1 for kind in sound)
            assert all(pay[kind] == 0 for kind in shares if kind not in sound)
        assert cpu_s(run, ["open: seal"]) > 0
