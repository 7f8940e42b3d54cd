"""A whole network without Ray: plain keeper, validators and host, one small real corpus, small trained models."""

import hashlib
import shutil
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch

from actors.ballot import Finding
from actors.host import Host, HostSettings, Part, ScoreRequest
from actors.keeper import Keeper, KeeperSettings, Sealed
from actors.miner import Job
from actors.validator import Validator, ValidatorSettings
from actors.wire import Answer, Query
from ledger.blocks import Kind
from ledger.extrinsics import Call, Publish, Register, Transfer, encode_extrinsic, sign_extrinsic
from ledger.genesis import Genesis, GenesisNeuron, Panel
from ledger.keys import Keypair
from ledger.parameters import Parameters
from ledger.store.chain import Chain
from ledger.trust.finality import Vote
from ledger.units import RAO_PER_TAO
from ledger.wallet import Wallet
from models.host.architectures import Architecture
from models.text.data import Data
from models.text.prepare import prepare_corpus
from models.train.settings import TrainSettings

torch.set_num_threads(1)

OPERATOR = "operator"
WINDOWS = 48
WINDOW_BYTES = 65
PACKAGES = ("asyncio", "ctypes", "email", "encodings", "importlib", "json", "multiprocessing", "unittest", "xml")
ARCHITECTURES = {
    "ada": Architecture(kind="llama", hidden=32, layers=1, heads=2),
    "grace": Architecture(kind="gpt2", hidden=32, layers=1, heads=2),
}
TRAINING = TrainSettings(steps=40, batch=8, page_bytes=64, learning_rate=1e-2)


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some packages of the standard library, half of them held out."""
    folder = tmp_path_factory.mktemp("corpus")
    library = Path(sysconfig.get_path("stdlib"))
    data = Data(paths=tuple(str(library / name) for name in PACKAGES), held_out_share=0.5)
    prepare_corpus(data, folder, window_bytes=WINDOW_BYTES, minimum_windows=WINDOWS)
    return folder


def make_job(peer: str, base: bytes | None, work: str, page_seed: bytes = bytes(32)) -> Job:
    return Job(
        peer=peer,
        work=work,
        base=base,
        architecture=ARCHITECTURES.get(peer, ARCHITECTURES["ada"]),
        seed=len(peer),
        strata=(),
        page_seed=page_seed,
        settings=TRAINING,
        noise=0.01,
    )


@pytest.fixture(scope="session")
def make_job_of() -> Callable[..., Job]:
    """`make_job`, for tests."""
    return make_job


class PlainNetwork:
    """Plain objects in one folder; the test is the driver. Built again on the same folder it goes on."""

    def __init__(
        self,
        folder: Path,
        corpus: Path,
        *,
        stakes_tao: Mapping[str, int],
        peers: Sequence[str] = ("ada", "grace", "echo"),
        parameters: Parameters | None = None,
        panel: Panel = "segments",
        windows: int = WINDOWS,
    ) -> None:
        self.folder, self.corpus, self.panel, self.windows = folder, corpus, panel, windows
        names = (OPERATOR, *stakes_tao, *peers)
        self.wallets = {name: self._wallet(name) for name in names}
        self.genesis = self._genesis(stakes_tao, peers, parameters or Parameters())
        if not (folder / "chain.db").exists():
            Chain.create(folder / "chain.db", self.genesis).close()
        self.keeper = self.make_keeper()
        self.validators = {name: self.make_validator(name) for name in stakes_tao}
        self.host = Host(
            HostSettings(
                genesis=self.genesis.hash,
                store=str(folder / "store"),
                corpus=str(corpus),
                wallets=str(folder / "wallets"),
                peers=str(folder / "peers"),
                device="cpu",
                threads=1,
                capacity_bytes=1 << 26,
                contributions=str(folder / "contributions"),
            )
        )

    def _wallet(self, name: str) -> Wallet:
        if (self.folder / "wallets" / name).exists():
            return Wallet.open(self.folder / "wallets", name)
        coldkey, hotkey = (hashlib.sha256(f"{name} {part}".encode()).digest() for part in ("coldkey", "hotkey"))
        return Wallet.create(self.folder / "wallets", name, coldkey_seed=coldkey, hotkey_seed=hotkey)[0]

    def _genesis(self, stakes_tao: Mapping[str, int], peers: Sequence[str], parameters: Parameters) -> Genesis:
        keys = {name: (wallet.hotkey_public(), wallet.coldkey_public) for name, wallet in self.wallets.items()}
        return Genesis(
            network="plain",
            development=True,
            keeper=keys[OPERATOR][0],
            parameters=parameters,
            balances=tuple((keys[name][1], 10 * RAO_PER_TAO) for name in peers),
            stakes=tuple((*keys[name], tao * RAO_PER_TAO) for name, tao in stakes_tao.items()),
            neurons=tuple(
                GenesisNeuron(hotkey=keys[name][0], coldkey=keys[name][1], name=name, permit=True)
                for name in stakes_tao
            ),
            panel=self.panel,
        )

    def make_keeper(self) -> Keeper:
        keeper = Keeper(
            KeeperSettings(
                chain=str(self.folder / "chain.db"),
                mempool=str(self.folder / "mempool.db"),
                wallets=str(self.folder / "wallets"),
                operator=OPERATOR,
            )
        )
        keeper.wake()
        return keeper

    def make_second_keeper(self) -> Keeper:
        """A keeper with the same key and queue, and an empty ledger of its own."""
        folder = self.folder / "second"
        Chain.create(folder / "chain.db", self.genesis).close()
        paths = {"chain": str(folder / "chain.db"), "mempool": str(folder / "mempool.db")}
        return Keeper(KeeperSettings(**paths, wallets=str(self.folder / "wallets"), operator=OPERATOR))

    def make_validator(self, name: str) -> Validator:
        return Validator(
            ValidatorSettings(
                name=name,
                genesis=self.genesis,
                folder=str(self.folder / "validators" / name),
                evidence=str(self.folder / "evidence"),
                corpus=str(self.corpus),
                wallets=str(self.folder / "wallets"),
                windows=self.windows,
                window_bytes=WINDOW_BYTES,
            )
        )

    def restart_validator(self, name: str) -> Validator:
        self.validators[name].close()
        self.validators[name] = self.make_validator(name)
        return self.validators[name]

    def lose_validator(self, name: str) -> None:
        self.validators[name].close()
        shutil.rmtree(self.folder / "validators" / name)
        self.validators[name] = self.make_validator(name)

    def evidence_path(self, epoch: int, name: str) -> Path:
        return self.folder / "evidence" / f"{epoch:06d}" / f"{self.wallets[name].hotkey_public().hex()}.evidence"

    @property
    def epoch(self) -> int:
        return self.keeper.position().epoch

    def uid(self, name: str) -> int:
        hotkey = self.wallets[name].hotkey_public()
        return next(neuron.uid for neuron in self.keeper.view().neurons if neuron.hotkey == hotkey)

    def version(self, name: str) -> bytes | None:
        return self.keeper.view().neurons[self.uid(name)].manifest

    def submit(self, call: Call, signer: Keypair) -> None:
        extrinsic = sign_extrinsic(
            call,
            signer,
            genesis_hash=self.genesis.hash,
            nonce=self.keeper.next_nonce(signer.public),
            valid_until=self.keeper.position().height + 8,
        )
        assert self.keeper.submit([encode_extrinsic(extrinsic)]) == ["ok"]

    def register(self, name: str) -> None:
        wallet = self.wallets[name]
        price_rao = self.genesis.parameters.registration_price_max_rao
        self.submit(Register(hotkey=wallet.hotkey_public(), name=name, max_price_rao=price_rao), wallet.coldkey())

    def publish(self, name: str, manifest: bytes) -> None:
        self.submit(Publish(manifest=manifest), self.wallets[name].hotkey())

    def submit_transfer(self) -> None:
        """Ada sends grace a little."""
        to = self.wallets["grace"].coldkey_public
        self.submit(Transfer(to=to, amount_rao=RAO_PER_TAO // 10), self.wallets["ada"].coldkey())

    def seal(self, kind: Kind) -> Sealed:
        """Write a block, have every validator execute what it lacks and sign, and see it final."""
        sealed = self.keeper.seal(kind, self.epoch + (kind == "open"))
        assert not sealed.refused
        for validator in self.validators.values():
            for vote in self.follow(validator):
                self.keeper.add_votes(vote.height, [vote])
        assert self.keeper.add_votes(sealed.height, []).final
        return sealed

    def follow(self, validator: Validator) -> list[Vote]:
        """Have a validator execute what it lacks, and sign."""
        first = min(validator.known().height, self.keeper.position().final_height) + 1
        return validator.follow(self.keeper.blocks(first), self.keeper.votes(first - 1), self.keeper.mandate())

    def ask(self) -> list[Answer]:
        """Have every version answer every validator's query."""
        queries = [validator.draw(self.epoch) for validator in self.validators.values()]
        rows = [row for row in self.keeper.view().rows if not row.remote]
        return [answer for row in rows for answer in self.answers(row.manifest, row.uid, queries)]

    def answers(self, version: bytes, uid: int, queries: Sequence[Query]) -> list[Answer]:
        hotkey = self.keeper.view().neurons[uid].hotkey
        wallet = next(name for name, wallet in self.wallets.items() if wallet.hotkey_public() == hotkey)
        parts = tuple(Part(index, 0, len(query.text_WT)) for index, query in enumerate(queries))
        return self.host.score(ScoreRequest(versions=(version,), wallets=(wallet,), parts=parts), *queries)[1]

    def vote(self, answers: Sequence[Answer], failures: Mapping[bytes, str] | None = None) -> dict[str, Finding]:
        """Value, commit, reveal, close."""
        found = {
            name: validator.value(self.epoch, failures or {}, answers) for name, validator in self.validators.items()
        }
        self.keeper.submit([validator.commit(self.epoch) for validator in self.validators.values()])
        self.seal("commit")
        self.keeper.submit([validator.reveal(self.epoch) for validator in self.validators.values()])
        self.seal("close")
        return found

    def run_epoch(self) -> dict[str, Finding]:
        """One epoch in which nothing goes wrong."""
        self.seal("open")
        return self.vote(self.ask())

    def close(self) -> None:
        for holder in (self.keeper, *self.validators.values()):
            holder.close()


