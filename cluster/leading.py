"""Leading: the driver finds the keeper's ledger to be the newest, or has it take over with the validators' promises.

Invariants:
* a keeper is woken only when more than 2/3 of the stake know of no later term, no final block and no vote that its
  ledger lacks; else it absorbs what is final from whoever has it, and leads a term above all that anybody knows;
* a call that meets a keeper that does not lead, or is gone, is made again after the take-over: the keeper's methods
  may be repeated, and what waits for a block is handed to it anew;
* all of it ends at the deadline with the names of who is waited for.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.assembly import Assembly
from cluster.errors import Gone, NoAnswer
from cluster.following import Follower
from cluster.show import Progress
from ledger.blocks import Block
from ledger.errors import LedgerError, NotLeading, Refusal
from ledger.store.replica import Known
from ledger.trust.finality import Vote, Weighted

PAGE = 32
"""Blocks that are carried to another ledger at once."""

QUEUE = frozenset({"next_nonce", "waiting", "seal"})
"""What the keeper's queue decides: it has all that waits in the home first."""

POLL_S = 0.5
"""How long after a round in which too few answered they are asked again."""


class Waiting:
    """A wait that is told once for each reason, and ends."""

    def __init__(self, show: Progress, deadline_s: float, what: str, poll_s: float) -> None:
        self._show, self._what, self._poll_s = show, what, poll_s
        self._deadline_s = deadline_s
        self._end: float | None = None
        self._told: set[str] = set()

    def go_on(self, reason: str) -> None:
        """Tell the reason and wait a moment; the time begins with the first. Raises NoAnswer when it is over."""
        if self._end is None:
            self._end = time.monotonic() + self._deadline_s
        if time.monotonic() > self._end:
            raise NoAnswer(f"{self._what}: {reason}")
        if reason not in self._told:
            self._show.note(f"{self._what}: waiting for {reason}")
            self._told.add(reason)
        time.sleep(self._poll_s)


