"""Is a block that was acknowledged ever lost, or an extrinsic ever taken twice, when the writer is killed with -9?

A child writes as the keeper does: it submits signed transfers to the mempool, seals blocks of what waits, removes what
was taken, and tells its parent (through a pipe, after the commit) each block's height and hash. The parent kills it
after a random while, opens the ledger, and compares: every acknowledged block is there with its hash, at most one more
(committed, and killed before it could say so), every extrinsic is in at most one block, and everything verifies again
from the genesis. Then the next child goes on from there.

What bounds it: this shows the death of a process, not of the machine: what the kernel holds survives. Power loss is
modelled in tests/ledger/test_power_loss.py.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.record import summarize, write_record
from ledger.blocks import Kind
from ledger.execution import next_kind
from ledger.extrinsics import Transfer, encode_extrinsic, sign_extrinsic
from ledger.genesis import Genesis, GenesisNeuron
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool, select
from ledger.store.replay import verify
from ledger.units import blake2b_256

KEEPER = Keypair.from_seed(hashlib.sha256(b"keeper").digest())
SIGNERS = [Keypair.from_seed(hashlib.sha256(b"signer %d" % index).digest()) for index in range(8)]
BLOCK = 12
"""Extrinsics that the writer submits before each block."""
FRESH_AFTER = 20
"""Kills after which a new ledger is begun, since each kill verifies the whole one again."""


def found(folder: Path) -> None:
    """A ledger of one validator and the signers."""
    hotkey = Keypair.from_seed(hashlib.sha256(b"hotkey").digest())
    genesis = Genesis(
        network="killed",
        keeper=KEEPER.public,
        development=True,
        balances=tuple((key.public, 10**12) for key in SIGNERS),
        stakes=((hotkey.public, KEEPER.public, 10**12),),
        neurons=(GenesisNeuron(hotkey=hotkey.public, coldkey=KEEPER.public, name="validator", permit=True),),
    )
    Chain.create(folder / "chain.db", genesis).close()


def write_blocks(folder: Path, told: int) -> None:
    """The child: submit, seal, remove and acknowledge until it is killed."""
    chain = Chain.open(folder / "chain.db", write=True)
    mempool = Mempool(folder / "mempool.db", chain.genesis_hash)
    mempool.remove_included(chain.block(chain.head.height))
    os.write(told, b"ready\n")
    for turn in range(10**9):
        for index in range(BLOCK):
            key = SIGNERS[(turn + index) % len(SIGNERS)]
            extrinsic = sign_extrinsic(
                Transfer(to=SIGNERS[(turn + index + 1) % len(SIGNERS)].public, amount_rao=1000 + index),
                key,
                genesis_hash=chain.genesis_hash,
                nonce=mempool.next_nonce(key.public, chain.state.nonce(key.public)),
                valid_until=2**40,
            )
            mempool.submit(encode_extrinsic(extrinsic))
        kind: Kind = next_kind(chain.state)
        chosen = select(mempool.pending(), chain.state, kind, chain.head.height + 1)
        block = chain.build(kind, chosen.extrinsics, term=chain.term, keypair=KEEPER)
        os.write(told, f"{block.height} {block.hash.hex()}\n".encode())
        mempool.remove([*chosen.taken, *chosen.dropped])


def kill_once(folder: Path, life_s: float) -> list[tuple[int, str]]:
    """Start a writer, kill it `life_s` after it is ready, and give what it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write_blocks(folder, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        if told.readline() != b"ready\n":
            raise RuntimeError("the writer ended before it was killed")
        time.sleep(life_s)
        os.kill(child, signal.SIGKILL)
        lines = told.read().decode().splitlines(keepends=True)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError("the writer ended by itself")
    return [(int(line.split()[0]), line.split()[1]) for line in lines if line.endswith("\n")]


def check(folder: Path, acknowledged: dict[int, str]) -> int:
    """How many blocks stand beyond the last acknowledged; AssertionError for one lost or changed, or taken twice."""
    verified = verify(folder / "chain.db")
    with Chain.open(folder / "chain.db") as chain:
        assert verified.block_hash == chain.head_hash
        for height, block_hash in acknowledged.items():
            assert chain.header(height).hash.hex() == block_hash, f"block {height} was acknowledged and is another"
        seen: set[bytes] = set()
        for block in chain.blocks(1):
            for data in block.extrinsics:
                assert blake2b_256(data) not in seen, f"an extrinsic of block {block.height} was taken before"
                seen.add(blake2b_256(data))
        nonces = sum(chain.state.nonce(key.public) for key in SIGNERS)
        assert nonces == len(seen), "nonces and extrinsics differ"
        return chain.head.height - max(acknowledged, default=0)


def run(folder: Path, kills: int, seed: int, longest_s: float) -> dict[str, Any]:
    """Kill that often; what was written, lost and doubled."""
    chance = random.Random(seed)
    blocks = extrinsics = unsaid = 0
    lives: list[float] = []
    acknowledged: dict[int, str] = {}
    place = folder / "ledger"
    for kill in range(kills):
        if kill % FRESH_AFTER == 0:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            found(place)
            acknowledged = {}
        lives.append(chance.uniform(0, longest_s))
        said = kill_once(place, lives[-1])
        assert not set(dict(said)) & set(acknowledged), "a block was acknowledged twice"
        acknowledged |= dict(said)
        beyond = check(place, acknowledged)
        assert beyond in (0, 1), f"{beyond} blocks beyond the last acknowledged"
        if beyond:
            with Chain.open(place / "chain.db") as chain:
                acknowledged[chain.head.height] = chain.head_hash.hex()
        unsaid += beyond
        blocks += len(said) + beyond
        if kill % FRESH_AFTER == FRESH_AFTER - 1 or kill == kills - 1:
            extrinsics += verify(place / "chain.db").extrinsics
    return {
        "kills": kills,
        "blocks": blocks,
        "extrinsics": extrinsics,
        "committed_but_unsaid": unsaid,
        "acknowledged_and_lost": 0,
        "doubled": 0,
        "life_s": summarize(lives),
    }


def main() -> None:
    """Kill, check, and write the record; an AssertionError ends it where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest-s", type=float, default=0.25, help="longest life of a writer")
    parser.add_argument("--quick", action="store_true", help="20 kills, no record")
    arguments = parser.parse_args()
    kills = 20 if arguments.quick else arguments.kills
    with tempfile.TemporaryDirectory() as folder:
        measured = run(Path(folder), kills, arguments.seed, arguments.longest_s)
    if arguments.quick:
        print(measured)
    else:
        write_record("kill_writer", {"seed": arguments.seed, "longest_s": arguments.longest_s}, measured)


if __name__ == "__main__":
    main()
