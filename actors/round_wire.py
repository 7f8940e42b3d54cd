"""What is weighed of a cohort's round, and what a host answers: which updates count, and what each is worth.

Invariants:
* a host measures, a validator judges: the answer has the bits of every group of windows, and the validator, who alone
  knows which documents they are from, sums them;
* the answer repeats what was asked, so its validator can compare every hash in it with the ledger;
* a signature covers the query, the request and every figure; nothing here trusts a sender.

Legend: U updates, W windows that were weighed, G groups of them.
"""

import hashlib
import math
from collections.abc import Collection
from itertools import chain

import msgspec

from actors.wire import Query, WireError
from ledger.keys import Keypair, verify
from models.train.cohort import OuterSettings

WEIGH_DOMAIN = b"taoray/weigh/1"
PAGES_PERSON = b"taoray/pages"


class Entrant(msgspec.Struct, frozen=True, kw_only=True):
    """A contribution of the open block, and the pages that its member was to train on."""

    uid: int
    parameters: bytes
    payload: bytes
    page_seed: bytes
    strata: tuple[str, ...]


class WeighRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A cohort's round, as a host is asked to weigh it.

    Attributes:
        cohort: its name. first: manifest of the version that it began with. outer: its rules.
        manifest, parameters, accepted: the ledger's row before the round is closed: the version with the last round's
            parameters, their hash (None: no round has been yet), and by uid the payloads that lead on from them.
        entrants: contributions of the open block, in the order in which they were committed to.
        windows: how many windows of the query are weighed on. nodes: of the quadrature.
        check_pages: pages of each member, and others, that its gain is compared on. pages, page_bytes: that a member
            trains on in a round.
    """

    cohort: bytes
    first: bytes
    manifest: bytes
    parameters: bytes | None
    accepted: tuple[tuple[int, bytes], ...]
    outer: OuterSettings
    entrants: tuple[Entrant, ...]
    windows: int
    nodes: int
    check_pages: int
    pages: int
    page_bytes: int


class Along(msgspec.Struct, frozen=True, kw_only=True):
    """What updates are worth along one path.

    Attributes:
        uids: ascending.
        bits_UG: by how many bits each update shortens the text of each group of windows.
        path_bits, measured_bits: what the whole path brings per byte, by the values and by the loss at its ends.
    """

    uids: tuple[int, ...] = ()
    bits_UG: tuple[tuple[float, ...], ...] = ()
    path_bits: float = 0.0
    measured_bits: float = 0.0


class WeighAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a host says of a round.

    Attributes:
        query: digest of the validator's query. request: what was asked.
        parameters, manifest: of θ, which the round begins at: derived from the row and the accepted payloads.
        window_W: which windows of the query were weighed on. group_W: the group of each, ascending from 0.
        bytes_G: bytes of each group that are predicted.
        first: of the entrants, to the joint step of those that count. applied: of the accepted, along the way to θ.
        refused: uid, code and sentence of each entrant that does not count.
        signer, signature: of the operator, over all of the above.
    """

    query: bytes
    request: WeighRequest
    parameters: bytes
    manifest: bytes
    window_W: tuple[int, ...]
    group_W: tuple[int, ...]
    bytes_G: tuple[int, ...]
    first: Along
    applied: Along
    refused: tuple[tuple[int, str, str], ...]
    signer: bytes = b""
    signature: bytes = b""

    @property
    def digest(self) -> bytes:
        """BLAKE2b-256 of everything but the signature."""
        unsigned = msgspec.structs.replace(self, signer=b"", signature=b"")
        return hashlib.blake2b(WEIGH_DOMAIN + msgspec.msgpack.encode(unsigned), digest_size=32).digest()


def page_seed(close_hash: bytes, hotkey: bytes) -> bytes:
    """From which a peer's pages of an epoch are assigned: nobody knows it before the last epoch has closed."""
    return hashlib.blake2b(close_hash + hotkey, digest_size=32, person=PAGES_PERSON).digest()


def sign_weighed(keypair: Keypair, answer: WeighAnswer) -> WeighAnswer:
    """The answer with the operator's signature."""
    signature = keypair.sign(WEIGH_DOMAIN + answer.digest)
    return msgspec.structs.replace(answer, signer=keypair.public, signature=signature)


def check_weighed(answer: WeighAnswer, query: Query, *, operator: bytes) -> None:
    """Raise WireError unless the answer is to this query, whole, of agreeing sizes, and signed by the operator."""
    if answer.query != query.digest:
        raise WireError("what was weighed is of another query")
    if answer.signer != operator or not verify(operator, WEIGH_DOMAIN + answer.digest, answer.signature):
        raise WireError("what was weighed is not signed by the network's operator")
    windows = answer.window_W
    if sorted(set(windows)) != list(windows) or not all(0 <= window < len(query.text_WT) for window in windows):
        raise WireError("what was weighed names windows that the query has not")
    groups = len(answer.bytes_G)
    if len(answer.group_W) != len(windows) or sorted(set(answer.group_W)) != list(range(groups)):
        raise WireError("what was weighed does not say which group each window is of")
    if not groups or min(answer.bytes_G) <= 0:
        raise WireError("what was weighed has no text")
    entrants = {entrant.uid for entrant in answer.request.entrants}
    _check_along(answer.first, groups, entrants - {uid for uid, _, _ in answer.refused})
    _check_along(answer.applied, groups, {uid for uid, _ in answer.request.accepted})


def _check_along(along: Along, groups: int, known: Collection[int]) -> None:
    if sorted(set(along.uids)) != list(along.uids) or not set(along.uids) <= set(known):
        raise WireError("what was weighed has values of updates that it was not asked about")
    if len(along.bits_UG) != len(along.uids) or any(len(bits_G) != groups for bits_G in along.bits_UG):
        raise WireError("what was weighed has not one value for each update and group")
    if not all(map(math.isfinite, chain((along.path_bits, along.measured_bits), *along.bits_UG))):
        raise WireError("what was weighed has values that are no numbers")
