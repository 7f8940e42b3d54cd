"""A simulated network, epoch by epoch: real plan, requests, dispatcher, votes, ledger and record; simulated hosts.

Invariants: an epoch's steps follow `cluster.epoch`; a step's seconds are this machine's, but the query's, which are of
the virtual clock; what validators and replicas do on machines of their own is counted once.
"""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq

from actors.ballot import Finding, NeuronFinding
from actors.keeper import View
from actors.pool import Round
from benchmarks.simulate.facts import answered_shares, kinds, pay_ratios, query_facts
from benchmarks.simulate.latencies import Latencies
from benchmarks.simulate.ledger import SimulatedLedger, Stopwatch
from benchmarks.simulate.peers import Peer, make_peers
from benchmarks.simulate.pool import SimulatedPool
from cluster.config import Deadlines, Placement, Questions
from cluster.place.plan import HostPlan, plan_epoch
from cluster.questions import ask_hosts, signers
from cluster.report import Seconds, append_epoch, epoch_record, neuron_records
from cluster.run import Run, Work
from cluster.show import Quiet
from ledger.epoch.close import compute_inputs
from ledger.epoch.consensus import compute_epoch
from ledger.extrinsics import RevealWeights
from ledger.store.metagraph import build_table
from models.value.accounts import Books, keep_books, nano

NOISE = 0.1
"""By how much a validator's own text moves what it finds of a version: a standard deviation of the logarithm."""
ERROR_SHARE = 0.05
"""Standard error of what a version adds, as a share of it."""
PEERS_A_HOST = 10
MOST_HOSTS = 1024


