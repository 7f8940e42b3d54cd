"""A ledger to throw bad messages at: two epochs old, with an applied sample of every call, and a replica one block
behind.
"""

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from benchmarks.ledger_world import (
    COLDKEYS,
    GENESIS,
    HOTKEYS,
    KEEPER,
    make_ballot,
    make_commitment,
    make_rounds,
    two_headers,
    two_votes,
)
from ledger.blocks import APPLIED, Block, Kind
from ledger.epoch.emission import CAP_RAO
from ledger.extrinsics import (
    AddStake,
    Call,
    Checkpoint,
    CommitWeights,
    Contribute,
    Equivocation,
    Extrinsic,
    Publish,
    Register,
    RemoveStake,
    Serve,
    SetIdentity,
    SetTake,
    SwapHotkey,
    Transfer,
    TwoVotes,
    Withdraw,
    encode_extrinsic,
    sign_extrinsic,
)
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.units import RAO_PER_TAO

STRANGERS = tuple(Keypair.from_seed(bytes([50, index]) * 16) for index in range(16))


class Target(msgspec.Struct, kw_only=True):
    """`samples` are applied extrinsics, encoded, of every call; `owners` hold funds or uids, `strangers` nothing."""

    chain: Chain
    replica: Chain
    next_block: Block
    samples: tuple[bytes, ...]
    owners: tuple[Keypair, ...] = (*COLDKEYS[:3], *HOTKEYS[:3])
    strangers: tuple[Keypair, ...] = STRANGERS
    keeper: Keypair = KEEPER

    def sign(self, call: Call, signer: Keypair, *, nonce: int | None = None, valid_until: int = 10**6) -> Extrinsic:
        """Signed as its signer would, unless told otherwise."""
        nonce = self.chain.state.nonce(signer.public) + 1 if nonce is None else nonce
        return sign_extrinsic(call, signer, genesis_hash=self.chain.genesis_hash, nonce=nonce, valid_until=valid_until)

    def everything(self) -> list[object]:
        """All that the two chains know: rows, roots, heads, votes."""
        known: list[object] = []
        for chain in (self.chain, self.replica):
            rows = dict(chain.state.encoded_rows())
            known += [rows, chain.state.root, chain.head_hash, chain.final_height, chain.votes(chain.head.height)]
        return known

    def close(self) -> None:
        """Close both chains."""
        self.chain.close()
        self.replica.close()


def make_target(folder: Path) -> Target:
    """A chain and its replica in this folder."""
    chain = Chain.create(folder / "chain.db", GENESIS)
    samples: list[bytes] = []

    def seal(kind: Kind, *signed: tuple[Call, Keypair]) -> Block:
        nonces: dict[bytes, int] = {}
        data = []
        for call, signer in signed:
            nonce = nonces.get(signer.public, chain.state.nonce(signer.public)) + 1
            nonces[signer.public] = nonce
            extrinsic = sign_extrinsic(call, signer, genesis_hash=chain.genesis_hash, nonce=nonce, valid_until=10**6)
            data.append(encode_extrinsic(extrinsic))
        block = chain.build(kind, data, term=chain.term, keypair=KEEPER)
        if set(block.receipts) - {APPLIED}:
            raise ValueError(f"a sample was refused: {block.receipts}")
        samples.extend(data)
        return block

    seal("open", *_opening())
    reveals = [
        make_ballot(chain.state, hotkey, (2, 3), (1, 65535), make_rounds(chain.state, (7,))) for hotkey in HOTKEYS[:2]
    ]
    pairs = list(zip(reveals, HOTKEYS, strict=False))
    seal("commit", *((make_commitment(chain.state, hotkey, reveal), hotkey) for reveal, hotkey in pairs))
    seal("close", *pairs)
    header, genesis_hash = chain.block(2).header, chain.genesis_hash
    votes, headers = two_votes(header, HOTKEYS[1], genesis_hash), two_headers(header, KEEPER, genesis_hash)
    seal("open", (Equivocation(proof=votes), COLDKEYS[0]), (Equivocation(proof=headers), COLDKEYS[1]))
    replica = Chain.create(folder / "replica.db", GENESIS)
    for block in chain.blocks(1, chain.head.height - 1):
        replica.append(block)
    return Target(chain=chain, replica=replica, next_block=chain.block(chain.head.height), samples=tuple(samples))


