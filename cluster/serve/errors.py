"""What the server itself refuses, and how every refusal travels.

Invariants: a refusal is one JSON object {kind, code, sentence}; what a network raises on one side comes out of the
client as the same exception on the other.
"""

import os
from pathlib import Path

from msgspec import Struct

from actors.errors import EndpointRefused
from cluster.errors import ClusterError
from ledger.errors import REFUSALS, InvalidKey, LedgerError, Pruned, Refusal, StoreError
from models.errors import ModelRefused, ModelsError

HTTP_REFUSALS: dict[str, tuple[int, str]] = {
    "bad_request": (400, "A part of the request cannot be read; mend the one that the sentence names."),
    "body_changed": (400, "The body is not the one that was signed; send it again."),
    "body_slow": (408, "The body did not come in time; send smaller chunks."),
    "body_too_large": (413, "The body is longer than this route takes; send less at a time."),
    "busy": (503, "The server does as much as it may at once; try again later."),
    "check_failed": (500, "The check of an upload broke off, through no fault of the model; finish it again."),
    "hash_mismatch": (409, "A file is not what its manifest says and was taken away; send it again, then finish."),
    "incomplete": (409, "Bytes of the upload are missing; send them, then finish."),
    "no_account": (403, "The signer has no TAO and no neuron here; fund it first."),
    "no_room": (507, "The server's disk has no room for the upload; try again later."),
    "no_upload": (404, "The key has no such upload here, or it expired; begin it."),
    "not_found": (404, "There is nothing at this address; read /openapi.json."),
    "rate_limited": (429, "Too much was asked in too short a time; wait as long as Retry-After says."),
    "replayed": (401, "This request was sent before; sign each anew."),
    "server_error": (500, "The server failed; its log says why."),
    "stale": (401, "The request's time is not the server's; set the clock, and sign when you send."),
    "too_many_uploads": (429, "The key has as many uploads as it may; finish one first."),
    "unsigned": (401, "A header of the signature is missing or cannot be read; send all five."),
    "wrong_method": (405, "This address takes another method; read /openapi.json."),
    "wrong_offset": (409, "The chunk does not begin where the file ends; go on from there."),
    "wrong_signature": (401, "The signature does not verify; sign for this network, method, address, time and body."),
}
"""By code: the HTTP status, what is wrong, and after the semicolon what to do."""


class HttpRefused(ClusterError):
    """The server refuses a request for what it is, or how often it comes.

    Attributes:
        code: stable, one of HTTP_REFUSALS.
        wait_s: after how long it may come again, None where that does not help.
    """

    def __init__(self, code: str, sentence: str, wait_s: float | None = None) -> None:
        if code not in HTTP_REFUSALS:
            raise ValueError(f"refusal code {code!r} is not listed in HTTP_REFUSALS")
        super().__init__(code, sentence, wait_s)
        self.code = code
        self.sentence = sentence
        self.wait_s = wait_s

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"


class Problem(Struct, frozen=True, kw_only=True):
    """A refusal as it travels. `kind` is the exception's name, `code` is empty where it has none."""

    kind: str
    code: str
    sentence: str


def problem_of(error: Exception, *private: Path) -> Problem:
    """How an error of the network travels; folders that are nobody's business are not named in it."""
    code, sentence = getattr(error, "code", ""), getattr(error, "sentence", "") or str(error)
    for folder in private:
        sentence = sentence.replace(f"{folder}{os.sep}", "").replace(str(folder), "the folder")
    return Problem(kind=type(error).__name__, code=code, sentence=sentence)


def status_of(error: Exception) -> int:
    """The HTTP status of an error of the network."""
    match error:
        case HttpRefused():
            return HTTP_REFUSALS[error.code][0]
        case Refusal() | ModelRefused() | EndpointRefused():
            return 422
        case InvalidKey():
            return 400
        case Pruned():
            return 410
        case StoreError():
            return 404
    return 503


def error_of(problem: Problem, wait_s: float | None = None) -> Exception:
    """The error that travelled. What this version does not know comes out as a ClusterError that says the same."""
    if problem.kind == "Refusal" and problem.code in REFUSALS:
        return Refusal(problem.code, problem.sentence)
    if problem.kind == "ModelRefused":
        return ModelRefused(problem.code, problem.sentence)
    if problem.kind == "EndpointRefused":
        return EndpointRefused(problem.code, problem.sentence)
    if problem.kind == "HttpRefused" and problem.code in HTTP_REFUSALS:
        return HttpRefused(problem.code, problem.sentence, wait_s)
    if problem.kind == "InvalidKey":
        return InvalidKey(problem.sentence)
    said = f"{problem.code}: {problem.sentence}" if problem.code else problem.sentence
    return ClusterError(f"the network refuses: {said}")


NETWORK_ERRORS = (ClusterError, LedgerError, ModelsError, EndpointRefused)
"""What a request may raise in normal operation."""
