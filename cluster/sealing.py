"""Blocks: sealed by the keeper, carried to the validators' replicas, and final by their signatures.

Invariants:
* a step goes on only from a final block, which the home has by then;
* a block that gave way because its keeper was lost is sealed again, from what waits in the home;
* below more than 2/3 of the finality set's stake the run waits, says for whom, and ends with their names when its
  time is over; nothing is lost by that.
"""

from collections.abc import Mapping

from actors.keeper import Proposal, Sealed
from cluster.leading import PAGE, Leading
from cluster.run import Run, Work
from ledger.blocks import Block, Kind
from ledger.errors import Pruned, Refusal
from ledger.store.replica import Known
from ledger.trust.finality import Vote


def seal(run: Run, work: Work, kind: Kind) -> None:
    """Have the keeper write this epoch's block of a kind, and the validators make it final.

    Raises:
        NoAnswer: the keeper, or so many validators that the block cannot be final, did not answer in time.
        LedgerError: the keeper cannot write.
    """
    work.final = False
    sealed = seal_final(run.leading, kind, work.epoch)
    for sentence in sealed.refused:
        run.show.note(f"refused in block {sealed.height}: {sentence}")
    work.height, work.block_hash, work.final = sealed.height, sealed.block_hash, True


def seal_final(leading: Leading, kind: Kind, epoch: int) -> Sealed:
    """A block of this kind of this epoch that is final. Raises as `seal`."""
    wait = leading.waiting(f"the {kind} block of epoch {epoch}")
    while True:
        sealed: Sealed = leading.ask("seal", kind, epoch)
        if make_final(leading, sealed.height, sealed.block_hash):
            if leading.follower is not None:
                leading.follower.forget(sealed)
            return sealed
        wait.go_on(f"another keeper's: block {sealed.height} gave way")


def make_final(leading: Leading, height: int, block_hash: bytes | None = None) -> bool:
    """Carry every block up to a height to the replicas until the last is final, and the home has it.

    Returns:
        whether that is the block of this hash; False where it gave way, because its keeper was lost.

    Raises:
        NoAnswer: as `seal`.
    """
    wait = leading.waiting(f"block {height} is not final")
    while True:
        proposal: Proposal = leading.ask("proposal")
        if proposal.final_height >= height:
            if not _follow_home(leading, height):
                continue  # its keeper was lost meanwhile: who leads now has the block signed again
            return block_hash is None or block_hash == _hash_at(leading, proposal, height)
        if proposal.height < height or (block_hash is not None and proposal.block_hash != block_hash):
            return False
        waited_for = _collect(leading, proposal)
        if waited_for:
            wait.go_on(waited_for)


def bring_up(leading: Leading) -> None:
    """Have every validator that answers follow to the last final block: one whose disk was lost would otherwise know
    neither the epoch nor its own nonce.
    """
    proposal: Proposal = leading.ask("proposal")
    known, _ = leading.assembly.validators("known")
    for name, why in _catch_up(leading, proposal, known).items():
        leading.show.note(f"{name} does not follow the ledger: {why}")


def _follow_home(leading: Leading, height: int) -> bool:
    """Bring the home's replica up to what is final on the keeper's disk, where that is another; whether the home has
    the final block of this height.
    """
    if leading.follower is None:
        return True
    proposal: Proposal = leading.ask("proposal")
    for first in range(leading.follower.known().final_height + 1, proposal.final_height + 1, PAGE):
        last = min(first + PAGE - 1, proposal.final_height)
        leading.follower.follow(leading.ask("blocks", first, last), leading.ask("votes", first, last))
    return leading.follower.known().final_height >= height


def _collect(leading: Leading, proposal: Proposal) -> str:
    """One round: each replica gets what it lacks, and signs; whose signatures are still waited for, empty if nobody's.

    A validator that has promised a later term than the keeper's has the driver find who leads.
    """
    known, failures = leading.assembly.validators("known")
    if any(each.term > proposal.term for each in known.values()):
        leading.take_over()
        return ""
    failures |= _catch_up(leading, proposal, known)
    put = leading.assembly.put
    blocks, none, votes, mandate = (put(each) for each in (proposal.blocks, (), proposal.votes, proposal.mandate))
    held = {(proposal.height, proposal.block_hash)}
    told = {
        name: (none if (each.height, each.head_hash) in held else blocks, votes, mandate)
        for name, each in known.items()
        if name not in failures
    }
    signed, unsigned = leading.assembly.validators("follow", each=told)
    fresh = [vote for own in signed.values() for vote in own if vote.block_hash == proposal.block_hash]
    try:
        standing = leading.ask("add_votes", proposal.height, fresh)
    except Refusal as refusal:
        return str(refusal)
    return "" if standing.final else _waited_for(leading, standing.missing, failures | unsigned)


def _catch_up(leading: Leading, proposal: Proposal, known: Mapping[str, Known]) -> dict[str, str]:
    """Bring replicas up to the last final block; who could not be, and why."""
    at = {
        name: each.final_height
        for name, each in known.items()
        if each.final_height < proposal.final_height
        and (each.height, each.head_hash)
        not in {(proposal.final_height, proposal.final_hash), (proposal.height, proposal.block_hash)}
    }
    failures: dict[str, str] = {}
    while at:
        first = min(at.values()) + 1
        last = min(first + PAGE - 1, proposal.final_height)
        try:
            blocks, votes = read_blocks(leading, first, last)
        except Pruned as error:
            return failures | dict.fromkeys(at, str(error))
        told = (leading.assembly.put(blocks), leading.assembly.put(votes), None)
        behind = {name: told for name, height in at.items() if height + 1 == first}
        _, failed = leading.assembly.validators("follow", each=behind)
        failures |= failed
        at |= dict.fromkeys(behind, last)
        at = {name: height for name, height in at.items() if height < proposal.final_height and name not in failed}
    return failures


def read_blocks(leading: Leading, first: int, last: int) -> tuple[list[Block], list[Vote]]:
    """Final blocks and their votes, from the home or the keeper; where those were pruned, from a validator. Pruned
    where nobody has them.
    """
    try:
        if leading.follower is not None and leading.follower.known().final_height >= last:
            return leading.follower.blocks(first, last), leading.follower.votes(first, last)
        return leading.ask("blocks", first, last), leading.ask("votes", first, last)
    except Pruned:
        answers, _ = leading.assembly.validators("blocks", first, last)
        whole = [name for name, blocks in answers.items() if len(blocks) == last - first + 1]
        if not whole:
            raise Pruned(f"nobody who answers has blocks {first} to {last} any more") from None
        votes, _ = leading.assembly.validators("votes", each={whole[0]: (first, last)})
        return answers[whole[0]], votes[whole[0]]


def _hash_at(leading: Leading, proposal: Proposal, height: int) -> bytes:
    if height == proposal.final_height:
        return proposal.final_hash
    (block,) = leading.ask("blocks", height, height)
    found: bytes = block.hash
    return found


def _waited_for(leading: Leading, hotkeys: tuple[bytes, ...], failures: Mapping[str, str]) -> str:
    names = sorted(leading.names.get(hotkey, hotkey.hex()[:12]) for hotkey in hotkeys)
    return ", ".join(f"{name} ({failures[name]})" if name in failures else name for name in names)
