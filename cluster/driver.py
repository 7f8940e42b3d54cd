"""The driver: takes a network through its epochs, step by step, and writes down what came of each.

Invariants:
* it decides nothing that the ledger decides, and keeps nothing that the ledger keeps: killed at any instant, the next
  driver goes on from the last block;
* one driver a home at a time, by lease; if the lease is lost it stops before the next step.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from actors.host import Host
from actors.private import private_root
from cluster.config import Network
from cluster.epoch import Step, epoch_after, steps_left
from cluster.errors import HomeInUse
from cluster.founding import check_text, find_genesis, found
from cluster.home import Home
from cluster.jobs import enlist, train
from cluster.keeping import forget_unused
from cluster.lease import Lease, hold_lease
from cluster.observe.observed import at, observed
from cluster.place.crew import end_crew, start_crew
from cluster.place.ray import joined_ray
from cluster.place.tending import tend
from cluster.questions import ask_versions, draw
from cluster.recording import record_epoch, record_missed
from cluster.recovery import value_answers
from cluster.report import EpochRecord, RunReport
from cluster.rounds import share, weigh
from cluster.run import Run, Work, running
from cluster.sealing import make_final, seal
from cluster.show import Quiet, Show
from cluster.voting import ask_voters
from models.text.prepare import prepare_corpus

KEPT = 16
"""Epochs of a run whose neurons stay in memory; those of all are in the home's epochs.jsonl."""


@dataclass(frozen=True)
class Outcome:
    """What a launch brought: this run's epochs, and where the ledger stands at its end."""

    records: tuple[EpochRecord, ...]
    height: int
    block_hash: bytes
    issuance_rao: int

    def report(self, network: str, home: Home) -> RunReport:
        """As a person is told."""
        return RunReport(
            network=network,
            home=home.folder,
            height=self.height,
            block_hash=self.block_hash.hex(),
            issuance_rao=self.issuance_rao,
            epochs=self.records,
            neurons=self.records[-1].neurons,
            plot=home.rounds_plot if home.rounds_plot.exists() else None,
        )


def run_network(
    network: Network,
    home: Home,
    *,
    epochs: int,
    address: str | None = None,
    show: Show | None = None,
    host_class: type = Host,
) -> Outcome:
    """Run a network for some further epochs.

    Args:
        epochs: how many to close; one that an earlier run left open counts as one.
        address: of a Ray cluster; None takes `RAY_ADDRESS`, or starts Ray on this machine for as long as the run.
        host_class: the plain class behind host actors.

    Raises:
        HomeInUse: another driver runs it.
        TextError, ConfigurationError: before any actor starts.
        ClusterError: an actor did not start, or not enough validators answered.
    """
    show = show or Quiet()
    home.folder.mkdir(parents=True, exist_ok=True)
    with observed(show, home, network) as show, hold_lease(home.lease, tell=show.note) as lease:
        genesis = find_genesis(network, home)
        show.step("preparing the text")
        corpus = prepare_corpus(
            network.data,
            home.text,
            window_bytes=network.query.window_bytes,
            minimum_windows=network.query.windows,
        )
        for name in sorted({name for peer in network.peers for name in peer.strata} - set(corpus.strata)):
            show.note(f"this text has no stratum {name!r}")
        private_text = private_root(corpus)
        genesis = genesis or found(network, home, private_text)
        check_text(genesis, private_text)
        if network.query.panel == "next_byte" and private_text is None:
            show.note("held-out text is public: a peer may look targets up; give data.private text that nobody has")
        home.resolved.write_bytes(msgspec.json.format(msgspec.json.encode(network), indent=2))
        with _served(network, home, show), joined_ray(address, genesis.hash.hex(), show):
            show.step("starting the actors")
            crew = start_crew(network, home, genesis, host_class=host_class, show=show)
            try:
                with running(network, home, genesis, crew, show) as run:
                    make_final(run.leading, run.position().height)
                    record_missed(run)
                    records = _epochs(run, lease, epochs)
                    position, supply = run.position(), run.view().supply
                    return Outcome(records, position.height, position.block_hash, supply.issuance_rao)
            finally:
                show.step("stopping the actors")
                end_crew(crew)


