"""An epoch's query phase through Ray against a bare loop over the same versions and windows.

What bounds it: both sides run the same models over the same tokens, with as many threads in all, so the phase can at
best take what the loop takes, or less where several processes share a machine's cores better than one process's threads
do. What it adds: validators draw windows and sign queries; a call a request, hidden by a second request that waits at
each host; hosts check the queries and sign every answer; validators fetch the answers, check signatures and form, and
join them. Of that only the drawing, the checking and what the last host computes alone are not hidden.

The bare loop is one process that has all weights in memory and all windows of one version in one call, so its batches
are never smaller than a host's; it signs, sends and checks nothing. Ray runs its workers at a lower priority than the
loop's process (`RAY_worker_niceness`, 15): where other work wants the cores too, the phase gets less of them than the
loop, so the ratio means something on a machine that does nothing else.

Invariants: the phase is `cluster.questions`' own, with real validators, pool and hosts, to the point where a validator
values what it has read; both sides have run before either is timed, then run in turns; they must say the same.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from actors.answers import gather
from actors.keeper import View
from actors.rows import rows_to_ask
from actors.spans import Span, Spans
from actors.validator import Validator
from actors.wire import Answer, Query, Said
from cluster.bench.network import EPOCH, PATIENCE_S, VALIDATORS, Setup, opened
from cluster.bench.trace import share_of, write_spans
from cluster.calls import ask_each
from cluster.errors import ClusterError
from cluster.questions import answers_by_validator, ask_versions, draw
from cluster.run import Run, Work
from ledger.genesis import Panel
from models.bench.ceilings import Ceilings
from models.bench.cost import Cost, forward_cost, size_of
from models.bench.line import Line, Setting, make_line
from models.bench.samples import sample_works
from models.bench.timing import spread_of
from models.bench.words import bound_sentence
from models.host.allocator import keep_freed_memory
from models.host.hosted import Hosted
from models.host.library import Library
from models.host.next_byte import next_byte_together
from models.host.score import score_together
from models.store import Store
from models.text.align import Scores

WARM_UP = 2
"""Pairs that are not counted: in the first weights are loaded, in the second hosts may still take over from another."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""Nats by which the two sides may differ: batches of another shape are rounded elsewhere."""


class ReadingValidator(Validator):
    """A validator that reads answers as `value` does, and stops there."""

    def read(
        self, epoch: int, failures: Mapping[bytes, str], *answers: Sequence[Answer]
    ) -> tuple[dict[bytes, str], Spans]:
        """Check and join every answer to its query; why versions have none, by manifest, and what took how long."""
        state, spans = self._chain.state, Spans()
        with spans.taken("draw"):
            query = self.draw(epoch)
        with spans.taken("check"):
            _, lost = gather(
                rows_to_ask(state, self._chain.genesis.panel),
                [answer for batch in answers for answer in batch],
                query,
                owners={neuron.uid: neuron.hotkey for neuron in state.neurons()},
                operator=self._chain.genesis.keeper,
                failures=failures,
            )
        return lost, spans


@dataclass
class Phase:
    """A query phase that has run: what came of it, and what every process did meanwhile, by its name."""

    work: Work
    rows: dict[str, list[Span]]

    def message(self) -> str:
        """Where the phase's time went."""
        driver = self.rows["driver"]
        seconds = driver[-1].ended_s - driver[0].began_s
        said = [f"{name} {share_of(driver, name, seconds):.1%}" for name in ("draw", "ask", "read")]
        hosts = [
            f"{name} computes {share_of(spans, 'score', seconds):.1%} of it"
            for name, spans in self.rows.items()
            if name.startswith("host")
        ]
        return "; ".join([", ".join(said) + " of the phase", *hosts])


