"""How many signed extrinsics a second the ledger takes from bytes to disk, and how quickly a chain is replayed.

What bounds it: each extrinsic's signature has to be verified, at what the library does on one core alone; that is the
floor, shared among as many threads as verify. Above it are decoding, execution, the state's root, and one durable
commit a block, which more extrinsics share in a larger block.

Invariants: a block goes from signed bytes to the disk as a keeper builds it; the bare verification is of the same
signatures, in turns with the block that they are in; transfers are of as many signers as a block has, so that none
waits for another's nonce.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import nacl.bindings

from ledger import sealing
from ledger.blocks import Kind
from ledger.extrinsics import Transfer, decode_extrinsic, encode_extrinsic, sign_extrinsic
from ledger.genesis import Genesis, GenesisNeuron
from ledger.keys import EXTRINSIC_DOMAIN, Keypair
from ledger.store.chain import Chain
from ledger.store.replay import verify
from models.bench.line import Line
from models.bench.timing import Spread, spread_of

ACCOUNTS = 10_000
KINDS: tuple[Kind, ...] = ("open", "commit", "close")
START_RAO = 10**10
UNIT = "extrinsics"


class Spent(NamedTuple):
    """Seconds on the wall's clock, and of this process."""

    wall_s: float
    cpu_s: float


class Clock:
    """Both clocks since it was made."""

    def __init__(self) -> None:
        self._began = Spent(time.perf_counter(), time.process_time())

    def read(self) -> Spent:
        """What has been spent."""
        return Spent(time.perf_counter() - self._began.wall_s, time.process_time() - self._began.cpu_s)


