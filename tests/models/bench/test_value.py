import pytest
import torch

from models.bench.ceilings import Ceilings
from models.bench.value import make_rows, measure_value
from models.value import shares
from models.value.measures import make_table, measure_shares

CPU = torch.device("cpu")


def test_a_line_says_its_certificate_and_its_passes(one_thread):
    told: list[str] = []
    ceilings = Ceilings(dtype="float64", operations_s=1e10, bytes_s=1e10, matrix=1536, copied_bytes=1 << 28)
    lines = measure_value(
        models=[4, 8],
        events=[2048],
        device=CPU,
        ceilings={"float64": ceilings},
        repeats=2,
        tell=told.append,
    )
    assert [line.units for line in lines] == [4 * 2048, 8 * 2048]
    assert all("bound by" in sentence for sentence in told)
    assert all(line.bandwidth == pytest.approx(line.floor_s / line.seconds.median) for line in lines)
    assert all("passes' worth" in line.messages[0] and "certificate" in line.messages[1] for line in lines)


def test_what_is_taken_in_hand_is_counted(one_thread):
    rows_NM, baseline_M = make_rows(24, 4096, CPU)
    table = make_table(rows_NM, baseline_M)
    assert table.passes == 0
    for _ in table.walk([(0, 1024)]):
        pass
    assert table.passes == pytest.approx(1024 / 4096)
    measured = measure_shares(table)
    assert 4 < table.passes < 40
    assert measured.gain == shares(rows_NM, baseline_M).gain
