"""Do bad messages get anything but a typed refusal out of the ledger, or change it?

A million of them: malformed, truncated, spliced, oversized, non-canonical, forged, replayed, of other networks, of
strangers without means, altered blocks and votes. Each goes the way of a message from outside: decoder, signature,
rules; blocks and votes to a replica. Anything but a Refusal (for blocks and votes that don't decode: a ValueError, as
their decoders say), anything applied, and any row written ends the run with the message that did it.

What bounds it: Ed25519 for messages that get so far, for the others how long it takes to make them up.

Run: `python benchmarks/fuzz_messages.py [--messages 1000000] [--seed 1] [--quick]`.
"""

import argparse
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import msgspec  # noqa: E402
from msgspec.structs import replace  # noqa: E402

from benchmarks.fuzz_target import Target, make_target, stranger_call  # noqa: E402
from benchmarks.record import write_record  # noqa: E402
from ledger.blocks import decode_block, encode_block, sign_header  # noqa: E402
from ledger.errors import Refusal  # noqa: E402
from ledger.execution import apply_extrinsic  # noqa: E402
from ledger.extrinsics import check_signature, decode_extrinsic, encode_extrinsic, sign_extrinsic  # noqa: E402
from ledger.trust.finality import decode_vote, encode_vote, sign_vote  # noqa: E402

CHECK_EVERY = 20_000
"""Messages between two comparisons of every row; the journal of writes is looked at after each."""

UNSIGNED = {"undecodable", "not_canonical", "too_large", "bad_signature"}
"""How a message that nobody signed may end."""

ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.5, math.nan, math.inf, "", "\x00", "\x1b[2J",
    "é" * 300, b"", bytes(31), bytes(32), bytes(33), bytes(64), [], [[]], [1, 2], {}, {"type": "transfer"}, {"a": 1},
    msgspec.msgpack.Ext(5, b"x"), "register", "equivocation",
)  # fmt: skip

Made = tuple[bytes, set[str] | None]
"""A message, and the codes that it may end with (None: any)."""


def truncated(rng: random.Random, target: Target) -> Made:
    data = rng.choice(target.samples)
    return data[: rng.randrange(len(data))], UNSIGNED


def flipped(rng: random.Random, target: Target) -> Made:
    data = bytearray(rng.choice(target.samples))
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return (bytes(data), UNSIGNED) if bytes(data) not in target.samples else (b"", UNSIGNED)


def spliced(rng: random.Random, target: Target) -> Made:
    first, second = rng.choice(target.samples), rng.choice(target.samples)
    data = first[: rng.randrange(len(first))] + second[rng.randrange(len(second)) :]
    return (data, UNSIGNED) if data not in target.samples else (b"", UNSIGNED)


