"""Blocks: sealed by the keeper, carried to the validators' replicas, and final by their signatures.

Invariants:
* a step goes on only from a final block;
* below more than 2/3 of the finality set's stake the run waits, says for whom, and ends with their names when its
  time is over; nothing is lost by that.
"""

import time

from actors.keeper import Sealed, Standing
from cluster.calls import ask_each, ask_one
from cluster.errors import NoAnswer
from cluster.run import Run, Work
from ledger.blocks import Kind


def seal(run: Run, work: Work, kind: Kind) -> None:
    """Have the keeper write this epoch's block of a kind, and the validators make it final.

    Raises:
        NoAnswer: the keeper, or so many validators that the block cannot be final, did not answer in time.
        LedgerError: the keeper cannot write.
    """
    deadline_s = run.network.deadlines.finality_s
    sealed: Sealed = ask_one("the keeper", run.crew.keeper.seal.remote(kind, work.epoch), deadline_s=deadline_s)
    for sentence in sealed.refused:
        run.show.note(f"refused in block {sealed.height}: {sentence}")
    work.height, work.block_hash = sealed.height, sealed.block_hash
    work.final = False
    make_final(run, sealed.height)
    work.final = True


def make_final(run: Run, height: int) -> None:
    """Carry every block up to a height to the replicas until the last is final. Raises NoAnswer as `seal`."""
    end = time.monotonic() + run.network.deadlines.finality_s
    told: set[str] = set()
    while True:
        standing, failures = _collect(run, height)
        if standing.final:
            return
        if time.monotonic() > end:
            raise NoAnswer(f"block {height} is not final: {_waited_for(run, standing, failures)}")
        sentence = f"block {height} waits for {_waited_for(run, standing, failures)}"
        if sentence not in told:
            run.show.note(sentence)
            told.add(sentence)
        time.sleep(0.5)


def _collect(run: Run, height: int) -> tuple[Standing, dict[str, str]]:
    """One round: each replica gets what it lacks, and signs."""
    deadlines = run.network.deadlines
    final_height = run.position().final_height
    heights, failures = ask_each(
        run.crew.validators, lambda name, handle: handle.height.remote(), deadline_s=deadlines.validator_s
    )
    first = min([final_height, *heights.values()]) + 1
    keeper = run.crew.keeper
    blocks = ask_one("the keeper", keeper.blocks.remote(first), deadline_s=deadlines.validator_s)
    votes = ask_one("the keeper", keeper.votes.remote(first - 1), deadline_s=deadlines.validator_s)
    mandate = ask_one("the keeper", keeper.mandate.remote(), deadline_s=deadlines.validator_s)
    reachable = {name: run.crew.validators[name] for name in heights}
    needed = {
        name: [block for block in blocks if block.height > min(final_height, heights[name]) and block.height <= height]
        for name in heights
    }
    signed, unsigned = ask_each(
        reachable,
        lambda name, handle: handle.follow.remote(needed[name], votes, mandate),
        deadline_s=deadlines.validator_s,
    )
    standing = Standing(final=False, missing=())
    for at in range(final_height + 1, height + 1):
        votes = [vote for own in signed.values() for vote in own if vote.height == at]
        standing = ask_one("the keeper", run.crew.keeper.add_votes.remote(at, votes), deadline_s=deadlines.validator_s)
    return (standing if final_height < height else Standing(final=True, missing=())), {**failures, **unsigned}


def _waited_for(run: Run, standing: Standing, failures: dict[str, str]) -> str:
    names = sorted(run.wallets.get(hotkey, hotkey.hex()[:12]) for hotkey in standing.missing)
    return ", ".join(f"{name} ({failures[name]})" if name in failures else name for name in names)
