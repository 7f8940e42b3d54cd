"""How long hosts take to answer, call by call, in a network through Ray: what the simulation of scale draws from.

What bounds it: a call's time is its scoring, which follows operations (docs/throughput.md); the tail is whatever else
the machine does, and stays in the record.

Run: `python -m benchmarks.latencies [--phases 24]`; two hosts and two validators on Ray, for a few minutes.
"""

import argparse
import sys
from typing import Any

import msgspec
import torch

from actors.host import ScoreReceipt
from actors.spans import Spans
from benchmarks.record import summarize, write_record
from benchmarks.simulate.latencies import Call, Latencies
from cluster.bench.epoch import Phase, ReadingValidator, ask_network
from cluster.bench.network import Setup, opened
from models.bench.presets import build_preset

MODEL = "byte-1m"


def recorded_call(versions: int, receipt: ScoreReceipt) -> Call:
    """A receipt's spans as seconds."""
    seconds = {span.name: span.seconds for span in receipt.spans}
    return Call(
        versions=versions,
        windows=receipt.windows,
        check_s=seconds["check"],
        score_s=seconds["score"],
        sign_s=seconds["sign"],
    )


def recorded(phases: list[Phase], setup: Setup) -> Latencies:
    """All phases' calls, and what validators and the pool took beside them."""
    calls: list[Call] = []
    drawn: list[float] = []
    read: list[float] = []
    driver_s = 0.0
    for phase in phases:
        receipts = phase.work.scored.receipts.values()
        calls += [recorded_call(len(receipt.size_bytes), receipt) for receipt in receipts]
        for name, spans in phase.rows.items():
            if name in phase.work.queries:
                drawn += [span.seconds for span in spans if span.name == "draw"]
                read += [span.seconds / setup.peers for span in spans if span.name == "check"]
        pool = Spans(phase.work.scored.spans)
        driver_s += sum(span.seconds for span in pool if span.name in ("send", "receive"))
    model = build_preset(MODEL, torch.device("cpu"), torch.float32)
    return Latencies(
        parameters=sum(weights.numel() for weights in model.parameters()),
        tokens=setup.window_bytes - 1,
        calls=tuple(calls),
        read_s=tuple(read),
        draw_s=tuple(drawn),
        driver_s=driver_s / len(calls),
    )


def main() -> None:
    """Ask again and again, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phases", type=int, default=24)
    arguments = parser.parse_args()
    setup = Setup(
        model=MODEL,
        peers=16,
        panel="segments",
        windows=48,
        window_bytes=129,
        hosts=2,
        threads=1,
        device="cpu",
        dtype=torch.float32,
    )
    with opened(setup, lambda sentence: print(sentence, file=sys.stderr), ReadingValidator) as (run, view):
        ask_network(run, view)
        latencies = recorded([ask_network(run, view) for _ in range(arguments.phases)], setup)
    told: dict[str, Any] = msgspec.to_builtins(latencies)
    configuration = {"phases": arguments.phases, **{name: str(value) for name, value in vars(setup).items()}}
    write_record("latencies", configuration, told)
    print(summarize([call.score_s for call in latencies.calls]), file=sys.stderr)


if __name__ == "__main__":
    main()