@contextmanager
def _served(network: Network, home: Home, show: Show) -> Iterator[None]:
    """The network's HTTP server for as long as the run, where the configuration asks for one."""
    if network.serve.port == 0:
        yield
        return
    from cluster.serve.server import serving  # brings an HTTP server, which most runs do not need

    with serving(home, network.serve) as url:
        show.note(f"serving at {url}")
        yield


def _epochs(run: Run, lease: Lease, count: int) -> tuple[EpochRecord, ...]:
    """So many further epochs. Of all but the last `KEPT` the neurons are let go, for a run may have many epochs."""
    records: list[EpochRecord] = []
    for _ in range(count):
        records.append(_epoch(run, lease))
        if len(records) > KEPT:
            records[-KEPT - 1] = msgspec.structs.replace(records[-KEPT - 1], neurons=())
    return tuple(records)


def _epoch(run: Run, lease: Lease) -> EpochRecord:
    """Take one epoch from where the ledger stands to its close block."""
    position = run.position()
    make_final(run.leading, position.height)
    view = run.view()
    work = Work(epoch_after(position.epoch, position.kind), minted_before_rao=view.supply.minted_rao)
    stakes = {
        run.wallets.get(neuron.hotkey, ""): stake for neuron, stake in zip(view.neurons, view.stakes_rao, strict=True)
    }
    tend(run.crew, stakes, run.show, deadline_s=run.network.deadlines.start_s)
    for step in steps_left(position.kind):
        if lease.lost.is_set():
            raise HomeInUse(f"another driver took over the network in {run.home.folder}")
        began = time.perf_counter()
        with at(epoch=work.epoch, step=step):
            _STEPS[step](run, work)
        work.seconds[step] = time.perf_counter() - began
    record = record_epoch(run, work)
    run.show.epoch(record)
    return record


def _train(run: Run, work: Work) -> None:
    train(run, work, run.view())


def _open(run: Run, work: Work) -> None:
    run.show.step("opening the epoch")
    seal(run, work, "open")


def _query(run: Run, work: Work) -> None:
    view = run.view()
    share(run, view)
    draw(run, work)
    ask_versions(run, work, view)


def _value(run: Run, work: Work) -> None:
    weighed = weigh(run, work, run.view())
    run.show.step("valuing the answers")
    work.findings, failures = value_answers(run, work, weighed)
    for name, why in failures.items():
        run.show.note(f"{name} values nothing in epoch {work.epoch}: {why}")
    for name, finding in work.findings.items():
        if finding.note:
            run.show.note(f"{name}: {finding.note}")


def _commit(run: Run, work: Work) -> None:
    run.show.step("committing the votes")
    voters = {name: run.crew.validators[name] for name in work.findings}
    commits, failures = ask_voters(run, voters, lambda name, handle: handle.commit.remote(work.epoch))
    for name, why in failures.items():
        run.show.note(f"{name} commits nothing in epoch {work.epoch}: {why}")
    run.submit(commits)
    seal(run, work, "commit")


def _close(run: Run, work: Work) -> None:
    """Reveal, then close. Who committed and died since is asked again by now, and left out if it is still silent."""
    run.show.step("closing the epoch")
    voters = dict(run.crew.validators)
    reveals, failures = ask_voters(run, voters, lambda name, handle: handle.reveal.remote(work.epoch))
    for name, why in failures.items():
        run.show.note(f"{name} reveals nothing in epoch {work.epoch}: {why}")
    run.submit(reveals)
    if not work.findings:
        present = {name: voters[name] for name in reveals}
        work.findings, _ = ask_voters(run, present, lambda name, handle: handle.finding.remote(work.epoch))
    seal(run, work, "close")
    forget_unused(run)


_STEPS: dict[Step, Callable[[Run, Work], None]] = {
    Step.ENLIST: enlist,
    Step.TRAIN: _train,
    Step.OPEN: _open,
    Step.QUERY: _query,
    Step.VALUE: _value,
    Step.COMMIT: _commit,
    Step.CLOSE: _close,
}
