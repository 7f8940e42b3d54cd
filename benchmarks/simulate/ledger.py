"""The ledger of a simulated network: the real keeper on a real disk, one real replica, every key and every signature.

Invariants: blocks are sealed by `actors.keeper`, followed by `ledger.store.replica`, and final by the votes of all
validators; the other replicas, which execute the same blocks on machines of their own, are left out.
"""

import gc
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from actors.keeper import Keeper, KeeperSettings, Proposal, View
from benchmarks.simulate.peers import Peer, keypair_of, make_peers
from ledger.blocks import Block, Kind
from ledger.extrinsics import (
    BASELINE_MANIFEST,
    BASELINE_UID,
    Call,
    CommitWeights,
    Member,
    Publish,
    Register,
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
from ledger.store.replica import follow
from ledger.trust.finality import sign_vote
from ledger.units import RAO_PER_TAO
from ledger.wallet import Wallet

OPERATOR = "operator"
STRATA = ("code", "documentation", "tables", "tests")
VALID_BLOCKS = 12
MEMBERS = 64
"""Of the collective that each validator proposes: as many as the ledger takes."""
NEWCOMERS = 0.01
"""Of the peers, each epoch: as many register, and take the uids of those that earned least."""


class Stopwatch:
    """Seconds by step, in order: of the wall's clock and of this process, which does not count what others do or the
    wait for the disk.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}

    @contextmanager
    def taken(self, step: str) -> Iterator[None]:
        """What is done until the end belongs to this step. What is held by then lies in other processes elsewhere, so
        no collection within the step walks all of it.
        """
        gc.freeze()
        began, began_cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - began
        self.cpu_s[step] = self.cpu_s.get(step, 0.0) + time.process_time() - began_cpu
        gc.unfreeze()


class SimulatedLedger:
    """A keeper, a replica, and the keys of everybody.

    Args:
        peers: registered in the genesis, after the validators.
    """

    def __init__(self, folder: Path, peers: Sequence[Peer], validators: int) -> None:
        self.validators = [keypair_of(f"validator-{index}") for index in range(validators)]
        self.owner = keypair_of("owner")
        self._folder = folder
        self._nonces: dict[bytes, int] = {}
        operator, _ = Wallet.create(folder / "wallets", OPERATOR)
        self.genesis = self._genesis(operator.hotkey().public, peers)
        Chain.create(folder / "chain.db", self.genesis).close()
        self.replica = Chain.create(folder / "replica.db", self.genesis)
        self.keeper = Keeper(
            KeeperSettings(
                chain=str(folder / "chain.db"),
                mempool=str(folder / "mempool.db"),
                wallets=str(folder / "wallets"),
                operator=OPERATOR,
            )
        )
        self.keeper.wake()
        self.commits_s: list[float] = []
        self._time_commits()

    def _genesis(self, keeper: bytes, peers: Sequence[Peer]) -> Genesis:
        """Stakes fall from the first validator to the last, which has half as much; uids are all taken."""
        count = len(self.validators)
        neurons = [(f"validator-{index}", keypair, True) for index, keypair in enumerate(self.validators)]
        neurons += [(peer.name, peer.keypair, False) for peer in peers]
        price_rao = RAO_PER_TAO // 1000
        return Genesis(
            network="scale",
            keeper=keeper,
            development=True,
            parameters=Parameters(
                max_uids=len(neurons),
                max_validators=count,
                permit_stake_rao=1000 * RAO_PER_TAO,
                immunity=360,
                registration_price_rao=price_rao,
                registration_price_max_rao=price_rao,
            ),
            balances=((self.owner.public, 10**6 * RAO_PER_TAO),),
            stakes=tuple(
                (keypair.public, self.owner.public, (10_000 * (2 * count - index) // count) * RAO_PER_TAO)
                for index, keypair in enumerate(self.validators)
            ),
            neurons=tuple(
                GenesisNeuron(hotkey=keypair.public, coldkey=self.owner.public, name=name, permit=permit)
                for name, keypair, permit in neurons
            ),
        )

    def sign(self, keypair: Keypair, call: Call) -> bytes:
        """An encoded extrinsic with the key's next nonce."""
        nonce = self._nonces.get(keypair.public, 0) + 1
        self._nonces[keypair.public] = nonce
        height = self.replica.head.height
        signed = sign_extrinsic(
            call, keypair, genesis_hash=self.genesis.hash, nonce=nonce, valid_until=height + VALID_BLOCKS
        )
        return encode_extrinsic(signed)

    def newcomers(self, peers: int, random: Random, first: int) -> tuple[list[Peer], list[bytes]]:
        """New peers, and their registrations."""
        made = make_peers(max(1, round(peers * NEWCOMERS)), random, first)
        calls = [Register(hotkey=peer.keypair.public, name=peer.name, max_price_rao=RAO_PER_TAO) for peer in made]
        return made, [self.sign(self.owner, call) for call in calls]

    def publish(self, peers: Sequence[Peer], epoch: int) -> list[bytes]:
        """Everybody's version of this epoch."""
        return [self.sign(peer.keypair, Publish(manifest=peer.version(epoch))) for peer in peers]

    def commit(self, ballots: Mapping[int, RevealWeights]) -> list[bytes]:
        """Commitments to ballots, by the validator's index."""
        extrinsics = []
        for index, ballot in ballots.items():
            keypair = self.validators[index]
            shown = {field: getattr(ballot, field) for field in ballot.__struct_fields__ if field != "seed_signature"}
            hashed = commitment_hash(genesis_hash=self.genesis.hash, hotkey=keypair.public, **shown)
            extrinsics.append(self.sign(keypair, CommitWeights(epoch=ballot.epoch, commitment=hashed)))
        return extrinsics

    def ballot(
        self, index: int, epoch: int, votes: Mapping[int, int], evidence: bytes, members: Sequence[tuple[int, bytes]]
    ) -> RevealWeights:
        """A validator's vote, with the collective that it proposes, the baseline among its members."""
        keypair = self.validators[index]
        proposed = sorted([*members[:MEMBERS], (BASELINE_UID, BASELINE_MANIFEST)])
        previous = self.replica.state.globals.previous_close_hash
        return RevealWeights(
            epoch=epoch,
            uids=tuple(votes),
            values=tuple(votes.values()),
            evidence=evidence,
            salt=keypair.public,
            seed_signature=keypair.sign(seed_message(self.genesis.hash, epoch, previous)),
            strata=STRATA,
            members=tuple(
                Member(uid=uid, manifest=manifest, weights=tuple(1 + (uid + place) % 1000 for place in range(4)))
                for uid, manifest in proposed
            ),
        )

    def submit(self, extrinsics: list[bytes]) -> None:
        """Queue them at the keeper; AssertionError if it refuses one."""
        refused = [outcome for outcome in self.keeper.submit(extrinsics) if outcome != "ok"]
        assert not refused, refused[0]

    def seal(self, kind: Kind, epoch: int, watch: Stopwatch) -> Block:
        """One block, from the queue to final, timed step by step."""
        with watch.taken(f"{kind}: seal"):
            sealed = self.keeper.seal(kind, epoch)
        # Who made room for a newcomer had published already.
        assert all("publish" in sentence.lower() for sentence in sealed.refused), sealed.refused[0]
        with watch.taken(f"{kind}: carry"):
            proposal: Proposal = pickle.loads(pickle.dumps(self.keeper.proposal(), protocol=5))
            [block] = proposal.blocks
        with watch.taken(f"{kind}: replica"):
            signed = follow(self.replica, [block], proposal.votes, None, self.validators[0])
        with watch.taken("other validators' signatures"):
            signed += [sign_vote(block.header, keypair, self.genesis.hash) for keypair in self.validators[1:]]
        with watch.taken(f"{kind}: votes"):
            standing = self.keeper.add_votes(sealed.height, signed)
        assert standing.final, standing.missing
        return block

    def view(self) -> View:
        """As the driver asks for it."""
        return self.keeper.view()

    def size_bytes(self) -> int:
        """The keeper's database, its log included."""
        return sum(path.stat().st_size for path in self._folder.glob("chain.db*"))

    def close(self) -> None:
        """Close the files."""
        self.keeper.close()
        self.replica.close()

    def _time_commits(self) -> None:
        """Have the keeper's database say how long each durable commit takes."""
        database: Any = self.keeper._chain.database
        query: Callable[..., list[Any]] = database.query

        def timed(statement: str, *values: Any, **named: Any) -> list[Any]:
            if statement != "COMMIT":
                return query(statement, *values, **named)
            began = time.perf_counter()
            rows = query(statement, *values, **named)
            self.commits_s.append(time.perf_counter() - began)
            return rows

        database.query = timed
