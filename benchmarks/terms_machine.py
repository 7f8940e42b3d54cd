"""A model of keepers and validators around the ledger's own rules of terms, and the search through all its states.

Invariants: what decides is ledger.trust.terms and ledger.trust.finality as the ledger runs them; messages are never
taken back, so each may be lost, late or repeated; a restart changes nothing, because what is told is on disk before.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from ledger.blocks import Header
from ledger.errors import Refusal
from ledger.trust.finality import Vote, Weighted, final_term
from ledger.trust.terms import (
    Base,
    Mandate,
    Promise,
    Signer,
    choose_base,
    follow_mandate,
    is_promised,
    promise_term,
    validate_signing,
)
from ledger.units import blake2b_256

KEEPER, NOTHING, UNSIGNED = bytes(32), bytes(32), bytes(64)

Proposal = tuple["int | Proposal", ...]
"""A block as (term, variant, parent); the genesis is ()."""


class Node(NamedTuple):
    """A validator: its term, the mandate that it follows, what it promised by term and with which vote, what it signed.

    Votes are (term, block). `last` is the one kept for the highest block; `given` names the mandates that hold its
    promise.
    """

    term: int = 0
    follows: int = -1
    last: tuple[int, Proposal] | None = None
    promised: tuple[tuple[int, tuple[int, Proposal] | None], ...] = ()
    given: frozenset[tuple[int, int]] = frozenset()
    signed: frozenset[tuple[int, Proposal]] = frozenset()


class World(NamedTuple):
    """All validators, and the base of each mandate by (term, number)."""

    nodes: tuple[Node, ...]
    bases: tuple[tuple[tuple[int, int], Proposal], ...] = ()


class Scope(NamedTuple):
    """How much is searched."""

    validators: int = 4
    terms: int = 2
    heights: int = 2
    rogues: bool = False
    liars: int = 0
    forgetful: bool = False
    choose: Callable[[Sequence[Promise], Base, Sequence[Weighted]], Base] = choose_base


class Unsafe(AssertionError):
    """Two final blocks that are not on one chain, or a final block that a new term leaves out."""


def height(block: Proposal) -> int:
    """The number of ancestors."""
    return 0 if not block else 1 + height(block[2])  # type: ignore[arg-type]


def chain(block: Proposal) -> list[Proposal]:
    """The block and its ancestors, the genesis last."""
    return [block, *chain(block[2])] if block else [()]  # type: ignore[arg-type]


@cache
def header(block: Proposal) -> Header:
    """The block as the ledger's code sees it."""
    parent = header(block[2]).hash if block else NOTHING  # type: ignore[arg-type]
    return Header(
        height=height(block),
        parent=parent,
        term=block[0] if block else 0,  # type: ignore[arg-type]
        epoch=1,
        kind="open",
        extrinsics_root=blake2b_256(repr(block).encode()),
        receipts_root=NOTHING,
        state_root=NOTHING,
        keeper=KEEPER,
    )


@cache
def base_of(block: Proposal) -> Base:
    """The block as what a term goes on from."""
    return Base(height=height(block), block_hash=header(block).hash)


@cache
def vote_of(hotkey: bytes, vote: tuple[int, Proposal] | None) -> Vote | None:
    """A vote as the ledger's code sees it."""
    if vote is None:
        return None
    term, block = vote
    return Vote(height=height(block), block_hash=header(block).hash, term=term, hotkey=hotkey, signature=UNSIGNED)


