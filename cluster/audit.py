"""The audit: whether the votes of an epoch follow from their evidence, and the evidence is what was committed to.

Invariants: it joins what the ledger and the models know, and neither knows of the other; every validator that revealed
in the epoch is named, with a sentence for each thing that differs; nothing is written.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.ballot import proposed_members, round_votes
from cluster.archive import open_chain
from cluster.errors import NotClosed
from cluster.home import Home
from ledger.blocks import APPLIED, Block
from ledger.extrinsics import RevealWeights, compute_seed, decode_extrinsic
from ledger.store.chain import Chain
from models.errors import ModelsError
from models.value.audit import audit as audit_evidence
from models.value.evidence import Evidence
from models.value.record import read_evidence


@dataclass(frozen=True)
class Audited:
    """One validator's vote in an epoch, and what is wrong with it: nothing, if `differs` is empty.

    `name` is that of its neuron, or its hotkey where it has none any more; `votes` counts the uids that it voted for.
    """

    name: str
    hotkey: str
    evidence: str
    votes: int
    differs: tuple[str, ...]


def audit_epoch(home: Home, epoch: int) -> list[Audited]:
    """Check every vote that was revealed in a closed epoch against its evidence in the home.

    Raises:
        NotClosed: the epoch is not closed.
        LedgerError: the ledger cannot be read.
    """
    with open_chain(home.folder) as chain:
        names = {neuron.hotkey: neuron.name for neuron in chain.state.neurons()}
        found = []
        for hotkey, reveal in _reveals(_close_block(chain, epoch)):
            path = home.evidence / f"{epoch:06d}" / f"{hotkey.hex()}.evidence"
            found.append(
                Audited(
                    name=names.get(hotkey, hotkey.hex()[:16]),
                    hotkey=hotkey.hex(),
                    evidence=reveal.evidence.hex(),
                    votes=sum(value > 0 for value in reveal.values),
                    differs=tuple(_differences(path, chain.genesis_hash, hotkey, reveal)),
                )
            )
        return found


def _close_block(chain: Chain, epoch: int) -> Block:
    for block in chain.blocks(1):
        if block.header.epoch == epoch and block.header.kind == "close":
            return block
        if block.header.epoch > epoch:
            break
    raise NotClosed(epoch, chain.head.closed_epoch)


def _reveals(block: Block) -> Iterator[tuple[bytes, RevealWeights]]:
    """The hotkeys that revealed in a close block, with what they revealed."""
    for data, receipt in zip(block.extrinsics, block.receipts, strict=True):
        extrinsic = decode_extrinsic(data)
        if receipt == APPLIED and isinstance(extrinsic.call, RevealWeights):
            yield extrinsic.signer, extrinsic.call


def _differences(path: Path, genesis_hash: bytes, hotkey: bytes, reveal: RevealWeights) -> Iterator[str]:
    try:
        evidence = read_evidence(path, reveal.evidence)
        yield from _unlike_the_ledger(evidence, genesis_hash, hotkey, reveal)
        yield from audit_evidence(evidence)
    except ModelsError as error:
        yield str(error)


def _unlike_the_ledger(evidence: Evidence, genesis_hash: bytes, hotkey: bytes, reveal: RevealWeights) -> Iterator[str]:
    """What the evidence says otherwise than the reveal on the ledger."""
    about = (evidence.genesis, evidence.epoch, evidence.hotkey)
    if about != (genesis_hash, reveal.epoch, hotkey):
        yield "the evidence is of another network, epoch or validator"
    if evidence.seed != compute_seed(reveal.seed_signature):
        yield "the seed of the windows is not the one that the ledger shows"
    if evidence.books.votes != dict(zip(reveal.uids, reveal.values, strict=True)):
        yield "the votes on the ledger are not those of the evidence"
    if round_votes(evidence.rounds) != reveal.rounds:
        yield "what the ledger says of cohorts' updates is not what the evidence says"
    collective = evidence.collective()
    if (collective.strata, proposed_members(collective)) != (reveal.strata, reveal.members):
        yield "the collective proposed on the ledger is not that of the evidence"
