"""How many windows are asked for in one call."""

from cluster.config import Placement, Questions
from cluster.place.request import LEAST_TOKENS, MOST_TOKENS, computes_on_gpu, windows_per_call


def test_a_call_has_what_suits_the_device_and_is_never_empty() -> None:
    query, hosts, gpus = Questions(), Placement(), Placement(device="cuda")
    small, large = [1_000_000], [1_000_000_000]
    assert windows_per_call(query, gpus, small) > windows_per_call(query, hosts, small)
    assert windows_per_call(query, hosts, small) == int(1e11 / 2e6) // query.window_bytes
    assert windows_per_call(query, hosts, large) == LEAST_TOKENS["cpu"] // query.window_bytes
    assert windows_per_call(query, gpus, [1]) == MOST_TOKENS // query.window_bytes
    assert windows_per_call(query, hosts, small * 8) == int(1e11 / 16e6) // query.window_bytes
    assert windows_per_call(Questions(window_bytes=65_536), hosts, large) == 1
    assert windows_per_call(Questions(request=96), gpus, small * 8) == 12
    assert windows_per_call(Questions(request=1), gpus, small * 8) == 1


def test_hosts_compute_on_gpus_where_they_are_told_to_or_have_some() -> None:
    assert not computes_on_gpu(Placement())
    assert not computes_on_gpu(Placement(device="cpu", gpus_per_host=1.0))
    assert computes_on_gpu(Placement(device="cuda"))
    assert computes_on_gpu(Placement(gpus_per_host=0.5))
