"""Many peers of one architecture: answered for as stacks, against one after another, by the host that networks run.

What bounds it. On a CPU core a model of this size is bound by its matrix products, which are as many either way: what
a stack saves is the work around them (calls, layers' dispatch, masks and positions, made once for all models), and what
it costs is that the weights of eight models do not stay in the core's cache as one's do. So the aim on a CPU is not to
be slower, and a host reads one batch only where a request has little text for each model, else model by model within
the stack; `in_one_batch` says which. A request is of 96 windows in all, so with more models each has fewer, and stacks
of 32 were 0.7 times as quick as one after another: a larger stack wants a larger request. On a GPU such models are
bound by the launch of their kernels, of which a stack of G needs one G-th. Both sides answer the same queries through
`Host.score`, signatures included, with all weights in memory.

`--network` runs a whole network of these peers on Ray instead (keeper, validators, hosts), and samples the memory of
all its processes: resident sets are summed, so what processes share counts once for each.

Run: `python benchmarks/stacked.py [--pairs 9] [--peers 64] [--network] [--device cpu]`.
"""

import argparse
import os
import resource
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "token")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import msgspec  # noqa: E402
import numpy as np  # noqa: E402
from record import summarize, time_pairs, write_record  # noqa: E402

from actors.host import Host, HostSettings, ScoreRequest  # noqa: E402
from actors.wire import Answer, Query, sign_query  # noqa: E402
from cluster.config import PeerEntry, load_network  # noqa: E402
from cluster.driver import run_network  # noqa: E402
from cluster.home import Home  # noqa: E402
from cluster.place.packing import Packing  # noqa: E402
from cluster.questions import make_requests  # noqa: E402
from ledger.keys import Keypair  # noqa: E402
from ledger.wallet import Wallet  # noqa: E402
from models.host.architectures import Architecture, build_model, parameter_count  # noqa: E402
from models.host.folders import save_model  # noqa: E402
from models.host.stacked import pays  # noqa: E402
from models.store import Store  # noqa: E402
from models.text.align import Scores  # noqa: E402
from models.text.data import Data  # noqa: E402
from models.text.prepare import prepare_corpus  # noqa: E402

ARCHITECTURE = Architecture("llama", hidden=104, layers=2, heads=4)
GENESIS = bytes(32)
PANELS = {"segments": (24, 129), "next_byte": (24, 64)}
"""Windows and their bytes: few, so that nine pairs of 64 peers take minutes on one core."""
REQUEST = 96
AIM_RATIO, AIM_BYTES = 1.0, 6 << 30
SAMPLE_S = 0.5


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--peers", type=int, default=64)
    parser.add_argument("--stack", type=int, nargs="+", default=[8])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--network", action="store_true")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if told.network:
            write_record("stacked_network", configuration(told), measure_network(Path(folder), told))
        else:
            write_record("stacked", configuration(told), measure_host(Path(folder), told))


def configuration(told: argparse.Namespace) -> dict[str, Any]:
    """What was measured, and what is aimed at."""
    return {
        **vars(told),
        "parameters": parameter_count(ARCHITECTURE),
        "panels": PANELS,
        "request": REQUEST,
        "aim": {"ratio": AIM_RATIO, "bytes": AIM_BYTES},
    }


def measure_host(folder: Path, told: argparse.Namespace) -> dict[str, Any]:
    """Both sides in turns, in each panel; how far their answers are apart; the memory that this process came to."""
    store = Store(folder / "store")
    versions = [put(store, folder / str(seed), seed) for seed in range(told.peers)]
    Wallet.create(folder / "wallets", "operator", password=None)
    library = Path(sysconfig.get_path("stdlib"))
    text = Data(paths=(str(library / "email"), str(library / "idlelib")), held_out_share=0.5)
    prepare_corpus(text, folder / "text", window_bytes=129, minimum_windows=16)
    settings = HostSettings(
        genesis=GENESIS,
        store=str(folder / "store"),
        corpus=str(folder / "text"),
        wallets=str(folder / "wallets"),
        peers=str(folder / "peers"),
        device=told.device,
        threads=1,
        capacity_bytes=8 << 30,
    )
    measured: dict[str, Any] = {}
    singles = [(version,) for version in versions]
    for most in told.stack:
        placement = load_network(None, [f"placement.stack={most}", "placement.hosts=1"]).placement
        plan = Packing(store, folder / "placement.json", placement).plan(versions, 1)
        stacks = [stack.versions for own in plan.values() for stack in own.stacks]
        for panel in PANELS:
            measured[f"{panel}, stacks of {most}"] = measure_panel(settings, panel, singles, stacks, told.pairs)
    return measured | {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}


