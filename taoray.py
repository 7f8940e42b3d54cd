"""taoray: a market for machine intelligence on a Ray cluster.

The public API: what the command line uses, and the only names that promise to stay.

    import taoray
    run = taoray.launch(epochs=5)
    print(taoray.metagraph(run.home))
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from actors.errors import EndpointRefused
from cluster.archive import check_proof, export_ledger, import_ledger, migrate_ledger, prove, prune_ledger
from cluster.audit import Audited
from cluster.bench.settings import read_bench
from cluster.checking import audit, disclose, epochs, verify, verify_light
from cluster.config import Network, load_network
from cluster.disclosure import Disclosure, check_disclosure, read_disclosure, write_disclosure
from cluster.errors import ClusterError, ConfigurationError, HomeInUse, NoAnswer, SubmissionRefused
from cluster.funds import balances, faucet, send, stake, transfer, unstake
from cluster.home import Home, find_home, find_work
from cluster.job.attempt import Attempt
from cluster.job.inside import check_sender
from cluster.job.jobs import Jobs, Launched
from cluster.lease import Holder
from cluster.observe.doctor.check import Check
from cluster.observe.log import LogLine, read_log
from cluster.place.token import guard_ray
from cluster.report import EpochRecord, MemberRecord, NeuronRecord, RoundRecord, RunReport
from cluster.show import Progress, Quiet, Show
from cluster.standing import CohortStanding, Standing, blocks, metagraph, status
from cluster.stopping import stop_driver
from cluster.study.result import Evaluation, ModelValue
from cluster.study.settings import read_settings
from cluster.submission import Password, Submission, Withdrawal
from cluster.version import VERSION
from ledger.errors import DamagedLedger, LedgerError, Refusal
from ledger.keys import sign_message, verify_message
from ledger.store.light import LightlyVerified
from ledger.store.replay import Verified
from ledger.wallet import Wallet
from models.errors import ModelRefused

if TYPE_CHECKING:
    from models.bench.report import Report

__version__ = VERSION
__all__ = [
    "Attempt",
    "Audited",
    "Check",
    "ClusterError",
    "CohortStanding",
    "ConfigurationError",
    "DamagedLedger",
    "Disclosure",
    "EndpointRefused",
    "EpochRecord",
    "Evaluation",
    "Holder",
    "HomeInUse",
    "Jobs",
    "Launched",
    "LedgerError",
    "LightlyVerified",
    "LogLine",
    "MemberRecord",
    "ModelRefused",
    "ModelValue",
    "Network",
    "NeuronRecord",
    "NoAnswer",
    "Refusal",
    "RoundRecord",
    "RunReport",
    "Standing",
    "Submission",
    "SubmissionRefused",
    "Verified",
    "Wallet",
    "Withdrawal",
    "audit",
    "balances",
    "bench",
    "blocks",
    "check_disclosure",
    "check_proof",
    "disclose",
    "doctor",
    "epochs",
    "evaluate",
    "export_ledger",
    "faucet",
    "find_home",
    "import_ledger",
    "launch",
    "load_network",
    "log",
    "metagraph",
    "migrate_ledger",
    "prove",
    "prune_ledger",
    "read_disclosure",
    "send",
    "serving",
    "sign_message",
    "stake",
    "status",
    "stop",
    "submit",
    "transfer",
    "unstake",
    "verify",
    "verify_light",
    "verify_message",
    "withdraw",
    "write_disclosure",
]


def launch(
    network: Network | Path | str | None = None,
    *,
    epochs: int = 1,
    home: Path | str | None = None,
    overrides: Sequence[str] = (),
    address: str | None = None,
    show: Show | None = None,
) -> RunReport:
    """Run a network for some further epochs: a new one from its genesis, a known one from its last block.

    Args:
        network: a configuration, the path of a TOML file, or None for the default network.
        epochs: how many to close, 1 or more.
        home: the network's folder; None: `TAORAY_HOME`, else `./taoray-home/<network>`.
        overrides: `section.field=value`, for a configuration that is read from a file.
        address: of a Ray cluster; None: `RAY_ADDRESS`, else Ray on this machine for as long as the run.
        show: hears how it goes.

    Raises:
        ConfigurationError: a field is wrong. TextError: the text is. Both before any actor starts.
        HomeInUse: another driver runs this home.
        ClusterError: an actor did not start, or too few validators answered; the ledger keeps what it has.
    """
    check_sender()
    guard_ray(address)
    from cluster.driver import run_network  # brings Ray and torch, which reading a ledger does not need

    if epochs < 1:
        raise ConfigurationError("epochs", f"is {epochs}, expected 1 or more")
    resolved = network if isinstance(network, Network) else load_network(Path(network) if network else None, overrides)
    place = find_home(Path(home) if home else None, resolved.network.name)
    outcome = run_network(resolved, place, epochs=epochs, address=address, show=show)
    return outcome.report(resolved.network.name, place)


def submit(
    model: Path | str,
    *,
    name: str | None = None,
    wallet: str | None = None,
    hotkey: str | None = None,
    stake_rao: int = 0,
    max_price_rao: int | None = None,
    train: bool = False,
    home: Path | str | None = None,
    network: str | None = None,
    password: Password = None,
    wait_s: float | None = None,
    show: Progress | None = None,
) -> Submission:
    """Register a model as a miner; again under its name: publish a new version of it.

    Args:
        model: the folder of a model or an adapter, or the URL of a remote peer.
        name: the neuron's; None: the folder's, or the URL's host and port.
        wallet: pays; None: one of that name, made where the home's network is in development, where the faucet gives
            what it lacks.
        hotkey: the wallet's hotkey that is registered; None: "default" where that is free, else a new one.
        stake_rao: put on the hotkey from the wallet.
        max_price_rao: of the registration; None: twice the price of the moment.
        train: the network trains it each epoch, as its own peers. Only in its home, for whole models over bytes.
        home: the network's folder; None: `TAORAY_HOME`, else the default network's. With `network` its wallets sign.
        network: the URL of a network that is elsewhere.
        password: of the wallet's coldkey where it has one, or how to ask for it.
        wait_s: for the blocks that take it; None: ten minutes where the network runs, else not.
        show: hears how it goes.

    Raises:
        ModelRefused, EndpointRefused: the model or endpoint is none that the network takes; nothing was registered.
        SubmissionRefused: it cannot be made as asked for; nothing was registered.
        Refusal: the ledger refused it, with its code.
        ClusterError: there is no network in the home, or nobody answers at the URL.
    """
    from cluster.submit import submit_model  # brings what checks models, which reading a ledger does not need

    return submit_model(
        model,
        _place(home),
        name=name,
        wallet=wallet,
        hotkey=hotkey,
        stake_rao=stake_rao,
        max_price_rao=max_price_rao,
        train=train,
        network=network,
        password=password,
        wait_s=wait_s,
        show=show,
    )


def withdraw(
    name: str,
    *,
    home: Path | str | None = None,
    network: str | None = None,
    wait_s: float | None = None,
    show: Progress | None = None,
) -> Withdrawal:
    """Take a peer's version, or its endpoint, out of the network: from the next epoch on it is asked and paid no more.

    Args, raises as `submit`. The hotkey signs, which needs no password.
    """
    from cluster.withdraw import withdraw_peer

    return withdraw_peer(name, _place(home), network=network, wait_s=wait_s, show=show)


def stop(home: Path | str) -> Holder | None:
    """End the driver of a network on this machine as Ctrl-C does; who it was, None: nobody drove it.

    Raises ClusterError: it is on another machine, or does not end. What runs as a job is stopped by `Jobs.stop`.
    """
    return stop_driver(Home(Path(home).absolute()))


def log(home: Path | str, *, last: int | None = None, follow: bool = False) -> Iterator[LogLine]:
    """What drivers of a network told, oldest first: of what is there the `last` lines, then, with `follow`, for ever
    what comes.
    """
    return read_log(Home(Path(home).absolute()), last, follow)


@contextmanager
def serving(home: Path | str, *, host: str | None = None, port: int | None = None) -> Iterator[str]:
    """Serve a network that nobody drives over HTTP for as long as the context lasts; gives the server's URL.

    Args:
        host, port: None: as `[serve]` says, on port 8642 where it names none. Port 0: any that is free.

    Raises ConfigurationError where the address cannot be bound, ClusterError where it is served already.
    """
    from cluster.serve.alone import serving_alone  # brings a web server, which reading a ledger does not need

    with serving_alone(_place(home), host=host, port=port) as url:
        yield url


def evaluate(
    models: Sequence[Path | str],
    *,
    data: Sequence[Path | str] = (),
    overrides: Sequence[str] = (),
    home: Path | str | None = None,
    address: str | None = None,
    matrix: Path | str | None = None,
    show: Progress | None = None,
) -> Evaluation:
    """Value any models as one collective on held-out text, without a network.

    Args:
        models: folders in the layout of Hugging Face, or of LoRA adapters, in the order of publication.
        data: files, folders and Parquet files of text; none: the standard library of the running interpreter.
        overrides: `field=value`, for the settings of the evaluation.
        home: text and scores are kept in its folder `evaluate`; None: `TAORAY_HOME`, else `./taoray-home`.
        address: of a Ray cluster; None: `RAY_ADDRESS`, else Ray on this machine while models are scored.
        matrix: an Arrow file into which the log-probabilities of every event are written.
        show: hears how it goes.

    Raises:
        ConfigurationError: a setting is wrong. TextError: the text is. Both before any model is loaded.
        HomeInUse: another evaluation works in this home.
        ClusterError: the scorers did not start, or no model can be valued. One that cannot be is a row with its error.
    """
    guard_ray(address)
    from cluster.study.evaluate import run_evaluation  # brings Ray and torch, which reading a ledger does not need

    return run_evaluation(
        [Path(model) for model in models],
        read_settings(overrides, data),
        find_work(Path(home) if home else None),
        show=show or Quiet(),
        address=address,
        matrix=Path(matrix) if matrix else None,
    )


def bench(
    work: str,
    *,
    model: str | None = None,
    overrides: Sequence[str] = (),
    trace: Path | str | None = None,
    show: Progress | None = None,
) -> "Report":
    """Measure how fast this machine does a network's work, against what its device can do at most.

    Args:
        work: score, train, value, epoch or ledger.
        model: a preset, or a model's folder; None: what suits the device.
        overrides: `field=value`; a list of values is swept.
        trace: a file for a Chrome trace of one repetition.
        show: hears what bounds the work before it is measured.

    Raises:
        ConfigurationError: a setting is wrong. ModelsError, ClusterError: nothing could be measured, and why.
    """
    guard_ray(None)
    settings = read_bench(work, overrides)
    from cluster.bench.run import run_bench  # brings Ray and torch, which reading a ledger does not need

    return run_bench(work, model, settings, show=show or Quiet(), trace=Path(trace) if trace else None)


def doctor(
    network: Network | Path | str | None = None, *, home: Path | str | None = None, address: str | None = None
) -> Iterator[Check]:
    """Check whether a network can run here: versions, GPUs, ports, storage, clock, token, home, and a cluster's nodes.

    Args:
        network: what is to run; None: what ran last in the home, else the default network.
        address: of a Ray cluster to join, whose nodes are asked too.

    Raises ConfigurationError where the network's file is wrong; what a check meets is what it says.
    """
    guard_ray(address)
    from cluster.observe.doctor.examine import examine

    told = network if isinstance(network, Network | None) else load_network(Path(network))
    yield from examine(told, Path(home) if home else None, address)


def _place(home: Path | str | None) -> Home:
    return find_home(Path(home) if home else None, load_network().network.name)