@pytest.fixture(scope="session")
def plain_network() -> type[PlainNetwork]:
    """The class, for tests that found networks of their own."""
    return PlainNetwork


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> tuple[Path, dict[str, bytes]]:
    """A folder with a store and training states, and the versions in it by name; "ada 2" is ada after more
    training."""
    folder = tmp_path_factory.mktemp("versions")
    network = PlainNetwork(folder, corpus_folder, stakes_tao={"vera": 1})
    made = {}
    for name in ("ada", "grace"):
        begun = network.host.work(make_job(name, None, "begin")).manifest
        made[name] = network.host.work(make_job(name, begun, "train")).manifest
    for name in ("ada", "grace"):
        made[f"{name} 2"] = network.host.work(make_job(name, made[name], "train", bytes([1] * 32))).manifest
    made["echo"] = network.host.work(make_job("echo", made["ada"], "copy")).manifest
    network.close()
    return folder, made


@pytest.fixture(scope="session")
def played(
    tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path, versions: tuple[Path, dict[str, bytes]]
) -> Path:
    """The folder of a network with three validators after two epochs: ada and grace come, then ada trains on and echo,
    a noisy copy of ada's first version, comes."""
    folder = tmp_path_factory.mktemp("played")
    shutil.copytree(versions[0] / "store", folder / "store")
    network = PlainNetwork(folder, corpus_folder, stakes_tao=STAKES_TAO)
    for name in ("ada", "grace"):
        network.register(name)
        network.publish(name, versions[1][name])
    network.run_epoch()
    network.register("echo")
    network.publish("echo", versions[1]["echo"])
    network.publish("ada", versions[1]["ada 2"])
    network.run_epoch()
    network.close()
    return folder


STAKES_TAO = {"vera": 40, "victor": 35, "viola": 25}


@pytest.fixture
def network(tmp_path: Path, played: Path, corpus_folder: Path) -> Iterator[PlainNetwork]:
    """A copy of the played network, of the test's own."""
    shutil.copytree(played, tmp_path / "home")
    network = PlainNetwork(tmp_path / "home", corpus_folder, stakes_tao=STAKES_TAO)
    yield network
    network.close()


@pytest.fixture
def found_network(
    tmp_path: Path, corpus_folder: Path, versions: tuple[Path, dict[str, bytes]]
) -> Iterator[Callable[..., PlainNetwork]]:
    """Founds networks whose store has the versions already."""
    founded: list[PlainNetwork] = []

    def found(**settings: object) -> PlainNetwork:
        folder = tmp_path / f"network {len(founded)}"
        shutil.copytree(versions[0] / "store", folder / "store")
        founded.append(PlainNetwork(folder, corpus_folder, **settings))
        return founded[-1]

    yield found
    for network in founded:
        network.close()