def stranger_call(rng: random.Random, target: Target) -> Call:
    """Any call with any content that its types allow, none of it true."""
    key = rng.choice((rng.randbytes(32), rng.choice(HOTKEYS).public, rng.choice(COLDKEYS).public))
    amount_rao = rng.choice((0, 1, 500, RAO_PER_TAO, CAP_RAO, rng.randrange(CAP_RAO)))
    small = tuple(sorted(rng.sample(range(8), rng.randrange(4))))
    epoch = rng.randrange(4)
    makers: tuple[Callable[[], Call], ...] = (
        lambda: Register(hotkey=key, name="x", max_price_rao=amount_rao),
        lambda: Publish(manifest=rng.randbytes(32)),
        lambda: Withdraw(),
        lambda: Checkpoint(parameters=rng.randbytes(32), manifest=rng.randbytes(32)),
        lambda: Contribute(
            cohort=rng.randbytes(32), epoch=epoch, parameters=rng.randbytes(32), payload=rng.randbytes(32)
        ),
        lambda: Serve(endpoint=rng.choice((None, "http://x"))),
        lambda: SetIdentity(hotkey=key, name="x", url="", description=""),
        lambda: SetTake(hotkey=key, take=rng.randrange(65536)),
        lambda: SwapHotkey(old=key, new=rng.randbytes(32)),
        lambda: Transfer(to=key, amount_rao=amount_rao),
        lambda: AddStake(hotkey=key, amount_rao=amount_rao),
        lambda: RemoveStake(hotkey=key, amount_rao=amount_rao),
        lambda: CommitWeights(epoch=epoch, commitment=rng.randbytes(32)),
        lambda: replace(make_ballot(target.chain.state, KEEPER, small, small[:2]), epoch=epoch),
        lambda: _false_proof(rng, target),
    )
    return rng.choice(makers)()


def _opening() -> list[tuple[Call, Keypair]]:
    peer, owner = HOTKEYS[2], COLDKEYS[2]
    return [
        (Register(hotkey=HOTKEYS[5].public, name="newcomer", max_price_rao=CAP_RAO), COLDKEYS[0]),
        (Publish(manifest=b"\1" * 32), peer),
        (Withdraw(), peer),
        (Checkpoint(parameters=b"\2" * 32, manifest=b"\3" * 32), peer),
        (Contribute(cohort=b"\4" * 32, epoch=1, parameters=b"\2" * 32, payload=b"\5" * 32), peer),
        (Serve(endpoint="http://127.0.0.1:8091"), peer),
        (SetIdentity(hotkey=peer.public, name="Ada", url="https://ada.example", description="words"), owner),
        (SetTake(hotkey=peer.public, take=1000), owner),
        (Transfer(to=COLDKEYS[3].public, amount_rao=RAO_PER_TAO), owner),
        (AddStake(hotkey=HOTKEYS[0].public, amount_rao=RAO_PER_TAO), owner),
        (RemoveStake(hotkey=HOTKEYS[0].public, amount_rao=RAO_PER_TAO // 2), owner),
        (SwapHotkey(old=HOTKEYS[3].public, new=HOTKEYS[6].public), COLDKEYS[3]),
    ]


def _false_proof(rng: random.Random, target: Target) -> Equivocation:
    """Two votes or headers that the accused never signed."""
    header = target.chain.block(rng.randrange(target.chain.head.height + 1)).header
    accused, liar, root = rng.choice(target.owners), rng.choice(STRANGERS), rng.randbytes(32)
    if rng.random() < 0.5:
        return Equivocation(proof=two_headers(header, liar, target.chain.genesis_hash, root))
    said = two_votes(header, liar, target.chain.genesis_hash, root)
    first, second = (replace(vote, hotkey=accused.public) for vote in (said.first, said.second))
    return Equivocation(proof=TwoVotes(first=first, second=second))
