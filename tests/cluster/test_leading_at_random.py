"""Processes and disks lost at random instants of random calls: one history, nothing final lost."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cluster.ledger_world import NAMES, Lost, World

happenings = st.one_of(
    st.tuples(st.sampled_from(["kill", "lose", "restart", "copy", "old"]), st.sampled_from([*NAMES, "keeper"])),
    st.tuples(st.just("driver"), st.just("")),
)


@pytest.mark.thorough
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=st.lists(st.tuples(st.integers(1, 40), happenings), min_size=2, max_size=12))
def test_crashes_and_lost_disks_at_any_instant_leave_one_history(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[int, tuple[str, str]]]
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    chaos = Chaos(world, plan)
    while chaos.plan:
        chaos.run_epoch()
    chaos.quiet()
    chaos.run_epoch()
    world.check(world.leading.ask("position").epoch)


class Chaos:
    """Carries a plan out: after so many calls the next thing happens, in the middle of whatever is asked."""

    def __init__(self, world: World, plan: list[tuple[int, tuple[str, str]]]) -> None:
        self.world, self.plan = world, list(plan)
        self.copies: dict[str, Path] = {}
        self.countdown = 0
        world.after = self.happen

    def quiet(self) -> None:
        self.plan = []
        self.revive()

    def revive(self) -> None:
        for name in NAMES:
            if self.world.replicas[name] is None:
                self.world.start(name)
        if self.world.plain_keeper is None:
            self.world.start("keeper")

    def happen(self, who: str, method: str) -> None:
        self.countdown += 1
        if not self.plan or self.countdown < self.plan[0][0]:
            return
        (_, (what, whom)), self.countdown = self.plan.pop(0), 0
        world = self.world
        world.note()
        if what != "driver" and whom != "keeper":
            # More than 2/3 of the stake keeps answering, or the network waits, as it should.
            for name in NAMES:
                if name != whom and world.replicas[name] is None:
                    world.start(name)
        if what == "kill":
            world.kill(whom)
            if whom == "keeper":
                world.start(whom)
        elif what in ("lose", "restart"):
            world.start(whom, lost=what == "lose")
        elif what == "copy":
            self.copies[whom] = world.copy_disk(whom)
        elif what == "old" and whom in self.copies:
            world.bring_back(whom, self.copies[whom])
        elif what == "driver":
            raise DriverLost
        world.note()
        if whom == who:
            raise Lost

    def run_epoch(self) -> None:
        """One epoch; a driver that is lost is followed by another, which goes on from where the ledger stands."""
        lost = False
        while True:
            try:
                if lost:
                    self.world.restart_driver()
                return self.world.run_epoch()
            except DriverLost:
                lost = True


class DriverLost(Exception):
    """The driver's process ends in the middle of a call."""
