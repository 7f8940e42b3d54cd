"""Which host each peer lives on: a pure plan.

Invariants: every peer has one host; the plan depends on nothing but its arguments, so a restart gives the same.
"""

from collections.abc import Mapping


def plan_hosts(parameters: Mapping[str, int], hosts: int) -> dict[str, tuple[str, ...]]:
    """Spread peers over hosts so that each has about as much to compute.

    Args:
        parameters: for each peer how many its model has.
        hosts: how many hosts there are.

    Returns:
        for each host's name its peers, the largest first; a host more than there are peers has none.
    """
    load = {f"host-{index}": 0 for index in range(hosts)}
    plan: dict[str, list[str]] = {host: [] for host in load}
    for peer in sorted(parameters, key=lambda name: (-parameters[name], name)):
        host = min(load, key=lambda name: (load[name], name))
        plan[host].append(peer)
        load[host] += parameters[peer]
    return {host: tuple(peers) for host, peers in plan.items()}
