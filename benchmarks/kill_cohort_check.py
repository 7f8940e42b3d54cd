"""What must hold of a network with a cohort whose processes were killed: its ledger, its members, and θ.

Invariants: nothing of the network runs while it is checked; what does not hold is an AssertionError that names it.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from safetensors import safe_open

from actors.member_record import Receipt
from actors.parameters import load_standing, read_payloads
from cluster.cohorts import CohortRecord
from cluster.home import Home
from ledger.entries import Cohort
from ledger.extrinsics import Contribute, RevealWeights, decode_extrinsic
from ledger.store.chain import Chain
from ledger.store.replay import replay, verify
from models.store import Store
from models.train.compression import payload_hash
from models.train.layout import hash_vector
from models.train.payload import payload_bytes
from models.train.round import next_parameters


def copy_updates(home: Home, copies: Path) -> None:
    """Keep the updates that everybody may read now, under their names; the network forgets them after a round."""
    for path in home.contributions.glob("[0-9a-f]*"):
        with suppress(FileNotFoundError, FileExistsError):
            os.link(path, copies / path.name)


def check_network(home: Home, copies: Path) -> dict[str, Any]:
    """Check all, and tell what was found."""
    verified = verify(home.chain)
    (record,) = (msgspec.json.decode(path.read_bytes(), type=CohortRecord) for path in home.cohorts.glob("*.json"))
    cohort = bytes.fromhex(record.id)
    with Chain.open(home.chain) as chain:
        assert chain.final_height == chain.head.height, "the last block is not final"
        begun = check_beginnings(chain, cohort)
        rows = list(rows_of(chain, cohort))
    derived = check_derivation(home, copies, record, rows)
    members = check_members(home, cohort, begun)
    assert rows[-1].epoch == verified.epoch, f"the last round agreed on is {rows[-1].epoch}, not {verified.epoch}"
    assert rows[-1].parameters == begun[verified.epoch], "the ledger's parameters are not those that members began at"
    return {
        "height": verified.height,
        "epochs": verified.epoch,
        "rounds_agreed": len(rows),
        "rounds_with_updates_taken": sum(bool(row.accepted) for row in rows),
        "different_parameters": derived,
        "epochs_with_contributions": len(begun),
        "members": members,
        "parameters": rows[-1].parameters.hex(),
        "issuance_rao": verified.issuance_rao,
    }


def check_beginnings(chain: Chain, cohort: bytes) -> dict[int, bytes]:
    """The θ that each epoch began at: the same for all who sent an update, and all who voted on the round."""
    found: dict[int, set[bytes]] = {}
    for block in chain.blocks(1):
        for data in block.extrinsics:
            call = decode_extrinsic(data).call
            if isinstance(call, Contribute) and call.cohort == cohort:
                found.setdefault(block.header.epoch, set()).add(call.parameters)
            elif isinstance(call, RevealWeights):
                votes = [vote for vote in call.rounds if vote.cohort == cohort]
                found.setdefault(block.header.epoch, set()).update(vote.parameters for vote in votes)
    for epoch, parameters in found.items():
        assert len(parameters) <= 1, f"{len(parameters)} different parameters in epoch {epoch}"
    return {epoch: next(iter(parameters)) for epoch, parameters in found.items() if parameters}


def rows_of(chain: Chain, cohort: bytes) -> Iterator[Cohort]:
    """The ledger's rows of the cohort, one after another, from blocks that are executed again."""
    last: Cohort | None = None
    for _, state in replay(chain.genesis, chain.blocks(0)):
        row = state.cohorts().get(cohort)
        if row is not None and (last is None or row.epoch != last.epoch):
            last = row
            yield row


def check_derivation(home: Home, copies: Path, record: CohortRecord, rows: list[Cohort]) -> int:
    """Derive θ from the first parameters through every round; how many different ones there were."""
    store = Store(home.store)
    first = load_standing(
        bytes.fromhex(record.manifest), None, {}, record.outer, store=store, contributions=copies, device="cpu"
    )
    theta_P = first.theta_P
    seen = []
    for row in rows:
        seen.append(hash_vector(theta_P, first.layout))
        assert seen[-1] == row.parameters, f"derived other parameters than the ledger has for epoch {row.epoch}"
        accepted = hashes_of(row)
        payloads = read_payloads(copies, accepted, payload_bytes(first.layout, record.outer.keep))
        assert payloads.keys() == accepted.keys(), f"an update that epoch {row.epoch} accepted was never to be read"
        assert all(payload_hash(payload) == accepted[uid] for uid, payload in payloads.items())
        theta_P, _ = next_parameters(theta_P, first.layout, payloads, record.outer)
    last = rows[-1]
    kept = load_standing(
        last.manifest,
        last.parameters,
        hashes_of(last),
        record.outer,
        store=store,
        contributions=home.contributions,
        device="cpu",
    )
    after_P, _ = next_parameters(kept.theta_P, kept.layout, kept.accepted, record.outer)
    assert hash_vector(after_P, kept.layout) == hash_vector(theta_P, first.layout), "the home leads on to another θ"
    return len(set(seen))


def hashes_of(row: Cohort) -> dict[int, bytes]:
    """What a round accepted, by uid."""
    return {each.uid: each.payload for each in row.accepted}


def check_members(home: Home, cohort: bytes, begun: dict[int, bytes]) -> int:
    """How many members there are; every one's own folder says θ of the last epoch."""
    folders = sorted(home.peers.glob(f"*/rounds/{cohort.hex()[:16]}"))
    for folder in folders:
        with safe_open(str(sorted(folder.glob("*.safetensors"))[-1]), framework="numpy") as file:
            receipt = msgspec.json.decode(file.metadata()["receipt"], type=Receipt)
        assert receipt.parameters == begun[max(begun)], f"{folder.parent.parent.name} stands at another θ"
    assert folders
    return len(folders)
