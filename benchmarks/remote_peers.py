"""Remote peers over HTTP: what an honest one earns, what the same one earns while it misbehaves, and what that delays.

A next_byte network with hosted peers that learn, and two remote peers on loopback, each with a model of its own, in
processes of their own. One answers as it should throughout. The other stands behind an endpoint that begins honestly in
one run and in another misbehaves from its first epoch on, in another way each epoch, and answers honestly only at the
end. What bounds the delay is `remote.deadline_s`: the hosts are asked meanwhile, so an epoch takes what they take, or
the deadline; `waited_s` is how long it waited when the hosts were done. Both runs take the same text.

    python benchmarks/remote_peers.py [--deadline 20] [--windows 1024]
"""

import argparse
import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from hostile_peer import BEHAVIOURS  # noqa: E402
from record import write_record  # noqa: E402
from remote_world import Conductor, found_home, join, running_hostile, running_peer, train_remote  # noqa: E402

import taoray  # noqa: E402
from cluster.config import load_network  # noqa: E402
from cluster.driver import run_network  # noqa: E402
from cluster.home import Home  # noqa: E402
from ledger.wallet import Wallet  # noqa: E402

LIBRARY = Path(sysconfig.get_path("stdlib"))
PACKAGES = ("asyncio", "email", "idlelib", "unittest")
"""Of the standard library: the text."""
HOSTILE = (
    *("stalls", "lies", "doubles", "boasts", "tampers", "signs_for_another", "alters_the_question", "replays"),
    *("reorders", "asks_twice", "drips_its_body", "sends_a_gigabyte", "sends_without_end", "says_go_on"),
    *("closes_half_way", "hangs_up", "redirects"),
)
HONEST = 3
"""Honest epochs at the end of the hostile run."""


def main() -> None:
    """Both runs, and the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deadline", type=float, default=20.0)
    parser.add_argument("--windows", type=int, default=1024)
    told = parser.parse_args()
    text = [f"data.paths={[str(LIBRARY / name) for name in PACKAGES]}"]
    overrides = [
        *("query.panel=next_byte", f"query.windows={told.windows}", "query.window_bytes=65", "query.request=2048"),
        *("remote.allow_private=true", f"remote.deadline_s={told.deadline}"),
    ]
    scores = {
        "hostile": [*HOSTILE, *["honest"] * HONEST],
        "honest": ["honest"] * (HONEST + 1),
    }
    with tempfile.TemporaryDirectory() as folder:
        measured = {name: measure(Path(folder) / name, [*text, *overrides], score) for name, score in scores.items()}
    summary = summarize(measured, told.deadline)
    path = write_record(
        "remote_peers",
        {
            "network": "tests/cluster/tiny.toml",
            "text": PACKAGES,
            "overrides": overrides,
            "behaviours": list(BEHAVIOURS),
        },
        {**measured, "summary": summary},
    )
    for name, value in summary.items():
        print(f"{name}: {value}", file=sys.stderr)
    print(path, file=sys.stderr)


def measure(folder: Path, overrides: list[str], score: list[str]) -> list[dict[str, Any]]:
    """A run of the network, the second remote peer behaving as the score says; a line an epoch."""
    network, home = load_network(ROOT / "tests" / "cluster" / "tiny.toml", overrides), Home(folder / "home")
    genesis = found_home(network, home)
    for name in ("rex", "mallory"):
        Wallet.create(home.wallets, name)
    models = [train_remote(network, home, folder / str(seed), seed=seed) for seed in (1, 2)]
    file = folder / "behaviour"
    file.write_text("honest")
    with (
        running_peer(models[0], home, genesis, "rex") as rex,
        running_peer(models[1], home, genesis, "mallory") as upstream,
        running_hostile(file, upstream, home, "mallory") as mallory,
    ):
        join(home, "mallory", mallory)
        join(home, "rex", rex)
        show = Conductor(file, score)
        run_network(network, home, epochs=len(score), show=show)
    taoray.verify(home.folder)
    lines = []
    for record, behaviour, waited_s in zip(show.records, score, show.waited_s, strict=True):
        neurons = {neuron.name: neuron for neuron in record.neurons}
        lines.append(
            {
                "epoch": record.epoch,
                "behaviour": behaviour,
                "status": neurons["mallory"].status,
                "reason": neurons["mallory"].reason,
                "emission_rao": neurons["mallory"].emission_rao,
                "account_bits": neurons["mallory"].account_bits,
                "new_bits": neurons["mallory"].new_bits,
                "others": {
                    name: [neurons[name].status, neurons[name].incentive] for name in ("rex", "ada", "grace", "still")
                },
                "minted_rao": record.minted_rao,
                "query_s": record.seconds.query,
                "waited_s": round(waited_s, 3),
                "audited": all(not audited.differs for audited in taoray.audit(home.folder, record.epoch)),
            }
        )
    return lines


def summarize(measured: dict[str, list[dict[str, Any]]], deadline_s: float) -> dict[str, Any]:
    """What the record is for."""
    hostile = [line for line in measured["hostile"] if line["behaviour"] != "honest"]
    honest = [line for line in measured["hostile"] if line["behaviour"] == "honest"] + measured["honest"]
    others = {line["others"][name][0] for line in hostile for name in ("rex", "ada", "grace", "still")}
    return {
        "epochs_of_misbehaviour": len(hostile),
        "earned_while_misbehaving_rao": sum(line["emission_rao"] for line in hostile),
        "earned_while_honest_rao": [line["emission_rao"] for line in honest],
        "longest_wait_s_while_misbehaving": max(line["waited_s"] for line in hostile),
        "longest_wait_s_while_honest": max(line["waited_s"] for line in honest),
        "deadline_s": deadline_s,
        "others_always_ok": others == {"ok"},
        "all_audits_agree": all(line["audited"] for lines in measured.values() for line in lines),
    }


if __name__ == "__main__":
    main()
