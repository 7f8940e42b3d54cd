"""A network's configuration: TOML in, frozen structs out, every mistake named by its field.

Invariants:
* nothing unknown is accepted, every bound is checked here, and nothing is checked again later;
* what the ledger fixes at genesis stands in `[ledger]`; everything else may change from run to run.
"""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from cluster.errors import ConfigurationError
from cluster.overrides import named_error, override_field
from ledger.genesis import Panel
from ledger.parameters import Parameters
from models.errors import ArchitectureError
from models.host.architectures import Architecture, check_architecture
from models.intake.quotas import Quotas
from models.text.data import Data
from models.train.cohort import OuterSettings
from models.train.settings import TrainSettings

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]

LEAST_NEXT_BYTE_WINDOWS = 512
"""In the next_byte panel a window is one event: two folds, each of as many as weights are fitted on by stratum."""

ONLY_COHORTS_DO = ("flip", "noise")
COHORTS_DO_NOT = ("copy",)

DEFAULT_NETWORK = "local.toml"
OPERATOR = "operator"
"""The wallet of whoever runs the network: its hotkey is the keeper's, its coldkey the treasury's."""


class Identity(Struct, frozen=True, forbid_unknown_fields=True):
    """`[network]`: its name, and the seed from which models and, in development, keys are made."""

    name: Name
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    development: bool = False
    treasury_tao: Annotated[int, Meta(ge=0, le=10_000_000)] = 1000


class Questions(Struct, frozen=True, forbid_unknown_fields=True):
    """`[query]`: what peers are asked, how much text each validator draws an epoch, and how it is sent.

    Attributes:
        panel: segments (models score whole windows, which hosts see) or next_byte (peers see windows without their
            last byte, and answer the distribution of that byte). Fixed at genesis.
        windows: how many each validator draws.
        window_bytes: their length; in segments the first byte is context, in next_byte the last is asked for.
        request: windows in one call to a host, of all validators and all versions of a stack together; 0: what suits
            the versions' size and the hosts' device.
    """

    panel: Panel = "segments"
    windows: Annotated[int, Meta(ge=8, le=100_000)] = 144
    window_bytes: Annotated[int, Meta(ge=16, le=65_536)] = 129
    request: Annotated[int, Meta(ge=0, le=65_536)] = 0


class Placement(Struct, frozen=True, forbid_unknown_fields=True):
    """`[placement]`: the hosts, and what each may use.

    Attributes:
        gpus_per_host: as Ray counts them; hosts may share one.
        gpus_per_validator: on which it values; 0: on its CPU.
        capacity_mib: weights that a host holds at a time; what does not fit comes and goes.
        memory_mib: memory that each host reserves on its node, as Ray counts it; 0: none.
        stack: versions of one shape that are asked as one batch, at most; 1: each alone.
    """

    hosts: Annotated[int, Meta(ge=1, le=1024)] = 2
    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    device: Annotated[str, Meta(pattern=r"^(auto|cpu|cuda)$")] = "auto"
    gpus_per_host: Annotated[float, Meta(ge=0, le=8)] = 0.0
    gpus_per_validator: Annotated[float, Meta(ge=0, le=1)] = 0.0
    capacity_mib: Positive = 1024
    memory_mib: Annotated[int, Meta(ge=0, le=2**24)] = 0
    stack: Annotated[int, Meta(ge=1, le=1024)] = 8


class Deadlines(Struct, frozen=True, forbid_unknown_fields=True):
    """`[deadlines]`: how long each kind of answer is waited for."""

    start_s: Seconds = 120.0
    task_s: Seconds = 60.0
    query_s: Seconds = 300.0
    validator_s: Seconds = 120.0
    train_s: Seconds = 600.0
    finality_s: Seconds = 120.0


class Storage(Struct, frozen=True, forbid_unknown_fields=True):
    """`[storage]`: what is kept, and where.

    Attributes:
        ledger: a folder on each node's own disk for the databases of the ledger, `~` and `$VARIABLES` as that node has
            them; the home then has a replica. Empty: in the home.
        keep_epochs: closed epochs whose extrinsics, evidence and ballots stay, at least; older ones are pruned. 0: all.
        depot: where model versions are kept beside the home's own store, as a URI that pyarrow opens
            (`s3://bucket/prefix`, `gs://…`, `file:///…`); empty: nowhere else.
        keep_unused_s: how long a version that nothing on the ledger names stays in the store.
        exports: where each closed epoch's metagraph is written to, as a URI that pyarrow opens; empty: nowhere.
        export_epochs: every so many epochs the whole ledger is exported there too. 0: never.
    """

    ledger: str = ""
    keep_epochs: Annotated[int, Meta(ge=0, le=2**31)] = 0
    depot: str = ""
    keep_unused_s: Annotated[float, Meta(ge=0)] = 3600.0
    exports: str = ""
    export_epochs: Annotated[int, Meta(ge=0, le=2**31)] = 0


