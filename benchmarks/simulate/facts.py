"""What a simulated epoch came to, in figures: of its query phase, of who answered, and of who was paid.

Invariants: pure; pay is compared between peers that differ in nothing but what is wrong with them or beside them.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean, quantiles
from typing import Any

from actors.dispatch import Failure
from benchmarks.simulate.peers import Peer, Temper
from benchmarks.simulate.pool import Facts
from cluster.place.plan import HostPlan

BESIDE = "sound, beside one that is not"
"""Peers in one stack with one that hangs, kills or fails: what it costs them to be there."""
BAD = (Temper.HANGING, Temper.POISON, Temper.BROKEN)


def kinds(peers: Mapping[int, Peer], versions: Mapping[int, bytes], plan: Mapping[str, HostPlan]) -> dict[int, str]:
    """By uid what is wrong with a peer, or with one in its stack."""
    uid_of = {version: uid for uid, version in versions.items()}
    told = {uid: str(peer.temper) for uid, peer in peers.items()}
    for own in plan.values():
        for stack in own.stacks:
            uids = [uid_of[version] for version in stack.versions if version in uid_of]
            if any(peers[uid].temper in BAD for uid in uids):
                told |= {uid: BESIDE for uid in uids if peers[uid].temper is Temper.SOUND}
    return told


def query_facts(facts: Facts, failures: Mapping[bytes, Failure], hosts: int) -> dict[str, Any]:
    """Figures of a phase. `idle_share`: of each host's time, quartiles."""
    idle = sorted(1 - facts.busy_s.get(f"host-{index}", 0.0) / facts.seconds for index in range(hosts))
    return {
        "seconds": facts.seconds,
        "hosts": hosts,
        "calls": facts.calls,
        "calls_a_host": facts.calls / hosts,
        "crashes": facts.crashes,
        "kills": facts.kills,
        "quarantine_queue": facts.suspects,
        "driver_share": facts.driver_s / facts.seconds,
        "longest_wait_for_driver_s": facts.lag_s,
        "dispatcher_s": facts.dispatcher_s,
        "dispatcher_us_a_call": 1e6 * facts.dispatcher_s / max(1, facts.calls),
        "idle_share": quantiles(idle, n=4) if len(idle) > 1 else idle * 3,
        "failures": dict(Counter(str(failure.reason) for failure in failures.values())),
    }


def answered_shares(kind: Mapping[int, str], answered: Collection[int]) -> dict[str, float]:
    """By kind of peer, the share that has an answer."""
    shares: dict[str, list[bool]] = defaultdict(list)
    for uid, name in kind.items():
        shares[name].append(uid in answered)
    return {name: fmean(there) for name, there in sorted(shares.items())}


def pay_ratios(kind: Mapping[int, str], peers: Mapping[int, Peer], pay_rao: Sequence[int]) -> dict[str, float]:
    """By kind of peer, RAO for what it brings, beside those of sound peers: 1 is fair."""
    paid: dict[str, int] = defaultdict(int)
    brought: dict[str, float] = defaultdict(float)
    for uid, name in kind.items():
        paid[name] += pay_rao[uid]
        brought[name] += peers[uid].bits
    sound = str(Temper.SOUND)
    rate = paid[sound] / brought[sound]
    return {name: paid[name] / brought[name] / rate for name in sorted(paid)} if rate else {}