class Leading:
    """The driver's way to the ledger.

    Args:
        assembly: keeper and validators.
        follower: the home's replica; None where the keeper's ledger is the home's.
        names: of wallets, by hotkey.
        deadline_s: for a take-over, and for a block to become final. poll_s: between two rounds of it.
    """

    def __init__(
        self,
        assembly: Assembly,
        follower: Follower | None,
        show: Progress,
        *,
        names: Mapping[bytes, str],
        deadline_s: float,
        poll_s: float = POLL_S,
    ) -> None:
        self.assembly, self.follower, self.show = assembly, follower, show
        self.names = names
        self._deadline_s, self._poll_s = deadline_s, poll_s
        self._turns = 0

    def waiting(self, what: str) -> Waiting:
        """A wait for something to happen, which has the run's deadline."""
        return Waiting(self.show, self._deadline_s, what, self._poll_s)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Ask the keeper that leads; where none does, one takes over and is asked then.

        Raises:
            NoAnswer: none leads within the deadline, or it does not answer.
            LedgerError: what the keeper refuses.
        """
        wait = self.waiting("the ledger has no keeper")
        while True:
            if method in QUEUE:
                self.hand_over()
            try:
                return self.assembly.keeper(method, *arguments)
            except NotLeading:
                self.take_over()
            except Gone as error:
                wait.go_on(str(error))
            except NoAnswer as error:
                wait.go_on(str(error))
                self.assembly.replace_keeper()

    def submit(self, extrinsics: Sequence[bytes]) -> list[str]:
        """Queue signed extrinsics, in the home too if the keeper's queue is elsewhere; for each "ok" or the refusal."""
        if self.follower is None:
            outcomes: list[str] = self.ask("submit", list(extrinsics))
            return outcomes
        outcomes = self.follower.queue(extrinsics)
        self.hand_over()
        return outcomes

    def hand_over(self) -> None:
        """Give the keeper what waits in the home, before it is asked about its queue."""
        if self.follower is None:
            return
        waiting, row = self.follower.unhanded()
        while waiting:
            turn = self._turns
            self.ask("submit", waiting)
            # After a take-over meanwhile the keeper gets everything again.
            if turn == self._turns:
                self.follower.handed(row)
            waiting, row = self.follower.unhanded()

    def take_over(self) -> None:
        """Find that the keeper's ledger is the newest, or have it lead a new term.

        Raises:
            NoAnswer: too few validators answer within the deadline, or the keeper does not; with their names.
        """
        wait = self.waiting("no keeper leads")
        while reason := self._try_to_lead():
            wait.go_on(reason)
        self._turns += 1
        if self.follower is not None:
            self.follower.handed(0)

    def _try_to_lead(self) -> str:
        """One round; whom it still waits for, empty when the keeper leads."""
        try:
            known, failures = self.assembly.validators("known")
            refused = self._teach(known)
            own: Known = self.assembly.keeper("known")
            voting: Sequence[Weighted] = self.assembly.keeper("voters")
            if not _suffice(voting, self._hotkeys(known)):
                return self._silent(voting, known, failures | refused)
            if is_newest(own, self._others(known)):
                self.assembly.keeper("wake")
                return ""
            return self._lead_anew(1 + max(each.term for each in (own, *self._others(known))), voting)
        except (NoAnswer, LedgerError) as error:
            return str(error)

    def _lead_anew(self, term: int, voting: Sequence[Weighted]) -> str:
        pledges, failures = self.assembly.validators("promise", term)
        try:
            mandate = self.assembly.keeper("lead", term, list(pledges.values()))
        except Refusal as refusal:
            short = not _suffice(voting, self._hotkeys(pledges))
            return self._silent(voting, pledges, failures) if short else str(refusal)
        self.show.note(f"a keeper takes over in term {term}, from block {mandate.base.height}")
        return ""

    def _teach(self, known: Mapping[str, Known]) -> dict[str, str]:
        """Bring the keeper's ledger up to what is final anywhere; who could not show what it says it has."""
        refused: dict[str, str] = {}
        sources = [(each.final_height, name) for name, each in known.items()]
        if self.follower is not None:
            # The home's own first among equals: it needs no network.
            sources.append((self.follower.known().final_height, "~"))
        for final_height, name in sorted(sources, reverse=True):
            own: Known = self.assembly.keeper("known")
            if final_height <= own.final_height:
                break
            try:
                self._carry(name, own.final_height + 1, final_height)
            except (LedgerError, NoAnswer) as error:
                refused[name] = str(error)
        return refused

    def _carry(self, source: str, first: int, last: int) -> None:
        for start in range(first, last + 1, PAGE):
            end = min(last, start + PAGE - 1)
            blocks, votes = self._read(source, start, end)
            self.assembly.keeper("absorb", blocks, votes)

    def _read(self, source: str, first: int, last: int) -> tuple[list[Block], list[Vote]]:
        if self.follower is not None and source == "~":
            return self.follower.blocks(first, last), self.follower.votes(first, last)
        found = []
        for method in ("blocks", "votes"):
            answers, failures = self.assembly.validators(method, each={source: (first, last)})
            if source not in answers:
                raise NoAnswer(failures[source])
            found.append(answers[source])
        return found[0], found[1]

    def _others(self, known: Mapping[str, Known]) -> list[Known]:
        home = [] if self.follower is None else [self.follower.known()]
        return [*known.values(), *home]

    def _hotkeys(self, answered: Iterable[str]) -> set[bytes]:
        names = set(answered)
        return {hotkey for hotkey, name in self.names.items() if name in names}

    def _silent(self, voting: Sequence[Weighted], answered: Iterable[str], failures: Mapping[str, str]) -> str:
        present = self._hotkeys(answered)
        absent = [member.hotkey for member in voting if member.hotkey not in present]
        names = sorted(self.names.get(hotkey, hotkey.hex()[:12]) for hotkey in absent)
        return ", ".join(f"{name} ({failures[name]})" if name in failures else name for name in names)


def is_newest(own: Known, others: Iterable[Known]) -> bool:
    """Whether a keeper's ledger leads the highest term that the others know, and lacks nothing that they have of it."""
    return own.leads and all(
        other.term <= own.term and other.final_height <= own.final_height and not _ahead(own, other) for other in others
    )


def _ahead(own: Known, other: Known) -> bool:
    """Whether the other holds, or voted for, a block of the keeper's term that is not the keeper's."""
    heads = [(other.head_term, other.height, other.head_hash)]
    if other.last is not None:
        heads.append((other.last.term, other.last.height, other.last.block_hash))
    return any(
        height > own.height or (height == own.height and block_hash != own.head_hash)
        for term, height, block_hash in heads
        if term == own.term and height > own.final_height
    )


def _suffice(voting: Sequence[Weighted], hotkeys: set[bytes]) -> bool:
    answered_rao = sum(member.stake_rao for member in voting if member.hotkey in hotkeys)
    return 3 * answered_rao > 2 * sum(member.stake_rao for member in voting)