class Search:
    """Breadth first over all states of a scope, up to the names of the validators."""

    def __init__(self, scope: Scope, seed: int = 0) -> None:
        self.scope = scope
        self.hotkeys = [bytes([index + 1]) * 32 for index in range(scope.validators)]
        self.set = tuple(Weighted(hotkey=hotkey, stake_rao=1) for hotkey in self.hotkeys)
        self.honest = scope.validators - scope.liars
        self.random = random.Random(seed)
        self.finals_seen = self.taken_over = 0

    def run(self, most: int, finish_share: float = 0.02) -> tuple[int, bool]:
        """Visit the states, at most about so many; how many, and whether that was all. Raises Unsafe."""
        first = World(tuple(Node() for _ in range(self.honest)))
        seen, layer = {first}, [first]
        while layer and len(seen) < most:
            following: list[World] = []
            for world in layer:
                self.check(world)
                if self.random.random() < finish_share:
                    self.finish(world)
                for successor in self.successors(world):
                    if successor not in seen:
                        seen.add(successor)
                        following.append(successor)
            layer = following
        return len(seen), not layer

    def finals(self, world: World) -> list[Proposal]:
        """Every block that votes made final, anywhere; the genesis is."""
        ballots: dict[tuple[int, Proposal], list[bytes]] = {}
        for hotkey, node in zip(self.hotkeys, world.nodes, strict=False):
            for vote in node.signed:
                ballots.setdefault(vote, []).append(hotkey)
        liars = self.hotkeys[self.honest :]
        final = {
            block
            for (term, block), signers in ballots.items()
            if final_term([vote_of(key, (term, block)) for key in (*signers, *liars)], self.set) is not None  # type: ignore[misc]
        }
        return [(), *sorted(final, key=height)]

    def check(self, world: World) -> None:
        """Unsafe unless all final blocks are on one chain."""
        finals = self.finals(world)
        trunk = chain(finals[-1])
        if not set(finals) <= set(trunk):
            raise Unsafe(f"final blocks on several chains: {finals}")
        self.finals_seen = max(self.finals_seen, len(finals) - 1)
        self.taken_over = max(self.taken_over, finals[-1][0] if finals[-1] else 0)  # type: ignore[type-var]

    def successors(self, world: World) -> Iterator[World]:
        """What any one step of anybody leads to."""
        yield from self.promises(world)
        yield from self.mandates(world)
        yield from self.signatures(world)

    def promises(self, world: World) -> Iterator[World]:
        """A validator promises a term to whoever asks, or (`forgetful`) forgets what it promised."""
        for index, node in enumerate(world.nodes):
            if self.scope.forgetful and node.term > 0:
                yield self.moved(world, index, node._replace(term=0, follows=-1, last=None))
            for term in range(1, self.scope.terms + 1):
                try:
                    promise_term(Signer(term=node.term), term)
                except Refusal:
                    continue
                promised = (*(kept for kept in node.promised if kept[0] != term), (term, node.last))
                yield self.moved(world, index, node._replace(term=term, follows=-1, promised=promised))

    def mandates(self, world: World) -> Iterator[World]:
        """Somebody who knows some final block leads a term with any sufficient promises for it."""
        finals = self.finals(world)
        for term in range(1, self.scope.terms + 1):
            number = sum(key[0] == term for key, _ in world.bases)
            if number > self.scope.rogues:
                continue
            told = {
                index: dict(node.promised)[term]
                for index, node in enumerate(world.nodes)
                if term in dict(node.promised) and (self.scope.rogues or not any(t == term for t, _ in node.given))
            }
            for final in finals:
                for chosen, base in self.choices(world, term, told, final):
                    if not self.adoptable(base, final, finals):
                        continue
                    nodes = tuple(
                        node._replace(given=node.given | {(term, number)}) if index in chosen else node
                        for index, node in enumerate(world.nodes)
                    )
                    yield canonical(nodes, (*world.bases, ((term, number), base)))

    def adoptable(self, base: Proposal, final: Proposal, finals: list[Proposal]) -> bool:
        """A keeper adopts a block that follows what it knows to be final."""
        return base == final or (bool(base) and base[2] == final)

    def choices(
        self, world: World, term: int, told: dict[int, tuple[int, Proposal] | None], final: Proposal
    ) -> Iterator[tuple[tuple[int, ...], Proposal]]:
        """Each sufficient set of promises, with the base it leads to; a liar tells of any vote that could have been."""
        known = {block for node in world.nodes for _, block in node.signed} | {final}
        by_hash = {header(block).hash: block for block in known}
        lies = [None, *{vote for node in world.nodes for vote in node.signed if vote[0] < term}]
        for size in range(1, len(told) + 1):
            for chosen in itertools.combinations(sorted(told), size):
                for lie in itertools.product(lies, repeat=self.scope.liars):
                    lasts = [*((self.hotkeys[index], told[index]) for index in chosen)]
                    lasts += list(zip(self.hotkeys[self.honest :], lie, strict=True))
                    promises = [
                        Promise(term=term, hotkey=hotkey, last=vote_of(hotkey, last), signature=UNSIGNED)
                        for hotkey, last in lasts
                    ]
                    if is_promised(term, promises, self.set):
                        base = self.scope.choose(promises, base_of(final), self.set)
                        yield chosen, by_hash[base.block_hash]

    def signatures(self, world: World) -> Iterator[World]:
        """A validator signs what somebody who leads a term proposes: its base, or the next block on a final one."""
        finals = self.finals(world)
        for index, node in enumerate(world.nodes):
            for (term, number), base in (((0, -1), ()), *world.bases):
                for block in self.proposals(term, base, finals):
                    signed = self.sign(world, node, term, number, base, block, finals)
                    if signed is not None:
                        yield self.moved(world, index, signed)

    def proposals(self, term: int, base: Proposal, finals: list[Proposal]) -> list[Proposal]:
        """What a leader with this base may propose now."""
        parents = [block for block in finals if base in chain(block) and height(block) < self.scope.heights]
        variants = 2 if self.scope.rogues else 1
        fresh: list[Proposal] = [(term, variant, parent) for parent in parents for variant in range(variants)]
        return [base, *fresh] if base else fresh

    def sign(
        self, world: World, node: Node, term: int, number: int, base: Proposal, block: Proposal, finals: list[Proposal]
    ) -> Node | None:
        """The validator after it signed, None where it refuses."""
        last = node.last
        if last is not None and height(last[1]) > height(block):
            return None  # the head of its replica is beyond
        if node.follows not in (-1, number) and node.term == term:
            return None  # it follows another mandate of this term, whose base may be the same
        mandate = None if term == 0 else self.mandate(world, term, number, base)
        try:
            signer = Signer(term=node.term, mandate=None, last=vote_of(self.hotkeys[0], last))
            if mandate is not None:
                signer = follow_mandate(signer, mandate)
            elif node.term > 0:
                return None
            parent_final = block[2] in finals
            validate_signing(signer, header(block), height(block) - 1 if parent_final else -1, self.set)
        except Refusal:
            return None
        vote = (term, block)
        return node._replace(term=term, follows=number, last=vote, signed=node.signed | {vote})

    def mandate(self, world: World, term: int, number: int, base: Proposal) -> Mandate:
        """A mandate of the world; its promises were checked when it was given."""
        given = [index for index, node in enumerate(world.nodes) if (term, number) in node.given]
        hotkeys = [*(self.hotkeys[index] for index in given), *self.hotkeys[self.honest :]]
        promises = tuple(Promise(term=term, hotkey=key, last=None, signature=UNSIGNED) for key in hotkeys)
        return Mandate(term=term, base=base_of(base), promises=promises, signature=UNSIGNED)

    def moved(self, world: World, index: int, node: Node) -> World:
        """The world with one validator changed."""
        return canonical((*world.nodes[:index], node, *world.nodes[index + 1 :]), world.bases)

    def finish(self, world: World) -> None:
        """A fresh term with just enough validators goes on to one more block, with every final block below it. Raises
        Unsafe.
        """
        finals, term = self.finals(world), self.scope.terms + 1
        enough = 2 * self.scope.validators // 3 + 1 - self.scope.liars
        awake = self.random.sample(range(self.honest), enough)
        told = {index: world.nodes[index].last for index in awake}
        final = self.random.choice(finals)
        while True:
            bases = [base for chosen, base in self.choices(world, term, told, final) if len(chosen) == enough]
            beyond = [base for base in bases if not self.adoptable(base, final, finals)]
            if not beyond:
                break
            final = beyond[0][2]  # type: ignore[assignment]
        for base in bases:
            if finals[-1] not in chain(base):
                raise Unsafe(f"term {term} goes on from {base} and leaves out {finals[-1]}")
            given = world._replace(
                nodes=tuple(
                    node._replace(given=node.given | {(term, 0)}) if index in awake else node
                    for index, node in enumerate(world.nodes)
                )
            )
            for block in [base, (term, 0, base)] if base not in finals else [(term, 0, base)]:
                for index in awake:
                    node = self.sign(given, given.nodes[index], term, 0, base, block, [*finals, base])
                    if node is None:
                        raise Unsafe(f"term {term} is stuck: {given.nodes[index]} does not sign {block}")
                    nodes = [*given.nodes]
                    nodes[index] = node
                    given = given._replace(nodes=tuple(nodes))


def canonical(nodes: Sequence[Node], bases: Sequence[tuple[tuple[int, int], Proposal]]) -> World:
    """Validators in an order of their own: they differ in nothing but their names."""
    return World(tuple(sorted(nodes, key=repr)), tuple(sorted(bases)))
