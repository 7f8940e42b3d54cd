"""How long an honest remote peer's answers take the gateway beside eight that misbehave, for each way of doing so.

What bounds it: one event loop reads all connections, so whatever makes it work (a head to parse, a body to copy, a
signature to check) is time that the honest peer's reply waits. A general HTTP client follows all that HTTP allows; with
aiohttp 3.14 eight peers that sent interim replies without end kept the honest one from being read within 20 s. All
endpoints are in processes of their own. The ratio is to eight honest peers beside the honest one.

    python benchmarks/remote_crowd.py [--peers 8] [--rounds 5]
"""

import argparse
import asyncio
import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np  # noqa: E402
from hostile_peer import BEHAVIOURS, random_said, serving  # noqa: E402
from record import summarize, write_record  # noqa: E402

from actors.errors import EndpointRefused  # noqa: E402
from actors.gateway import Target, ask_target  # noqa: E402
from actors.remote_wire import Seen, answer_question, open_question  # noqa: E402
from actors.wire import Query, WireError, sign_query  # noqa: E402
from ledger.keys import Keypair  # noqa: E402

GENESIS = bytes(range(32))
VALIDATORS, WINDOWS, PREFIX_BYTES = 3, 2048, 64
DEADLINE_S = 20.0


def main() -> None:
    """Each behaviour in turn, and the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    told = parser.parse_args()
    queries = make_queries()
    rows: dict[str, list[list[Any]]] = {name: [] for name in BEHAVIOURS}
    for _ in range(told.rounds):
        for name in BEHAVIOURS:
            rows[name].append(measure(name, told.peers, queries))
    measured = {
        name: {
            "honest_answered": all(answered for answered, _, _ in row),
            "honest_s": summarize([s for _, s, _ in row]),
        }
        | {"outcomes": sorted({outcome for *_, outcomes in row for outcome in outcomes})}
        for name, row in rows.items()
    }
    usual_s = measured["honest"]["honest_s"]["median"]
    for row in measured.values():
        row["ratio"] = row["honest_s"]["median"] / usual_s
    configuration = vars(told) | {"validators": VALIDATORS, "windows": WINDOWS, "deadline_s": DEADLINE_S}
    path = write_record("remote_crowd", configuration, measured)
    for name, row in measured.items():
        print(f"{name}: {row['honest_s']['median']:.2f} s ({row['ratio']:.2f}) {row['outcomes']}", file=sys.stderr)
    print(path, file=sys.stderr)


def measure(name: str, peers: int, queries: Sequence[Query]) -> list[Any]:
    """Whether the honest peer beside a crowd was heard, in how many seconds, and what became of the crowd."""
    context = multiprocessing.get_context("spawn")
    targets, pipes, processes = [], [], []
    for behaviour, count in (("honest", 1), (name, peers)):
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(behaviour, count, theirs), daemon=True)
        process.start()
        targets.append([Target(*place) for place in ours.recv()])
        pipes.append(ours)
        processes.append(process)
    try:
        return asyncio.run(_ask(targets[0][0], targets[1], queries))
    finally:
        for process in processes:
            process.kill()
            process.join()


async def _ask(honest: Target, crowd: Sequence[Target], queries: Sequence[Query]) -> list[Any]:
    keeper = keypair("keeper")

    async def ask(target: Target) -> tuple[str, float]:
        began = time.perf_counter()
        try:
            await ask_target(target, queries, keeper, deadline_s=DEADLINE_S, allow_private=True)
        except EndpointRefused as refused:
            return refused.code, time.perf_counter() - began
        return "answered", time.perf_counter() - began

    # Who stalls is waited for no longer than the honest one: that is all that is measured.
    tasks = [asyncio.create_task(ask(target)) for target in crowd]
    outcome, seconds = await ask(honest)
    await asyncio.wait(tasks, timeout=1.0)
    outcomes = [task.result()[0] if task.done() else "still under way" for task in tasks]
    for task in tasks:
        task.cancel()
    return [outcome == "answered", seconds, outcomes]


def serve(name: str, count: int, pipe: Any) -> None:
    """Endpoints of one behaviour in this process, until the other end of the pipe is closed."""
    with ExitStack() as stack:
        places = []
        for index in range(count):
            hotkey = keypair(f"{name} {index}{' alone' if count == 1 else ''}")
            address = stack.enter_context(serving(lambda: name, honest_reply(hotkey), hotkey))
            places.append((hotkey.public, address))
        pipe.send(places)
        pipe.recv()


def honest_reply(hotkey: Keypair) -> Any:
    """An honest peer without a model."""
    seen = Seen(now_s=0.0)

    def reply(data: bytes) -> bytes:
        try:
            question = open_question(data, hotkey, genesis=GENESIS, asker=keypair("keeper").public, seen=seen)
        except WireError:
            return b""
        return answer_question(question, random_said(len(question.prefixes)), hotkey)

    return reply


def make_queries() -> list[Query]:
    """What the validators of an epoch ask."""
    rng = np.random.default_rng(0)
    return [
        sign_query(
            keypair(f"validator {index}"),
            genesis=GENESIS,
            epoch=1,
            panel="next_byte",
            text_WT=rng.integers(0, 256, (WINDOWS, PREFIX_BYTES), dtype=np.uint8),
        )
        for index in range(VALIDATORS)
    ]


def keypair(name: str) -> Keypair:
    """A key from a name."""
    return Keypair.from_seed(hashlib.sha256(name.encode()).digest())


if __name__ == "__main__":
    main()