def noise(rng: random.Random, target: Target) -> Made:
    head = rng.choice(
        (b"", b"\x85", b"\x85\xa4call", b"\x91" * rng.randrange(5000), b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff")
    )
    return head + rng.randbytes(rng.choice((0, 1, 10, 100, 1000))), UNSIGNED


def oversized(rng: random.Random, target: Target) -> Made:
    most = target.chain.genesis.parameters.max_extrinsic_bytes
    return rng.choice(target.samples) + bytes(most), {"too_large"}


def misshapen(rng: random.Random, target: Target) -> Made:
    """A sample with one value, somewhere inside, replaced, dropped, added or moved; encoded as shortly as before."""
    tree = msgspec.msgpack.decode(rng.choice(target.samples))
    parent: Any = tree
    while True:
        key = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        if not (isinstance(parent[key], dict | list) and parent[key] and rng.random() < 0.8):
            break
        parent = parent[key]
    action = rng.randrange(5)
    if action == 0:
        del parent[key]
    elif action == 1 and isinstance(parent, dict):
        parent[rng.choice(("hotkey", "x", "type", ""))] = rng.choice(ODD_VALUES)
    elif action == 2 and isinstance(parent, dict):
        parent[key] = parent.pop(key)
    else:
        parent[key] = rng.choice(ODD_VALUES)
    data = msgspec.msgpack.encode(tree)
    return (data, UNSIGNED) if data not in target.samples else (b"", UNSIGNED)


def long_winded(rng: random.Random, target: Target) -> Made:
    """The same value in a longer encoding."""
    data = rng.choice(target.samples)
    return b"\xde\x00\x05" + data[1:], {"not_canonical"}


def forged(rng: random.Random, target: Target) -> Made:
    """A well-formed message in another's name."""
    victim, attacker = rng.sample(target.owners, 2)
    real = target.sign(stranger_call(rng, target), attacker)
    return encode_extrinsic(replace(real, signer=victim.public)), {"bad_signature"}


def foreign(rng: random.Random, target: Target) -> Made:
    """Signed by its owner, for another network."""
    owner = rng.choice(target.owners)
    nonce = target.chain.state.nonce(owner.public) + 1
    call = stranger_call(rng, target)
    return encode_extrinsic(sign_extrinsic(call, owner, genesis_hash=rng.randbytes(32), nonce=nonce, valid_until=99)), {
        "bad_signature"
    }


def replayed(rng: random.Random, target: Target) -> Made:
    return rng.choice(target.samples), {
        "bad_nonce",
        "wrong_phase",
        "late_contribution",
        "late_commitment",
        "late_reveal",
    }


def mistimed(rng: random.Random, target: Target) -> Made:
    """Signed by its owner, with a nonce that is not next, or too late."""
    owner, last = rng.choice(target.owners), target.chain.state
    nonce = last.nonce(owner.public)
    wrong = rng.choice((max(0, nonce - rng.randrange(3)), nonce + 2 + rng.randrange(9), 2**63 - 1))
    late = rng.random() < 0.5
    nonce, valid_until = (nonce + 1, 0) if late else (wrong, 10**6)
    signed = target.sign(stranger_call(rng, target), owner, nonce=nonce, valid_until=valid_until)
    return encode_extrinsic(signed), {"expired"} if late else {
        "bad_nonce", "wrong_phase", "late_contribution", "late_commitment", "late_reveal",
    }  # fmt: skip


def stranger(rng: random.Random, target: Target) -> Made:
    """Any call, rightly signed, by somebody who has nothing."""
    return encode_extrinsic(target.sign(stranger_call(rng, target), rng.choice(target.strangers))), None


FAMILIES: dict[str, tuple[int, Callable[[random.Random, Target], Made]]] = {
    "truncated": (15, truncated),
    "flipped": (20, flipped),
    "spliced": (10, spliced),
    "noise": (10, noise),
    "misshapen": (20, misshapen),
    "long-winded": (4, long_winded),
    "oversized": (1, oversized),
    "forged": (4, forged),
    "foreign": (4, foreign),
    "replayed": (4, replayed),
    "mistimed": (3, mistimed),
    "stranger": (4, stranger),
}
BLOCKS_IN_A_THOUSAND, VOTES_IN_A_THOUSAND = 4, 6


def deliver(data: bytes, target: Target, kind: Any) -> str:
    """The way of a message into a block; its code, or "ok"."""
    state = target.chain.state
    try:
        extrinsic = decode_extrinsic(data, max_bytes=state.parameters.max_extrinsic_bytes)
        check_signature(extrinsic, state.genesis_hash)
    except Refusal as refusal:
        return refusal.code
    return apply_extrinsic(state, kind, extrinsic)


def deliver_block(rng: random.Random, target: Target) -> str:
    """The replica's next block with bits flipped, or signed by the keeper with a header that is not true."""
    good = target.next_block
    if rng.random() < 0.5:
        data = bytearray(encode_block(good))
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            block = decode_block(bytes(data))
        except ValueError:
            return "undecodable block"
    else:
        field = rng.choice(("parent", "height", "epoch", "extrinsics_root", "receipts_root", "state_root"))
        value = getattr(good.header, field)
        wrong = rng.randbytes(32) if isinstance(value, bytes) else value + rng.choice((1, 7))
        header = replace(good.header, **{field: wrong})
        block = replace(good, header=header, signature=sign_header(header, target.keeper, target.chain.genesis_hash))
    try:
        target.replica.append(block)
    except Refusal as refusal:
        return refusal.code
    return "ok"


def deliver_vote(rng: random.Random, target: Target) -> str:
    """A validator's vote with bits flipped, for a block that is not there, or by somebody who has none."""
    header, chain = target.chain.head, target.chain
    voter = rng.choice((*target.owners, *target.strangers))
    vote = sign_vote(header if rng.random() < 0.5 else replace(header, state_root=rng.randbytes(32)), voter, bytes(32))
    data = bytearray(encode_vote(vote))
    if rng.random() < 0.5:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    try:
        vote = decode_vote(bytes(data))
    except ValueError:
        return "undecodable vote"
    try:
        chain.add_votes(header.height, [vote])
    except Refusal as refusal:
        return refusal.code
    return "ok"


def run(messages: int, seed: int) -> dict[str, int]:
    """How often each family ended with each code; AssertionError with the message for anything else."""
    rng, seen = random.Random(seed), Counter[str]()
    names, shares = list(FAMILIES), [share for share, _ in FAMILIES.values()]
    with tempfile.TemporaryDirectory(prefix="taoray-fuzz-") as folder:
        target = make_target(Path(folder))
        before = target.everything()
        for number in range(messages):
            dice = rng.randrange(1000)
            if dice < BLOCKS_IN_A_THOUSAND:
                family, data, code, allowed = "block", b"", deliver_block(rng, target), None
            elif dice < BLOCKS_IN_A_THOUSAND + VOTES_IN_A_THOUSAND:
                family, data, code, allowed = "vote", b"", deliver_vote(rng, target), None
            else:
                family = rng.choices(names, shares)[0]
                data, allowed = FAMILIES[family][1](rng, target)
                code = deliver(data, target, rng.choice(("open", "commit", "close")))
            what = f"seed {seed}, message {number}, {family}: {code}: {data[:400].hex()}"
            assert code != "ok", f"applied: {what}"
            assert allowed is None or code in allowed, f"unexpected code: {what}"
            assert target.chain.state.mark() == target.replica.state.mark() == 0, f"written: {what}"
            seen[f"{family}: {code}"] += 1
            if number % CHECK_EVERY == CHECK_EVERY - 1:
                assert target.everything() == before, f"the ledger changed before {what}"
        assert target.everything() == before, "the ledger changed"
        target.close()
    return dict(sorted(seen.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="20,000 messages, and no record")
    parser.add_argument("--json", action="store_true", help="only the JSON record on standard output")
    arguments = parser.parse_args()
    messages = 20_000 if arguments.quick else arguments.messages
    started = time.perf_counter()
    seen = run(messages, arguments.seed)
    measured = {"messages": messages, "seconds": round(time.perf_counter() - started, 1), "seen": seen}
    if arguments.quick:
        print(measured)
    else:
        path = write_record("fuzz_messages", {"messages": messages, "seed": arguments.seed}, measured)
        if not arguments.json:
            print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
