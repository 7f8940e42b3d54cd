"""A small network for the ledger's tests: validators with unlike stakes, peers that publish, and epochs by hand."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ledger.blocks import Block, Kind
from ledger.extrinsics import (
    BASELINE_MANIFEST,
    BASELINE_UID,
    Call,
    CommitWeights,
    Member,
    Publish,
    RevealWeights,
    commitment_hash,
    encode_extrinsic,
    seed_message,
    sign_extrinsic,
)
from ledger.genesis import Genesis, GenesisNeuron
from ledger.keys import Keypair
from ledger.parameters import Parameters
from ledger.store.chain import Chain
from ledger.trust.finality import sign_vote
from ledger.units import RAO_PER_TAO

STAKES_TAO = (290, 260, 240, 210)


def keypair(name: str) -> Keypair:
    return Keypair.from_seed(hashlib.sha256(name.encode()).digest())


class Network:
    """Uids 0..validators-1 validate, the rest are peers. Every neuron has its own coldkey with 100 TAO."""

    def __init__(self, path: Path, validators: int = 4, peers: int = 7, parameters: Parameters | None = None) -> None:
        self.keeper = keypair("keeper")
        self.treasury = keypair("treasury")
        names = [f"validator {uid}" for uid in range(validators)] + [f"peer {uid}" for uid in range(peers)]
        self.coldkeys = [keypair(f"{name} coldkey") for name in names]
        self.hotkeys = [keypair(f"{name} hotkey") for name in names]
        self.validators, self.peers = range(validators), range(validators, validators + peers)
        self.genesis = Genesis(
            network="test",
            keeper=self.keeper.public,
            development=True,
            parameters=parameters or Parameters(),
            balances=(
                (self.treasury.public, 1000 * RAO_PER_TAO),
                *((coldkey.public, 100 * RAO_PER_TAO) for coldkey in self.coldkeys),
            ),
            stakes=tuple(
                (self.hotkeys[uid].public, self.coldkeys[uid].public, STAKES_TAO[uid % 4] * RAO_PER_TAO)
                for uid in self.validators
            ),
            neurons=tuple(
                GenesisNeuron(hotkey=hot.public, coldkey=cold.public, name=name, permit=uid < validators)
                for uid, (name, hot, cold) in enumerate(zip(names, self.hotkeys, self.coldkeys, strict=True))
            ),
        )
        self.chain = Chain.create(path, self.genesis)
        self.salts = 0
        self._pending: dict[bytes, int] = {}

    def sign(self, call: Call, signer: Keypair, *, nonce: int | None = None, valid_until: int = 10**6) -> bytes:
        if nonce is None:
            nonce = self._pending.get(signer.public, self.chain.state.nonce(signer.public)) + 1
            self._pending[signer.public] = nonce
        extrinsic = sign_extrinsic(
            call, signer, genesis_hash=self.chain.genesis_hash, nonce=nonce, valid_until=valid_until
        )
        return encode_extrinsic(extrinsic)

    def seal(self, kind: Kind, extrinsics: Sequence[bytes] = ()) -> Block:
        block = self.chain.build(kind, extrinsics, term=self.chain.term, keypair=self.keeper)
        self._pending.clear()
        return block

    def vote_all(self, height: int) -> bool:
        header = self.chain.block(height).header
        hotkeys = {key.public: key for key in self.hotkeys}
        voting = [hotkeys[member.hotkey] for member in self.chain.finality_set(height)]
        return self.chain.add_votes(height, [sign_vote(header, key, self.chain.genesis_hash) for key in voting])

    def manifest(self, uid: int, epoch: int) -> bytes:
        return hashlib.sha256(f"{uid} {epoch}".encode()).digest()

    def ballot(self, uid: int, uids: tuple[int, ...], values: tuple[int, ...]) -> RevealWeights:
        """A reveal of the current epoch whose collective is the roster with the votes as weights, and the baseline."""
        state = self.chain.state
        members = tuple(
            Member(uid=neuron.uid, manifest=neuron.manifest, weights=(1 + neuron.uid, 1 + uid))
            for neuron in state.roster()
        )
        baseline = Member(uid=BASELINE_UID, manifest=BASELINE_MANIFEST, weights=(5, 5))
        message = seed_message(state.genesis_hash, state.globals.epoch, state.globals.previous_close_hash)
        self.salts += 1
        return RevealWeights(
            epoch=state.globals.epoch,
            uids=uids,
            values=values,
            evidence=hashlib.sha256(f"evidence {uid}".encode()).digest(),
            salt=hashlib.sha256(f"salt {self.salts}".encode()).digest(),
            seed_signature=self.hotkeys[uid].sign(message),
            strata=("code", "tests"),
            members=(*members, baseline),
        )

    def commit_call(self, uid: int, reveal: RevealWeights) -> CommitWeights:
        commitment = commitment_hash(
            genesis_hash=self.chain.genesis_hash,
            epoch=reveal.epoch,
            hotkey=self.hotkeys[uid].public,
            uids=reveal.uids,
            values=reveal.values,
            evidence=reveal.evidence,
            strata=reveal.strata,
            members=reveal.members,
            rounds=reveal.rounds,
            salt=reveal.salt,
        )
        return CommitWeights(epoch=reveal.epoch, commitment=commitment)

    def run_epoch(self, opening: Sequence[bytes] = (), voting: Sequence[int] | None = None) -> Block:
        """One epoch: all peers publish, the validators `voting` commit and reveal, every block becomes final."""
        epoch = self.chain.head.epoch + 1
        publish = [self.sign(Publish(manifest=self.manifest(uid, epoch)), self.hotkeys[uid]) for uid in self.peers]
        self.vote_all(self.seal("open", [*opening, *publish]).height)
        voting = list(self.validators) if voting is None else voting
        values = tuple(100 * (1 + position) for position in range(len(self.peers)))
        reveals = {uid: self.ballot(uid, tuple(self.peers), values) for uid in voting}
        commits = [self.sign(self.commit_call(uid, reveals[uid]), self.hotkeys[uid]) for uid in voting]
        self.vote_all(self.seal("commit", commits).height)
        close = self.seal("close", [self.sign(reveals[uid], self.hotkeys[uid]) for uid in voting])
        self.vote_all(close.height)
        return close


@pytest.fixture
def make_network(tmp_path: Path) -> "object":
    """Networks in folders of their own, closed afterwards."""
    made: list[Network] = []

    def make(**settings: object) -> Network:
        network = Network(tmp_path / f"network {len(made)}" / "chain.sqlite", **settings)
        made.append(network)
        return network

    yield make
    for network in made:
        network.chain.close()


@pytest.fixture
def network(make_network: Callable[[], Network]) -> Network:
    """Four validators and seven peers at height 0."""
    return make_network()


@pytest.fixture(scope="session")
def network_class() -> type[Network]:
    """For fixtures that outlive a test."""
    return Network
