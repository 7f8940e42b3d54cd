import pytest
import torch

from models.value.products import PART, each_over_events, in_parts, over_events


@pytest.mark.parametrize("events", [PART, 2 * PART, 3 * PART + 17])
def test_parts_give_the_whole_product(one_thread, events):
    generator = torch.Generator().manual_seed(events)
    wide = torch.rand(9, events + 5, generator=generator, dtype=torch.float64)
    rows_Km = wide[2:, 3 : 3 + events]
    values_mC = torch.rand(events, 4, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(in_parts(rows_Km, values_mC), rows_Km @ values_mC, rtol=1e-13, atol=0)
    torch.testing.assert_close(in_parts(rows_Km, rows_Km.T), over_events(rows_Km, rows_Km.T), rtol=1e-13, atol=0)
    torch.testing.assert_close(
        in_parts(rows_Km, values_mC[:, :1])[:, 0], each_over_events(rows_Km, values_mC[:, 0]), rtol=1e-13, atol=0
    )