@dataclass(frozen=True)
class Size:
    """How large the network is. `windows` are each validator's, of 129 bytes."""

    peers: int
    validators: int
    windows: int = 144
    query_s: float = 36_000.0

    @property
    def hosts(self) -> int:
        """One for every ten peers."""
        return min(MOST_HOSTS, max(2, -(-self.peers // PEERS_A_HOST)))


@dataclass(frozen=True)
class EpochFacts:
    """What an epoch came to.

    Attributes:
        seconds, cpu_s: by step, of the wall's clock and of this process. size_bytes: by what holds them.
        query: of the query phase. answered: by what is wrong with peers, the share that answered.
        pay: by the same, what they are paid for the same bits, beside the sound. commits_s: of the keeper's disk.
    """

    seconds: dict[str, float]
    cpu_s: dict[str, float]
    size_bytes: dict[str, int]
    query: dict[str, Any]
    answered: dict[str, float]
    pay: dict[str, float]
    commits_s: dict[str, float]


class SimulatedNetwork:
    """A network of this size on this disk."""

    def __init__(self, size: Size, folder: Path, latencies: Latencies, seed: int) -> None:
        self.size = size
        self._random = Random(seed)
        self._noise = np.random.default_rng(seed)
        self._latencies = latencies
        self._peers = {peer.keypair.public: peer for peer in make_peers(size.peers, self._random)}
        self.ledger = SimulatedLedger(folder, list(self._peers.values()), size.validators)
        self._accounts: list[dict[int, int]] = [{} for _ in range(size.validators)]
        self._records = folder / "epochs.jsonl"
        self._made = size.peers

    def epoch(self, epoch: int) -> EpochFacts:
        """One epoch, from the publications to its record."""
        watch, ledger = Stopwatch(), self.ledger
        before_bytes, commits = ledger.size_bytes(), len(ledger.commits_s)
        opened = self._open(epoch, watch)
        view, view_bytes = self._view(watch)
        by_uid = {n.uid: self._peers[n.hotkey] for n in view.neurons if n.manifest and n.published_epoch == epoch}
        versions = {uid: peer.version(epoch) for uid, peer in by_uid.items()}
        plan, scored, pool = self._query(view, {versions[uid]: peer for uid, peer in by_uid.items()}, watch)
        answered = {uid for uid, version in versions.items() if version not in scored.failures}
        stayed = {neuron.uid for neuron in view.neurons if neuron.registered_epoch < epoch}
        books = self._value(by_uid, answered, stayed, watch)
        ballots = self._ballots(epoch, books, versions)
        with watch.taken("commit: queue"):
            ledger.submit(ledger.commit(ballots))
        committed = ledger.seal("commit", epoch, watch)
        with watch.taken("close: queue"):
            ledger.submit([ledger.sign(ledger.validators[index], ballot) for index, ballot in ballots.items()])
        closed = ledger.seal("close", epoch, watch)
        self._parts_of_close(watch)
        sizes = self._record(epoch, books, scored, versions, watch)
        kind = kinds(by_uid, versions, plan)
        taken = ledger.commits_s[commits:]
        blocks = {"open": opened, "commit": committed, "close": closed}
        return EpochFacts(
            seconds=watch.seconds,
            cpu_s=watch.cpu_s,
            size_bytes={f"{name} block": sum(map(len, block.extrinsics)) for name, block in blocks.items()}
            | {"view": view_bytes, "database": ledger.size_bytes() - before_bytes, **sizes},
            query=query_facts(pool.facts, scored.failures, len(plan)),
            answered=answered_shares(kind, answered),
            pay=pay_ratios(kind, by_uid, [n.incentive_rao for n in ledger.view().neurons]),
            commits_s={"longest": max(taken), "all": sum(taken), "count": len(taken)},
        )

    def _open(self, epoch: int, watch: Stopwatch) -> Any:
        ledger = self.ledger
        queued = []
        if epoch > 1:
            newcomers, queued = ledger.newcomers(self.size.peers, self._random, self._made)
            self._made += len(newcomers)
            self._peers |= {peer.keypair.public: peer for peer in newcomers}
        present = [neuron.hotkey for neuron in ledger.replica.state.neurons() if neuron.hotkey in self._peers]
        publications = ledger.publish([self._peers[hotkey] for hotkey in present], epoch)
        with watch.taken("open: queue"):
            ledger.submit(queued + publications)
        return ledger.seal("open", epoch, watch)

    def _view(self, watch: Stopwatch) -> tuple[View, int]:
        """The driver's view, through pickle as it comes from the keeper's process."""
        with watch.taken("view"):
            data = pickle.dumps(self.ledger.view(), protocol=5)
            view = pickle.loads(data)
        return view, len(data)

    def _query(
        self, view: View, peers: Mapping[bytes, Peer], watch: Stopwatch
    ) -> tuple[dict[str, HostPlan], Round, SimulatedPool]:
        wanted = [peers[row.manifest].wanted(row.manifest) for row in view.rows if row.manifest in peers]
        placement = Placement(hosts=self.size.hosts, capacity_mib=1 << 16)
        with watch.taken("plan"):
            plan = plan_epoch(
                wanted, {}, placement.hosts, capacity_bytes=placement.capacity_mib << 20, most=placement.stack
            )
        pool = SimulatedPool(peers, self._latencies, self._random)
        network = SimpleNamespace(
            query=Questions(windows=self.size.windows),
            placement=placement,
            deadlines=Deadlines(query_s=self.size.query_s),
        )
        run = cast("Run", SimpleNamespace(network=network, crew=SimpleNamespace(pool=pool), show=Quiet()))
        text_WT = np.zeros((self.size.windows, network.query.window_bytes), dtype=np.uint8)
        queries = {f"validator-{index}": SimpleNamespace(text_WT=text_WT) for index in range(self.size.validators)}
        work = Work(1, queries=cast("Any", queries))
        with watch.taken("query: all this process did"):
            scored = ask_hosts(run, work, plan, signers(view, {}), [])
        watch.seconds["query: dispatcher"] = watch.cpu_s["query: dispatcher"] = pool.facts.dispatcher_s
        watch.seconds["query"] = pool.facts.seconds
        return plan, scored, pool

    def _value(self, peers: Mapping[int, Peer], answered: set[int], stayed: set[int], watch: Stopwatch) -> list[Books]:
        """What every validator's own text says of everybody's version, and the votes that follow."""
        books = []
        uids = sorted(answered)
        bits = np.array([peers[uid].bits for uid in uids])
        with watch.taken("value: books of all validators"):
            for index, accounts in enumerate(self._accounts):
                found = (bits * self._noise.lognormal(0.0, NOISE, bits.size)).tolist()
                new_bits = {uid: nano(value) for uid, value in zip(uids, found, strict=True)}
                own = keep_books(
                    gain=sum(new_bits.values()),
                    gain_se=nano(0.01 * sum(found)),
                    new_bits=new_bits,
                    new_bits_se={uid: int(ERROR_SHARE * value) for uid, value in new_bits.items()},
                    accounts_before={uid: account for uid, account in accounts.items() if uid in stayed},
                    answered=answered,
                )
                self._accounts[index] = dict(own.accounts)
                books.append(own)
        for seconds in (watch.seconds, watch.cpu_s):
            seconds["value: books"] = seconds["value: books of all validators"] / len(books)
        return books

    def _ballots(self, epoch: int, books: Sequence[Books], versions: Mapping[int, bytes]) -> dict[int, RevealWeights]:
        ballots = {}
        for index, own in enumerate(books):
            best = sorted(own.credits, key=lambda uid: (-own.credits[uid], uid))
            members = [(uid, versions[uid]) for uid in best]
            ballots[index] = self.ledger.ballot(index, epoch, own.votes, bytes(32), members)
        return ballots

    def _parts_of_close(self, watch: Stopwatch) -> None:
        """What the close block's time consists of, by itself: the same inputs, computed once more."""
        state = self.ledger.replica.state
        with watch.taken("close: consensus alone"):
            compute_epoch(compute_inputs(state, state.neurons()), state.parameters.rules)
        with watch.taken("close: metagraph alone"):
            pq.write_table(build_table(state, self.ledger.replica.head), self._records.with_name("metagraph.parquet"))

    def _record(
        self, epoch: int, books: Sequence[Books], scored: Round, versions: Mapping[int, bytes], watch: Stopwatch
    ) -> dict[str, int]:
        """What the driver tells of the epoch, from the findings that validators sent it."""
        findings = {index: _finding(own, scored, versions) for index, own in enumerate(books)}
        with watch.taken("findings"):
            data = [pickle.dumps(finding, protocol=5) for finding in findings.values()]
            findings = {index: pickle.loads(each) for index, each in enumerate(data)}
        view, head = self.ledger.view(), self.ledger.replica.head
        with watch.taken("record"):
            record = epoch_record(
                epoch=epoch,
                height=head.height,
                block_hash=head.hash,
                minted_rao=view.supply.minted_rao,
                final=True,
                seconds=Seconds(query=0.0, value=0.0, train=0.0, close=0.0),
                findings=findings,
                neurons=neuron_records(view.neurons, view.stakes_rao, findings, epoch),
            )
            append_epoch(self._records, record)
        lines = self._records.read_bytes().splitlines()
        return {"findings": sum(map(len, data)), "record": len(lines[-1])}

    def close(self) -> None:
        """Close the files."""
        self.ledger.close()


def _finding(books: Books, scored: Round, versions: Mapping[int, bytes]) -> Finding:
    """As a validator makes it, with what the dispatcher said of those that did not answer."""
    failures = {uid: scored.failures[version] for uid, version in versions.items() if version in scored.failures}
    neurons = tuple(
        NeuronFinding(
            uid=uid,
            bits_per_byte=3.0,
            new_bits=books.new_bits.get(uid, 0) * 1e-9,
            new_bits_se=books.new_bits_se.get(uid, 0) * 1e-9,
            account_bits=books.accounts.get(uid, 0) * 1e-9,
            share_bits=0.0,
            admitted=uid in books.credits,
            failure=f"{failures[uid].reason}: {failures[uid].sentence}" if uid in failures else "",
        )
        for uid in versions
    )
    return Finding(
        baseline=5.0,
        known=3.1,
        collective=3.0,
        new_bits=books.gain * 1e-9,
        new_bits_se=books.gain_se * 1e-9,
        events=18_432,
        neurons=neurons,
    )


@contextmanager
def simulated(size: Size, folder: Path, latencies: Latencies, seed: int) -> Iterator[SimulatedNetwork]:
    """A network in a folder, closed at the end."""
    network = SimulatedNetwork(replace(size), folder, latencies, seed)
    try:
        yield network
    finally:
        network.close()
