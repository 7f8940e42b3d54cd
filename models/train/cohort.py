"""The rules of a cohort: how the updates of its members become one step of its shared parameters θ.

Invariants: frozen; every bound is in its type; imports no torch; the rules are part of the cohort's name, so that who
contributes to a cohort, and who values it, takes the same steps.
"""

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

COHORT_DOMAIN = b"taoray/cohort/1"
CHUNK = 4096
"""Coordinates among which the largest are chosen: a position in a chunk has 12 bits."""


class OuterSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One round in the manner of DiLoCo (Douillard et al. 2023, arXiv:2311.08105), with sparse and quantised updates.

    The defaults did best of what was tried (benchmarks/training.py): the mean of many AdamW steps is shorter than one
    step on the mean gradient, so the rate is above 1; what was not sent is soon found again by local steps.

    Attributes:
        rate: outer learning rate.
        momentum: Nesterov momentum of the outer step; 0: none.
        senders_floor: a coordinate of the step is divided by the number of its senders, at least by this share of all
            contributors, so that one sender alone does not have its full weight.
        keep: coordinates that are sent of each chunk of 4096; 4096: all of them, as float32.
        error_decay: what stays, from round to round, of what was not sent.
    """

    rate: Annotated[float, Meta(gt=0.0, le=4.0)] = 3.0
    momentum: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0
    senders_floor: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.25
    keep: Annotated[int, Meta(ge=1, le=CHUNK)] = 64
    error_decay: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.2

    @property
    def dense(self) -> bool:
        """Whether updates are sent whole."""
        return self.keep == CHUNK


def cohort_id(manifest: bytes, outer: OuterSettings) -> bytes:
    """The name of a cohort on the ledger, 32 bytes: BLAKE2b of what it begins with and of its rules.

    Args:
        manifest: manifest hash of the version with its first parameters, 32 bytes.
    """
    return hashlib.blake2b(COHORT_DOMAIN + manifest + msgspec.msgpack.encode(outer), digest_size=32).digest()
