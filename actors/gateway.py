"""The gateway: asks remote peers over HTTP for the network's validators.

Invariants:
* whatever a peer does (drips, stalls, sends too much, closes half-way, redirects, names an address inside), it costs
  that peer its answers, and everybody else nothing: each has its own connection and its own share of the time, what is
  read of each is bounded, and all of them together end by the deadline;
* nothing that a peer sends is repeated to people: reasons are this package's own sentences.
"""

import asyncio
import math
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from actors.dispatch import Failure, Reason
from actors.errors import EndpointRefused
from actors.post import find_place, post
from actors.remote_wire import SignatureError, open_reply, reply_bytes, seal_question
from actors.wire import Answer, Query, WireError, sign_query
from ledger.keys import Keypair
from ledger.wallet import Wallet
from models.value.errors import RoundError
from models.value.panel import check_distributions

TRIAL_S = 15.0
"""How long an endpoint may take to answer the question of its trial."""

TRIAL_WINDOWS = 4

_REASONS = {
    "unreachable": Reason.DEAD,
    "closed": Reason.DEAD,
    "http_status": Reason.DEAD,
    "too_slow": Reason.LATE,
}
"""Why a peer has no answer, by the code of what happened; all other codes mean that what it says is invalid."""


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whose key asks, how many peers are asked at a time, and whether they may be on private networks."""

    wallets: str
    operator: str
    at_once: int
    allow_private: bool


class Target(msgspec.Struct, frozen=True):
    """A remote peer: its hotkey and where it answers."""

    hotkey: bytes
    endpoint: str


class Gateway:
    """The plain class behind the gateway actor. None of its methods is a coroutine: Ray would make all of them so."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._keypair = Wallet.open(Path(settings.wallets), settings.operator).hotkey()

    def ping(self) -> int:
        """The process id: the gateway is alive."""
        return os.getpid()

    def ask(
        self, targets: Sequence[Target], deadline_s: float, *queries: Query
    ) -> list[list[Failure | None] | list[Answer]]:
        """Ask every target every query, within the deadline for all of them together.

        Returns:
            first, for each target why it has no answer, or None; then for each target its answers to all queries, none
            where one of them failed.
        """
        settings = self._settings
        asking = _ask_all(targets, deadline_s, queries, self._keypair, settings.at_once, settings.allow_private)
        outcomes = asyncio.run(asking)
        failures = [outcome if isinstance(outcome, Failure) else None for outcome in outcomes]
        return [failures, *([] if isinstance(outcome, Failure) else outcome for outcome in outcomes)]


async def _ask_all(
    targets: Sequence[Target],
    deadline_s: float,
    queries: Sequence[Query],
    keypair: Keypair,
    at_once: int,
    allow_private: bool,
) -> list[list[Answer] | Failure]:
    slots = asyncio.Semaphore(at_once)
    own_s = share_s(len(targets), at_once, deadline_s)

    async def ask(target: Target) -> list[Answer] | Failure:
        async with slots:
            try:
                return await ask_target(target, queries, keypair, deadline_s=own_s, allow_private=allow_private)
            except EndpointRefused as refused:
                return Failure(_REASONS.get(refused.code, Reason.INVALID), refused.sentence)
            except Exception as error:
                # What no rule foresees is this peer's alone too.
                return Failure(Reason.INVALID, f"asking the endpoint failed with {type(error).__name__}")

    return list(await asyncio.gather(*(ask(target) for target in targets)))


def share_s(targets: int, at_once: int, deadline_s: float) -> float:
    """How long one target may take, so that all are asked by the deadline even if each takes as long as it may."""
    return deadline_s / max(1, math.ceil(targets / at_once))


def try_endpoint(
    endpoint: str,
    *,
    hotkey: bytes,
    genesis: bytes,
    asker: Keypair,
    window_bytes: int,
    deadline_s: float,
    allow_private: bool,
) -> None:
    """Ask an endpoint a small question before it is registered.

    Args:
        hotkey: that it should answer for.
        asker: the network's keeper.
        window_bytes: of the network; the prefixes are one byte shorter.
        deadline_s: that the network gives its peers; a trial takes `TRIAL_S` at most.

    Raises:
        EndpointRefused: it does not answer as a remote peer of this network should. Codes: endpoint, unreachable,
            private_address, redirect, http_status, too_slow, too_large, closed, wrong_signature, wrong_answer.
    """
    text_WT = np.random.default_rng().integers(32, 127, (TRIAL_WINDOWS, window_bytes - 1), dtype=np.uint8)
    query = sign_query(asker, genesis=genesis, epoch=0, panel="next_byte", text_WT=text_WT)
    own_s = min(deadline_s, TRIAL_S)
    asking = ask_target(Target(hotkey, endpoint), [query], asker, deadline_s=own_s, allow_private=allow_private)
    for answer in asyncio.run(asking):
        try:
            check_distributions(np.asarray(answer.said))
        except RoundError as error:
            raise EndpointRefused("wrong_answer", f"the endpoint's answer is no distribution: {error}") from None


async def ask_target(
    target: Target, queries: Sequence[Query], keypair: Keypair, *, deadline_s: float, allow_private: bool
) -> list[Answer]:
    """One remote peer's answers to all queries, one after another, within one deadline.

    Raises:
        EndpointRefused: with the code of what happened.
    """
    place = find_place(target.endpoint)
    answers = []
    try:
        async with asyncio.timeout(deadline_s):
            for query in queries:
                question = seal_question(query, keypair, receiver=target.hotkey, valid_for_s=deadline_s)
                size = reply_bytes(len(query.text_WT))
                reply = await post(place, question, size=size, allow_private=allow_private)
                answers.append(open_reply(reply, question=question, query=query, receiver=target.hotkey))
    except TimeoutError:
        raise EndpointRefused("too_slow", f"the endpoint did not answer within {deadline_s:g} s") from None
    except SignatureError as error:
        raise EndpointRefused("wrong_signature", str(error)) from None
    except WireError as error:
        raise EndpointRefused("wrong_answer", str(error)) from None
    return answers