def measure_epoch(
    *,
    preset: str,
    peers: int,
    windows: int,
    window_bytes: int,
    panels: Sequence[Panel],
    hosts: Sequence[int],
    threads: int = 0,
    repeats: int,
    device: str,
    ceilings: Mapping[str, Ceilings],
    trace: Path | None = None,
    tell: Callable[[str], None],
) -> list[Line]:
    """The phase and the loop, in each panel and with each number of hosts, two lines each; the phase's has the ratio.

    Args:
        preset: a preset, or a model's folder.
        peers: versions that answer.
        windows: of each of two validators; of `window_bytes`.
        threads: of each host, 0: all cores among the most hosts; the loop has as many as all hosts together.
        repeats: pairs.
        device: cpu or cuda.
        ceilings: by type; those of float32 on a CPU, of bfloat16 on a GPU are needed.
        trace: where a Chrome trace of the last phase of the first setting is written.

    Raises:
        ModelsError, ClusterError: as `opened`; a version did not answer; or both sides do not say the same.
    """
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    threads = threads or max(1, (os.cpu_count() or 1) // max(hosts))
    lines: list[Line] = []
    for panel in panels:
        for count in hosts:
            setup = Setup(preset, peers, panel, windows, window_bytes, count, threads, device, dtype)
            lines += _measure(setup, repeats, ceilings[str(dtype).removeprefix("torch.")], trace, tell)
            trace = None
    return lines


def ask_network(run: Run, view: View) -> Phase:
    """One query phase: draw, ask, read. Raises ClusterError where a version has no answer."""
    work, driver = Work(EPOCH), Spans()
    with driver.taken("draw"):
        draw(run, work)
    with driver.taken("ask"):
        ask_versions(run, work, view)
    lost = {key: f"{failure.reason}: {failure.sentence}" for key, failure in work.scored.failures.items()}
    answers = answers_by_validator(work)
    with driver.taken("read"):
        read, failures = ask_each(
            {name: run.crew.validators[name] for name in work.queries},
            lambda name, handle: handle.read.remote(work.epoch, lost, *answers[name]),
            deadline_s=run.network.deadlines.validator_s,
        )
    reasons = [*failures.values(), *(reason for own, _ in read.values() for reason in own.values())]
    if reasons or len(read) < len(VALIDATORS):
        raise ClusterError(f"the phase is not whole: {(reasons or ['a validator asked nothing'])[0]}")
    rows: dict[str, list[Span]] = {"driver": driver, "driver's pool": work.scored.spans}
    for receipt in work.scored.receipts.values():
        rows.setdefault(receipt.host, []).extend(receipt.spans)
    return Phase(work, dict(sorted(rows.items())) | {name: spans for name, (_, spans) in sorted(read.items())})


class BareLoop:
    """Versions in this process's memory, asked one after another, on a GPU stack by stack."""

    def __init__(self, store: Store, device: str, groups: Sequence[tuple[bytes, ...]], panel: Panel) -> None:
        self.library = Library(store, device=device, capacity_bytes=1 << 50)
        self._panel = panel
        alone = device == "cpu"
        self._groups = [(one,) for group in groups for one in group] if alone else list(groups)

    def ask(self, queries: Sequence[Query]) -> dict[bytes, Said]:
        """What each version says of all queries' windows, one query after another."""
        texts = [text.tobytes() for query in queries for text in query.text_WT]
        said: dict[bytes, Said] = {}
        for group in self._groups:
            hosted = self.library.stacked(group) if len(group) > 1 else self.library.hosted(group[0])
            said |= dict(zip(group, self._say(hosted, texts), strict=True))
        return said

    def _say(self, hosted: Hosted, texts: Sequence[bytes]) -> Sequence[Said]:
        if self._panel == "segments":
            return score_together(hosted, texts)
        return [*next_byte_together(hosted, texts)]


def _measure(
    setup: Setup, repeats: int, ceilings: Ceilings, trace: Path | None, tell: Callable[[str], None]
) -> list[Line]:
    before = torch.get_num_threads()
    keep_freed_memory()  # as hosts do
    with opened(setup, tell, ReadingValidator) as (run, view):
        torch.set_num_threads(setup.hosts * setup.threads)
        try:
            work = ask_network(run, view).work
            plan = run.packing.plan([row.manifest for row in view.rows], run.crew.hosts)
            groups = [stack.versions for own in plan.values() for stack in own.stacks]
            bare = BareLoop(Store(run.home.store), setup.device, groups, setup.panel)
            queries = [work.queries[name] for name in sorted(work.queries)]
            difference = largest_difference(work, bare.ask(queries))
            if not difference <= TOLERANCE[setup.dtype]:
                raise ClusterError(f"hosts and the bare loop differ by {difference:.3g} nats")
            model = bare.library.hosted(groups[0][0]).model
            tell(bound_sentence(_setting(setup, "either side"), _cost(setup, model), ceilings))
            phases: list[Phase] = []
            # Both end with their results in the CPU's memory, so its clock is the right one on a GPU too.
            loop, phase = sample_works(
                [lambda: bare.ask(queries), lambda: phases.append(ask_network(run, view))],
                torch.device("cpu"),
                repeats=repeats,
                warm_up=WARM_UP - 1,
            )
        finally:
            torch.set_num_threads(before)
    if trace is not None:
        write_spans(trace, phases[-1].rows)
    messages = [phases[-1].message(), f"both say the same within {difference:.2g} nats"]
    return _lines(setup, _cost(setup, model), loop.seconds, phase.seconds, ceilings, messages)


def largest_difference(work: Work, said: Mapping[bytes, Said]) -> float:
    """Nats by which what hosts answered differs from what the loop said."""
    first_of = {}
    windows = 0
    for name in sorted(work.queries):
        first_of[work.queries[name].digest] = windows
        windows += len(work.queries[name].text_WT)
    largest = 0.0
    for payload in work.scored.payloads.values():
        answers: list[Answer] = ray.get(payload[0], timeout=PATIENCE_S)
        for answer in answers:
            first = first_of[answer.query] + answer.first
            here, there = _values(said[answer.version], first, first + answer.windows), _values(answer.said)
            same = here == there  # both may be minus infinity
            largest = max(largest, float(np.where(same, 0.0, np.abs(here - there)).max(initial=0.0)))
    return largest


def _values(said: Said, first: int = 0, last: int | None = None) -> "np.ndarray[Any, np.dtype[np.float32]]":
    if not isinstance(said, Scores):
        return said[first:last]
    start_W = said.start_W[first : None if last is None else last + 1]
    return said.log_probability_C[start_W[0] : start_W[-1]]


def _lines(
    setup: Setup,
    cost: Cost,
    bare_s: Sequence[float],
    phase_s: Sequence[float],
    ceilings: Ceilings,
    messages: Sequence[str],
) -> list[Line]:
    rows, length = _tokens(setup)
    units = setup.peers * rows * length
    ratio = spread_of([one / other for one, other in zip(bare_s, phase_s, strict=True)])
    bare, phase = _setting(setup, "bare loop"), _setting(setup, "query phase")
    return [
        make_line(bare, "tokens", units, bare_s, cost, ceilings),
        make_line(phase, "tokens", units, phase_s, cost, ceilings, ratio=ratio, messages=messages),
    ]


def _setting(setup: Setup, work: str) -> Setting:
    rows, length = _tokens(setup)
    return {
        "work": work,
        "panel": setup.panel,
        "hosts": setup.hosts,
        "threads": setup.hosts * setup.threads,
        "peers": setup.peers,
        "windows": rows,
        "length": length,
    }


def _tokens(setup: Setup) -> tuple[int, int]:
    """Rows that each version reads, and their length: in segments all bytes but the last, in next_byte all that are
    shown, which is one less than a window has.
    """
    return len(VALIDATORS) * setup.windows, setup.window_bytes - 1


def _cost(setup: Setup, model: Any) -> Cost:
    """Logits of every position in segments, of a window's last in next_byte; each version's weights read once."""
    rows, length = _tokens(setup)
    size, element_bytes = size_of(model), setup.dtype.itemsize
    if setup.panel == "segments":
        return forward_cost(size, rows, length, element_bytes, models=setup.peers)
    body = forward_cost(replace(size, vocabulary=0), rows, length, element_bytes)
    output = size.hidden * size.vocabulary
    return (body + Cost(2.0 * rows * output, float(element_bytes * output))) * setup.peers