class TransferChain:
    """A chain whose first accounts sign transfers to all others, a little to each in turn.

    Args:
        accounts: how many the genesis has.
        signers: those of them that sign; the first of a block's transfers is the first's.
    """

    def __init__(self, folder: Path, accounts: int, signers: int) -> None:
        self.keeper, hotkey = _key("keeper"), _key("hotkey")
        self.signers = [_key(f"signer {index}") for index in range(signers)]
        rest = (hashlib.sha256(b"account %d" % index).digest() for index in range(accounts - signers))
        self.accounts = [*(key.public for key in self.signers), *rest]
        genesis = Genesis(
            network="benchmark",
            keeper=self.keeper.public,
            development=True,
            balances=tuple((public, START_RAO) for public in self.accounts),
            stakes=((hotkey.public, self.keeper.public, START_RAO),),
            neurons=(GenesisNeuron(hotkey=hotkey.public, coldkey=self.keeper.public, name="validator", permit=True),),
        )
        self.chain = Chain.create(folder / "chain.db", genesis)
        self._sent = 0

    def transfers(self, count: int) -> list[bytes]:
        """Signed transfers of the next block, receivers spread over all accounts."""
        step = max(1, len(self.accounts) // count) * 7919
        nonce = {key.public: self.chain.state.nonce(key.public) for key in self.signers}
        made = []
        for index in range(count):
            key = self.signers[index % len(self.signers)]
            nonce[key.public] += 1
            to = self.accounts[(self._sent + index * step) % len(self.accounts)]
            call = Transfer(to=to, amount_rao=1000)
            extrinsic = sign_extrinsic(
                call, key, genesis_hash=self.chain.genesis_hash, nonce=nonce[key.public], valid_until=2**40
            )
            made.append(encode_extrinsic(extrinsic))
        self._sent += count
        return made

    def build(self, extrinsics: Sequence[bytes]) -> Spent:
        """From these bytes to the block on disk. Raises RuntimeError where one of them was refused."""
        kind, clock = KINDS[self.chain.head.height % 3], Clock()
        block = self.chain.build(kind, extrinsics, term=0, keypair=self.keeper)
        spent = clock.read()
        if not set(block.receipts) <= {"ok"}:
            raise RuntimeError(f"transfers were refused: {sorted(set(block.receipts))}")
        return spent

    def verify_bare(self, extrinsics: Sequence[bytes]) -> Spent:
        """The signatures alone, on one thread, from signed messages that are made beforehand."""
        signed = []
        for data in extrinsics:
            one = decode_extrinsic(data)
            shown = msgspec.msgpack.encode((one.signer, one.nonce, one.valid_until, one.call))
            signed.append((one.signature + EXTRINSIC_DOMAIN + self.chain.genesis_hash + shown, one.signer))
        clock = Clock()
        for message, signer in signed:
            nacl.bindings.crypto_sign_open(message, signer)
        return clock.read()


@dataclass(frozen=True)
class Throughput:
    """What a block size took, in the order in which it was measured.

    Attributes:
        bare: the signatures alone, on one thread.
        built: blocks, by how many threads verified their signatures.
        replays_s: seconds of each replay of the whole chain.
        replayed: how many extrinsics it has.
    """

    bare: list[Spent]
    built: dict[int, list[Spent]]
    replays_s: list[float]
    replayed: int


def sample_throughput(folder: Path, size: int, *, pairs: int, threads: Sequence[int], replays: int = 1) -> Throughput:
    """Blocks of `size` transfers and the bare verification of their signatures, in turns; then the chain's replay."""
    world = TransferChain(folder, max(ACCOUNTS, size), size)
    bare: list[Spent] = []
    built: dict[int, list[Spent]] = {count: [] for count in threads}
    try:
        world.build(world.transfers(size))
        for pair in range(pairs):
            for count in threads if pair % 2 else tuple(reversed(threads)):
                extrinsics = world.transfers(size)
                with _verifying(count):
                    built[count].append(world.build(extrinsics))
                if count == threads[0]:
                    bare.append(world.verify_bare(extrinsics))
    finally:
        world.chain.close()
    replays_s, replayed = [], 0
    for _ in range(replays):
        began = time.perf_counter()
        replayed = verify(world.chain.path).extrinsics
        replays_s.append(time.perf_counter() - began)
    return Throughput(bare, built, replays_s, replayed)


def measure_ledger(*, transfers: Sequence[int], repeats: int, tell: Callable[[str], None]) -> list[Line]:
    """Extrinsics a second, bare and in blocks, and of a replay.

    Args:
        transfers: sizes of blocks.
        repeats: blocks of each size, each beside the bare verification of the same signatures.
    """
    lines: list[Line] = []
    threads = sorted({1, sealing.VERIFYING_THREADS})
    for size in transfers:
        tell(f"{repeats} blocks of {size} transfers among {max(ACCOUNTS, size)} accounts, threads: {threads}")
        with tempfile.TemporaryDirectory() as folder:
            taken = sample_throughput(Path(folder), size, pairs=repeats, threads=threads, replays=min(3, repeats))
        bare_s = [spent.wall_s for spent in taken.bare]
        floor_s = spread_of(bare_s).median
        lines.append(_line("signatures alone", size, 1, size, bare_s, floor_s))
        for count, built in taken.built.items():
            samples = [spent.wall_s for spent in built]
            ratio = spread_of([one / other for one, other in zip(bare_s, samples, strict=True)])
            lines.append(_line("block to disk", size, count, size, samples, floor_s / count, ratio))
        most = threads[-1]
        replay_floor_s = floor_s / size * taken.replayed / most
        lines.append(_line("replay", size, most, taken.replayed, taken.replays_s, replay_floor_s))
    return lines


def _line(
    work: str,
    size: int,
    threads: int,
    units: int,
    samples: Sequence[float],
    floor_s: float,
    ratio: Spread | None = None,
) -> Line:
    seconds = spread_of(samples)
    return Line(
        setting={"work": work, "transfers": size, "threads": threads},
        unit=UNIT,
        units=units,
        seconds=seconds,
        units_s=units / seconds.median,
        floor_s=floor_s,
        bound="signatures",
        ratio=ratio,
    )


@contextmanager
def _verifying(threads: int) -> Iterator[None]:
    before = sealing.VERIFYING_THREADS
    sealing.VERIFYING_THREADS = threads
    try:
        yield
    finally:
        sealing.VERIFYING_THREADS = before


def _key(name: str) -> Keypair:
    return Keypair.from_seed(hashlib.sha256(name.encode()).digest())
