"""A host weighs a cohort's round: which updates count, and what each brings on a validator's own windows.

Invariants: it derives θ from the ledger's row by itself, as every member does; which pages of a member are looked at
nobody can know before the validator has asked; it judges nothing: figures go out by groups of windows.

Legend: W windows of T bytes, P pages.
"""

import hashlib
from pathlib import Path

import numpy as np

from actors.miner import put_model
from actors.parameters import load_standing, read_payloads
from actors.round_wire import Along, Entrant, WeighAnswer, WeighRequest
from actors.wire import Query
from models.store import Store
from models.text.corpus import Bytes, Corpus
from models.text.windows import draw_pages
from models.train.layout import write_vector
from models.train.payload import payload_bytes
from models.train.round import Check, Committed, Round, weigh_round
from models.train.update_value import BATCH, UpdateValues


def weigh(
    request: WeighRequest, query: Query, *, store: Store, corpus: Corpus, contributions: Path, device: str
) -> WeighAnswer:
    """Weigh a round; the answer is not signed yet.

    Raises:
        StoreError, ModelRefused, TrainingError: as `load_standing`.
        TextError: there are no pages of the length that members train on.
    """
    standing = load_standing(
        request.manifest,
        request.parameters,
        dict(request.accepted),
        request.outer,
        store=store,
        contributions=contributions,
        device=device,
    )
    window_W = evenly(len(query.text_WT), request.windows)
    group_W = np.arange(len(window_W)) // BATCH
    round_ = Round(
        theta_P=standing.theta_P,
        accepted=standing.accepted,
        committed=[Committed(each.uid, each.parameters, each.payload) for each in request.entrants],
        payloads=read_payloads(
            contributions,
            {each.uid: each.payload for each in request.entrants},
            payload_bytes(standing.layout, request.outer.keep),
        ),
    )
    check = Check(
        text_WT=query.text_WT[window_W],
        groups_W=group_W,
        pages={each.uid: _assigned(each, request, query, corpus) for each in request.entrants},
        random_KT=_others(request, query, corpus),
        nodes=request.nodes,
    )
    weighed = weigh_round(standing.model, standing.layout, round_, check, request.outer)
    write_vector(standing.model, weighed.theta_P)
    manifest = put_model(standing.model, store) if request.accepted else request.manifest
    return WeighAnswer(
        query=query.digest,
        request=request,
        parameters=weighed.parameters,
        manifest=manifest,
        window_W=tuple(window_W.tolist()),
        group_W=tuple(group_W.tolist()),
        bytes_G=tuple((np.bincount(group_W) * (query.text_WT.shape[1] - 1)).tolist()),
        first=_along(weighed.first),
        applied=_along(weighed.applied),
        refused=tuple((uid, each.code, each.sentence) for uid, each in sorted(weighed.refused.items())),
    )


def evenly(count: int, wanted: int) -> np.ndarray:
    """So many indices of `count`, as far as there are any, evenly spread: windows stand by stratum."""
    wanted = min(count, wanted)
    return np.arange(wanted) * count // max(1, wanted)


def _assigned(entrant: Entrant, request: WeighRequest, query: Query, corpus: Corpus) -> Bytes:
    """Some of the pages that a member was to train on; which ones, only this query says."""
    pages_PT = _pages(request, entrant.page_seed, entrant.strata, corpus)
    seed = hashlib.blake2b(query.signature + entrant.page_seed, digest_size=8).digest()
    chosen = np.random.default_rng(int.from_bytes(seed, "little")).permutation(len(pages_PT))
    return pages_PT[np.sort(chosen[: request.check_pages])]


def _others(request: WeighRequest, query: Query, corpus: Corpus) -> Bytes:
    """As many pages that nobody was to train on, of the members' strata."""
    strata = () if any(not each.strata for each in request.entrants) else request.entrants
    names = tuple(name for each in strata for name in each.strata)
    seed = hashlib.blake2b(query.signature, digest_size=32, person=b"taoray/random").digest()
    return _pages(request, seed, names, corpus)[: request.check_pages]


def _pages(request: WeighRequest, seed: bytes, strata: tuple[str, ...], corpus: Corpus) -> Bytes:
    known = corpus.known_strata(strata) or None
    return draw_pages(corpus, seed, strata=known, pages=request.pages, page_bytes=request.page_bytes)


def _along(values: UpdateValues | None) -> Along:
    """Values for the wire; an update under which the loss is no number is worth nothing."""
    if values is None:
        return Along()
    finite_U1 = np.isfinite(values.bits_UG).all(axis=1, keepdims=True)
    bits_UG = tuple(tuple(bits_G) for bits_G in np.where(finite_U1, values.bits_UG, 0.0).tolist())
    return Along(
        uids=values.uids,
        bits_UG=bits_UG,
        path_bits=float(np.nan_to_num(values.path_bits)),
        measured_bits=float(np.nan_to_num(values.measured_bits)),
    )
