"""The dispatcher in simulated networks in which much goes wrong: every task ends once, and nothing hangs."""

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.dispatch import QUARANTINE, RETRIES, Ask, Dispatcher, Reason, Task


def drain(dispatcher: Dispatcher) -> list[Ask]:
    """All instructions until something must be reported."""
    return list(iter(dispatcher.next_ask, None))


KINDS = ("good", "poison", "hangs", "errs", "errs outside")


@st.composite
def networks(draw):
    """Hosts, keys with their natures and homes, and how many accidents may happen."""
    hosts = [f"h{index}" for index in range(draw(st.integers(1, 4)))]
    natures = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=7))
    keys = [bytes([index]) for index in range(len(natures))]
    home_of = {key: draw(st.sampled_from([*hosts, None])) for key in keys}
    tasks = [Task(key, chunk) for key in keys for chunk in range(draw(st.integers(1, 4)))]
    if draw(st.booleans()):
        tasks.sort(key=lambda task: task.chunk)
    homes = {host: frozenset(key for key in keys if home_of[key] == host) for host in hosts}
    return homes, dict(zip(keys, natures, strict=True)), tasks, draw(st.integers(1, 3)), draw(st.integers(0, 3))


class Simulation:
    """A network around a dispatcher. Hosts work first in, first out, at speeds that hypothesis draws."""

    def __init__(self, network, choose):
        self.homes, self.natures, self.tasks, self.limit, self.accidents = network
        self.choose = choose
        self.dispatcher = Dispatcher(self.tasks, self.homes, in_flight=self.limit)
        self.hosts = [*self.homes, QUARANTINE]
        self.down = set()
        never_back = self.choose([None, *self.homes]) if len(self.homes) > 1 else None
        self.never_back = {never_back} - {None}
        self.answered = []

    def run(self):
        """To the end, in a bounded number of events."""
        limit = 40 * (len(self.tasks) + 1) * (len(self.hosts) + 1)
        for _ in range(limit):
            self.ask()
            if self.dispatcher.done:
                return
            self.happen()
        raise AssertionError(f"not done after {limit} events")

    def ask(self):
        for ask in drain(self.dispatcher):
            assert ask.host not in self.down, "a host that is down was asked"
            assert ask.task.key not in self.dispatcher.failures, "a key that was given up was asked"
        for host in self.hosts:
            assert len(self.dispatcher.flying(host)) <= (1 if host == QUARANTINE else self.limit)
        flying = [task for host in self.hosts for task in self.dispatcher.flying(host)]
        assert len(flying) == len(set(flying)), "a task is at two hosts"
        assert not self.dispatcher.answers & set(flying), "an answered task is asked again"

    def happen(self):
        """One event: a host comes up, has an accident, or gets on with its oldest task."""
        busy = [host for host in self.hosts if self.dispatcher.flying(host)]
        waking = sorted(self.down - self.never_back)
        assert busy or waking, "nothing can ever happen again"
        host = self.choose([*busy, *waking])
        if host in self.down:
            self.down.discard(host)
            self.dispatcher.up(host)
        elif host in self.never_back:
            self.crash(host)
            if self.choose([False, True]):
                self.dispatcher.lost(host, "gone")
        elif self.accidents and host != QUARANTINE and self.choose([False, True]):
            self.accidents -= 1
            self.crash(host)
        else:
            self.work(host, self.dispatcher.flying(host)[0])

    def work(self, host, task):
        nature = self.natures[task.key]
        if nature == "poison":
            self.crash(host)
        elif nature == "hangs":
            if self.dispatcher.missed(host):
                self.down.add(host)
        elif nature == "errs" or (nature == "errs outside" and host != QUARANTINE):
            self.dispatcher.failed(Ask(host, task), "no")
        else:
            self.dispatcher.answered(Ask(host, task))
            self.answered.append(task)

    def crash(self, host):
        self.dispatcher.crashed(host)
        assert not self.dispatcher.flying(host)
        self.down.add(host)


@settings(max_examples=150, deadline=None)
@given(networks(), st.data())
def test_whatever_happens_every_task_ends_once_and_nothing_hangs(network, data):
    simulation = Simulation(network, lambda options: data.draw(st.sampled_from(options)) if options else None)
    accidents = simulation.accidents + len(simulation.never_back)
    simulation.run()
    dispatcher = simulation.dispatcher
    assert len(simulation.answered) == len(set(simulation.answered)), "a task was answered twice"
    for task in simulation.tasks:
        assert (task in dispatcher.answers) != (task.key in dispatcher.failures), "a task ended twice, or not at all"
    expected = {"poison": {Reason.DEAD}, "hangs": {Reason.LATE}, "errs": {Reason.INVALID}}
    for key, nature in simulation.natures.items():
        if nature in expected:
            accidental = {Reason.DEAD} if accidents > RETRIES else set()
            assert dispatcher.failures[key].reason in expected[nature] | accidental
        elif accidents <= RETRIES:
            assert key not in dispatcher.failures, "the innocent come back"


@settings(max_examples=60, deadline=None)
@given(networks(), st.data())
def test_time_may_end_at_any_instant(network, data):
    simulation = Simulation(network, lambda options: data.draw(st.sampled_from(options)) if options else None)
    for _ in range(data.draw(st.integers(0, 12))):
        simulation.ask()
        if simulation.dispatcher.done:
            break
        simulation.happen()
    simulation.dispatcher.end("over")
    assert simulation.dispatcher.done
    assert simulation.dispatcher.next_ask() is None
    for task in simulation.tasks:
        assert (task in simulation.dispatcher.answers) != (task.key in simulation.dispatcher.failures)