def measure_panel(
    settings: HostSettings,
    panel: str,
    singles: Sequence[tuple[bytes, ...]],
    stacks: Sequence[tuple[bytes, ...]],
    pairs: int,
) -> dict[str, Any]:
    """Two hosts, one that is asked version by version, one stack by stack."""
    windows, width = PANELS[panel]
    text_WT = np.random.default_rng(0).integers(32, 127, (windows, width), dtype=np.uint8)
    query = sign_query(Keypair.generate(), genesis=GENESIS, epoch=1, panel=panel, text_WT=text_WT)  # type: ignore[arg-type]  # one of PANELS
    hosts = Host(settings), Host(settings)
    asked = [
        list(make_requests(groups, {}, [windows], lambda stack: max(1, REQUEST // len(stack))).values())
        for groups in (singles, stacks)
    ]
    one_s, stacked_s = time_pairs(lambda: ask(hosts[0], asked[0], query), lambda: ask(hosts[1], asked[1], query), pairs)
    one, together = (by_version(ask(host, requests, query)) for host, requests in zip(hosts, asked, strict=True))
    bytes_asked = windows * (width - 1 if panel == "segments" else 1) * len(singles)
    return {
        "one_by_one_bytes_per_s": summarize([bytes_asked / seconds for seconds in one_s]),
        "stacked_bytes_per_s": summarize([bytes_asked / seconds for seconds in stacked_s]),
        "ratio": summarize([one / stacked for one, stacked in zip(one_s, stacked_s, strict=True)]),
        "largest_difference": max(float(np.abs(one[version] - together[version]).max()) for version in one),
        "requests": [len(requests) for requests in asked],
        "in_one_batch": pays(hosts[1]._library.stacked(stacks[0]), [bytes(width)] * (REQUEST // len(stacks[0]))),
    }


def ask(host: Host, requests: Sequence[ScoreRequest], query: Query) -> list[Answer]:
    """All answers; a stack that is not answered for as one is an error."""
    answers = []
    for request in requests:
        receipt, own = host.score(request, query)
        if receipt.apart:
            raise RuntimeError(receipt.apart)
        answers += own
    return answers


def by_version(answers: Sequence[Answer]) -> dict[bytes, "np.ndarray[Any, Any]"]:
    """What each version says of all windows, in their order."""
    said: dict[bytes, list[Any]] = {}
    for answer in sorted(answers, key=lambda answer: answer.first):
        values = answer.said.log_probability_C if isinstance(answer.said, Scores) else answer.said
        said.setdefault(answer.version, []).append(values)
    return {version: np.concatenate(values) for version, values in said.items()}


def put(store: Store, folder: Path, seed: int) -> bytes:
    """A fresh model in the store."""
    save_model(build_model(ARCHITECTURE, seed), folder)
    return store.put_folder(folder).hash


def measure_network(folder: Path, told: argparse.Namespace) -> dict[str, Any]:
    """Two epochs of a network of so many peers: the second is one in which all have been loaded and stacked before."""
    network = load_network(
        None,
        [
            f"placement.stack={told.stack[0]}",
            f"placement.device={told.device}",
            f"ledger.max_uids={told.peers + 16}",
            "training.steps=1",
        ],
    )
    peers = tuple(
        PeerEntry(f"peer-{index}", ARCHITECTURE, behaviour="still", balance_tao=100_000) for index in range(told.peers)
    )
    with sampled() as memory:
        outcome = run_network(msgspec.structs.replace(network, peers=peers), Home(folder / "home"), epochs=2)
    last = outcome.records[-1]
    answered = sum(neuron.status == "ok" for neuron in last.neurons if neuron.kind == "hosted")
    if answered != told.peers:
        reasons = [neuron.reason for neuron in last.neurons if neuron.reason]
        raise RuntimeError(f"{answered} of {told.peers} peers answered: {reasons[:3]}")
    return {
        "peak_bytes": max(memory),
        "samples": len(memory),
        "answered": answered,
        "query_s": [record.seconds.query for record in outcome.records],
        "validators": len(network.validators),
        "hosts": network.placement.hosts,
    }


@contextmanager
def sampled() -> Iterator[list[int]]:
    """The resident bytes of this process and all that it started, twice a second."""
    taken: list[int] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            taken.append(sum(resident_bytes(process) for process in family(os.getpid())))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()


def family(root: int) -> set[int]:
    """A process and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {root}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def resident_bytes(process: int) -> int:
    """What a process has in memory; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    main()
