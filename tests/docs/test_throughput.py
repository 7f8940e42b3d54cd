"""docs/throughput.md against the records that its tables are made from."""

from benchmarks.draw_throughput import PAGE, WORKS, rendered, reports


def test_the_tables_are_those_of_the_records() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page) == page
    assert all(f"<!-- table: {name} -->" in page for name in ("ceilings", *WORKS))


def test_each_work_has_a_record_and_no_figure_of_a_gpu_is_there_without_one() -> None:
    for work in WORKS:
        found = reports(work)
        assert found
        assert all(report.work == work and report.lines for report in found)
        section = PAGE.read_text(encoding="utf-8").partition(f"<!-- table: {work} -->")[2].partition("<!-- end -->")[0]
        assert any(report.machine.driver for report in found) != ("not measured yet" in section)
