"""Where a network stands, read off its ledger, whether it runs or not."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from cluster.archive import open_chain
from cluster.home import Home
from cluster.lease import Holder, read_holder
from cluster.place.record import PlacementRecord, read_placement
from ledger.extrinsics import decode_extrinsic
from ledger.keys import encode_address
from ledger.state import State, Supply
from ledger.store.metagraph import metagraph_table

NANO = 10**9


class CohortStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A cohort at the last round that the validators agreed on.

    Attributes:
        name: as the configuration calls it; the beginning of its id where it does not.
        id, parameters, manifest: the ledger's name of it, and of the parameters where that round began, hexadecimal.
        epoch: of the round.
        accepted: whose updates the next round's parameters have in them.
        sums_bits: by name, the decaying sums of what was applied, by which its pay is divided.
    """

    name: str
    id: str
    epoch: int
    parameters: str
    manifest: str
    accepted: tuple[str, ...]
    sums_bits: dict[str, float]


@dataclass(frozen=True)
class Standing:
    """Where a network stands. `holder` is who drives it now, None where nobody does; `placement` the plan of the last
    epoch in which hosts answered; `cohorts` those that the ledger knows.

    `genesis` (hex) and `keeper` (an address) are what a remote peer has to know of it.
    """

    network: str
    genesis: str
    keeper: str
    home: Path
    height: int
    epoch: int
    phase: str
    final_height: int
    block_hash: str
    supply: Supply
    holder: Holder | None
    placement: PlacementRecord | None
    cohorts: tuple[CohortStanding, ...] = ()


def metagraph(home: Path | str, epoch: int | None = None) -> pa.Table:
    """The neurons at the close of an epoch (None: the last), as an Arrow table, one row a neuron."""
    with open_chain(home) as chain:
        return metagraph_table(chain, epoch)


def status(home: Path | str) -> Standing:
    """Where a network stands, whether it runs or not."""
    place = Home(Path(home).absolute())
    with open_chain(home) as chain:
        return Standing(
            network=chain.genesis.network,
            genesis=chain.genesis_hash.hex(),
            keeper=encode_address(chain.genesis.keeper),
            home=place.folder,
            height=chain.head.height,
            epoch=chain.head.epoch,
            phase=chain.state.globals.phase,
            final_height=chain.final_height,
            block_hash=chain.head_hash.hex(),
            supply=chain.state.supply(),
            holder=read_holder(place.lease),
            placement=read_placement(place.placement),
            cohorts=cohort_standings(place, chain.state),
        )


class _Named(msgspec.Struct):
    """What is needed of a cohort's record in the home."""

    id: str


def cohort_standings(place: Home, state: State) -> tuple[CohortStanding, ...]:
    """The cohorts that a ledger knows, with the names that a home has for them."""
    names = {}
    for path in place.cohorts.glob("*.json"):
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            names[msgspec.json.decode(path.read_bytes(), type=_Named).id] = path.stem
    neurons = {neuron.uid: neuron.name for neuron in state.neurons()}
    return tuple(
        CohortStanding(
            name=names.get(name.hex(), name.hex()[:16]),
            id=name.hex(),
            epoch=row.epoch,
            parameters=row.parameters.hex(),
            manifest=row.manifest.hex(),
            accepted=tuple(neurons.get(each.uid, f"uid {each.uid}") for each in row.accepted),
            sums_bits={neurons.get(each.uid, f"uid {each.uid}"): each.value / NANO for each in row.sums},
        )
        for name, row in state.cohorts().items()
    )


def blocks(home: Path | str, last: int = 20) -> list[dict[str, Any]]:
    """The last blocks that are not pruned: height, epoch, kind, hash, whether final, and each call with its receipt."""
    with open_chain(home) as chain:
        pruned = chain.pruned_height
        first = max(0, chain.head.height - last + 1, pruned + 1 if pruned else 0)
        return [
            {
                "height": block.height,
                "epoch": block.header.epoch,
                "kind": block.header.kind,
                "block_hash": block.hash.hex(),
                "final": chain.is_final(block.height),
                "extrinsics": [
                    f"{type(decode_extrinsic(data).call).__name__} {code}"
                    for data, code in zip(block.extrinsics, block.receipts, strict=True)
                ],
            }
            for block in chain.blocks(first)
        ]