class Serve(Struct, frozen=True, forbid_unknown_fields=True):
    """`[serve]`: the network's HTTP server.

    Attributes:
        port: where it listens while the network runs; 0: it does not.
        host: the address that it binds to; beyond loopback put a proxy with TLS before it.
        uploads: submissions that may be under way at once.
        upload_mib_per_s: the most that one key may send a second.
        requests_per_minute: the most that one address may ask.
    """

    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    host: str = "127.0.0.1"
    uploads: Annotated[int, Meta(ge=1, le=1024)] = 8
    upload_mib_per_s: Annotated[float, Meta(gt=0)] = 64.0
    requests_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 600


class Remote(Struct, frozen=True, forbid_unknown_fields=True):
    """`[remote]`: peers that answer over HTTP.

    Attributes:
        deadline_s: for one peer's answers to all validators of an epoch.
        at_once: peers that are asked at the same time.
        allow_private: whether endpoints may be on loopback and private networks; link-local ones never.
    """

    deadline_s: Seconds = 60.0
    at_once: Annotated[int, Meta(ge=1, le=1024)] = 32
    allow_private: bool = False


class ValidatorEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[validators]]`: a validator of the genesis and its stake."""

    name: Name
    stake_tao: Annotated[int, Meta(ge=1, le=10_000_000)]


class PeerEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[peers]]`: a peer that this network hosts, alone or as a member of a cohort.

    Attributes:
        architecture: of the model that it begins with, where it trains alone.
        cohort: whose member it is, where it does not.
        strata: the strata that it learns from, as far as the text has them; empty for all.
        behaviour: train (each epoch), still (never), or copy (publish another peer's last version with noise). A
            member of a cohort that is still sends an update in which there is nothing; it may also flip the sign of
            its update, or send noise.
        copies: the peer that is copied.
        noise: standard deviation of the copy's noise, in standard deviations of each tensor.
        balance_tao: what its coldkey has at genesis, from which it pays its registration.
    """

    name: Name
    architecture: Architecture | None = None
    cohort: str = ""
    strata: tuple[str, ...] = ()
    behaviour: Literal["train", "still", "copy", "flip", "noise"] = "train"
    copies: str = ""
    noise: Annotated[float, Meta(ge=0, le=1)] = 0.0
    balance_tao: Annotated[int, Meta(ge=0, le=10_000_000)] = 10


class CohortEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[cohorts]]`: peers that train one model together, and how a validator values what each of them adds.

    Attributes:
        architecture: of the model that they share.
        outer: how their updates become one step; part of the cohort's name on the ledger.
        windows: of each validator's windows of an epoch, those on which updates are valued.
        nodes: of the quadrature over the path of a step.
        check_pages: of each member's pages, those on which its update is compared with the others', by fours; with few
            traces of training are not clear, and nobody is refused. 0: not at all.
    """

    name: Name
    architecture: Architecture
    outer: OuterSettings = OuterSettings()
    windows: Annotated[int, Meta(ge=4, le=100_000)] = 48
    nodes: Annotated[int, Meta(ge=1, le=16)] = 5
    check_pages: Annotated[int, Meta(ge=0, le=4096)] = 32


class Network(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole configuration file."""

    network: Identity
    validators: Annotated[tuple[ValidatorEntry, ...], Meta(min_length=1)]
    peers: tuple[PeerEntry, ...] = ()
    cohorts: tuple[CohortEntry, ...] = ()
    data: Data = Data()
    query: Questions = Questions()
    training: TrainSettings = TrainSettings()
    placement: Placement = Placement()
    deadlines: Deadlines = Deadlines()
    storage: Storage = Storage()
    submissions: Quotas = Quotas()
    serve: Serve = Serve()
    remote: Remote = Remote()
    ledger: Parameters = Parameters()


def load_network(path: Path | None = None, overrides: Sequence[str] = ()) -> Network:
    """Read a network's TOML file (None: the default network), with `section.field=value` overrides on top.

    Raises:
        ConfigurationError: the file, or the first field that is wrong.
    """
    try:
        if path is None:
            text = (resources.files("ray_configs") / DEFAULT_NETWORK).read_text(encoding="utf-8")
        else:
            text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(str(path or DEFAULT_NETWORK), f"cannot be read as TOML: {error}") from error
    for override in overrides:
        override_field(document, override)
    try:
        network = msgspec.convert(document, Network)
    except msgspec.ValidationError as error:
        raise named_error(str(error)) from error
    _check(network)
    return network


def _check(network: Network) -> None:
    """What types cannot say: names, references, architectures, ratios."""
    entries = [("validators", e.name) for e in network.validators] + [("peers", e.name) for e in network.peers]
    seen = {OPERATOR}
    for section, name in [*entries, *(("cohorts", cohort.name) for cohort in network.cohorts)]:
        if name in seen:
            raise ConfigurationError(f"{section}.name", f"{name!r} stands twice or is taken by the network itself")
        seen.add(name)
    if len(entries) > network.ledger.max_uids:
        raise ConfigurationError("ledger.max_uids", f"is {network.ledger.max_uids}, below the {len(entries)} neurons")
    _check_panel(network)
    _check_processes(network)
    _check_cohorts(network)
    cohorts = {cohort.name for cohort in network.cohorts}
    peers = {peer.name: peer for peer in network.peers}
    for index, peer in enumerate(network.peers):
        if (peer.architecture is None) != bool(peer.cohort):
            raise ConfigurationError(f"peers[{index}].architecture", "is needed, or a cohort instead of it")
        if peer.cohort and peer.cohort not in cohorts:
            raise ConfigurationError(f"peers[{index}].cohort", f"{peer.cohort!r} is no cohort of this network")
        if peer.architecture is not None:
            _check_architecture(network, f"peers[{index}]", peer.name, peer.architecture)
        if peer.behaviour in (COHORTS_DO_NOT if peer.cohort else ONLY_COHORTS_DO):
            known = "a member of a cohort" if peer.cohort else "a peer that trains alone"
            raise ConfigurationError(f"peers[{index}].behaviour", f"{peer.behaviour!r} is nothing that {known} does")
        if (peer.behaviour == "copy") != bool(peer.copies):
            raise ConfigurationError(f"peers[{index}].copies", 'goes with behaviour = "copy", and with nothing else')
        if peer.copies and (peer.copies not in peers or peer.copies == peer.name):
            raise ConfigurationError(f"peers[{index}].copies", f"{peer.copies!r} is no other peer of this network")


def _check_processes(network: Network) -> None:
    processes, gpus = network.training.processes, network.placement.gpus_per_host
    if gpus > 1 and gpus % 1:
        raise ConfigurationError("placement.gpus_per_host", f"is {gpus}; expected a whole number above 1, or a share")
    if network.training.batch % processes or (network.placement.device == "cuda" and gpus < processes > 1):
        raise ConfigurationError("training.processes", f"is {processes}: it divides batch, and each has a GPU on cuda")


def _check_cohorts(network: Network) -> None:
    for index, cohort in enumerate(network.cohorts):
        _check_architecture(network, f"cohorts[{index}]", cohort.name, cohort.architecture)
        if cohort.outer.momentum:
            sentence = "expected 0 in a network: members that come later could not derive it"
            raise ConfigurationError(f"cohorts[{index}].outer.momentum", sentence)
        if cohort.windows > network.query.windows:
            sentence = f"is {cohort.windows}, above the {network.query.windows} of query.windows"
            raise ConfigurationError(f"cohorts[{index}].windows", sentence)
        if cohort.check_pages > network.training.pages:
            sentence = f"is {cohort.check_pages}, above the {network.training.pages} pages of a round"
            raise ConfigurationError(f"cohorts[{index}].check_pages", sentence)


def _check_architecture(network: Network, place: str, name: str, architecture: Architecture) -> None:
    try:
        check_architecture(architecture)
    except ArchitectureError as error:
        raise ConfigurationError(f"{place}.architecture.{error.field}", error.sentence) from error
    for field, length in (
        ("query.window_bytes", network.query.window_bytes),
        ("training.page_bytes", network.training.page_bytes),
    ):
        if length > architecture.context:
            raise ConfigurationError(field, f"is {length}, above the context of {name} ({architecture.context} bytes)")


def _check_panel(network: Network) -> None:
    query = network.query
    if query.panel == "next_byte" and query.windows < LEAST_NEXT_BYTE_WINDOWS:
        raise ConfigurationError(
            "query.windows",
            f"is {query.windows}; a window is one event in the next_byte panel, which needs {LEAST_NEXT_BYTE_WINDOWS}",
        )
