"""How many signed extrinsics a second does the ledger take from bytes to disk, and what does it cost as it grows?

* throughput: a keeper's `build` (decode, verify, execute, state root, one durable commit) of signed transfers, 200 and
  1,000 a block, in turns with the bare verification of the same signatures by the same library in the same process. The
  ratio of the two rates is the figure: verification bounds it at 1, Python's share of a block keeps it below.
* threads: the same block with the signatures shared between one and two threads. Bounded by the part of a block that is
  not verification, and by how many cores are free.
* accounts: one block of 1,000 transfers with 10^4, 10^5 and 10^6 accounts. Bounded by the trie's and the database's
  depth, and by the pages and cache lines that scattered accounts touch.
* payout: what one payout to a pool takes with 10 and with 10^6 stakers, before the state root: two entries either way.
* replay: `verify` of the chain that was built, in extrinsics a second.

Other work on the machine moves wall times even where samples are taken in turns; `cpu_ratio` is the same ratio in this
process's own time, in which the wait for the disk is not counted.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import summarize, write_record
from cluster.bench.ledger import TransferChain, sample_throughput
from ledger.entries import Shares
from ledger.epoch.close import apply_payout


def measure_throughput(folder: Path, block_size: int, pairs: int) -> dict[str, Any]:
    """Rates of bare verification and of blocks, in turns, with one verifying thread and with two."""
    taken = sample_throughput(folder, block_size, pairs=pairs, threads=(1, 2))
    bare, built = taken.bare, taken.built
    pairs_of_bare = list(zip(bare, built[1], strict=True))
    gains = [one.wall_s / two.wall_s for one, two in zip(built[1], built[2], strict=True)]
    return {
        "bare_per_s": block_size / summarize([spent.wall_s for spent in bare])["median"],
        "block_per_s": block_size / summarize([spent.wall_s for spent in built[1]])["median"],
        "replay_per_s": taken.replayed / taken.replays_s[0],
        "ratio": summarize([alone.wall_s / whole.wall_s for alone, whole in pairs_of_bare]),
        "cpu_ratio": summarize([alone.cpu_s / whole.cpu_s for alone, whole in pairs_of_bare]),
        "gain_of_second_thread": summarize(gains),
    }


def measure_accounts(folder: Path, accounts: Sequence[int], rounds: int) -> dict[str, Any]:
    """Seconds for a block of 1,000 transfers at each number of accounts, in turns."""
    benches = []
    for count in accounts:
        place = folder / f"{count} accounts"
        place.mkdir()
        benches.append(TransferChain(place, count, 1000))
    samples: dict[int, list[float]] = {count: [] for count in accounts}
    for turn in range(rounds + 1):
        for count, bench in zip(accounts, benches, strict=True):
            spent = bench.build(bench.transfers(1000))
            if turn:
                samples[count].append(spent.wall_s)
    for bench in benches:
        bench.chain.close()
    seconds = {str(count): summarize(samples[count]) for count in accounts}
    return {"seconds": seconds, "growth": seconds[str(accounts[-1])]["median"] / seconds[str(accounts[0])]["median"]}


def measure_payout(folder: Path, stakers: Sequence[int], rounds: int) -> dict[str, Any]:
    """Seconds of one payout to a pool with so many stakers."""
    states = {}
    for count in stakers:
        place = folder / f"payout {count}"
        place.mkdir()
        with TransferChain(place, 10, 10).chain as chain:
            state = chain.state
        neuron = state.neuron(0)
        pool = state.pools.entries[neuron.hotkey]
        each = pool.shares // (2 * count)
        for index in range(count):
            owner = hashlib.sha256(b"staker %d" % index).digest()
            state.shares.put(neuron.hotkey + owner, Shares(shares=each))
        state.accept(state.seal())
        states[count] = state
    samples: dict[int, list[float]] = {count: [] for count in stakers}
    for turn in range(rounds + 1):
        for count in stakers if turn % 2 else reversed(stakers):
            state = states[count]
            neuron = state.neuron(0)
            started = time.perf_counter()
            apply_payout(state, neuron, 10**9, 10**9)
            elapsed = time.perf_counter() - started
            state.undo()
            if turn:
                samples[count].append(elapsed)
    seconds = {str(count): summarize(samples[count]) for count in stakers}
    return {"seconds": seconds, "growth": seconds[str(stakers[-1])]["median"] / seconds[str(stakers[0])]["median"]}


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer accounts and rounds, to see that it runs")
    parser.add_argument("--only", choices=("throughput", "payout", "accounts"), help="one question alone")
    parser.add_argument("--name", default="ledger", help="of the record")
    arguments = parser.parse_args()
    pairs, rounds = (3, 3) if arguments.quick else (15, 11)
    accounts = (1000, 10_000) if arguments.quick else (10_000, 100_000, 1_000_000)
    stakers = (10, 1000) if arguments.quick else (10, 1_000_000)
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for block_size in (200, 1000) if arguments.only in (None, "throughput") else ():
            place = Path(folder) / str(block_size)
            place.mkdir()
            measured[f"block of {block_size}"] = measure_throughput(place, block_size, pairs)
        if arguments.only in (None, "payout"):
            measured["payout"] = measure_payout(Path(folder), stakers, 50 * rounds)
        if arguments.only in (None, "accounts"):
            measured["accounts"] = measure_accounts(Path(folder), accounts, rounds)
    write_record(arguments.name, {"pairs": pairs, "rounds": rounds, "accounts": accounts, "stakers": stakers}, measured)


if __name__ == "__main__":
    main()
