"""docs/http.md against the code: addresses, headers, refusals, bounds."""

import re
from pathlib import Path

from cluster.serve import checks, routes, server, service, upload, uploads
from cluster.serve.errors import HTTP_REFUSALS
from cluster.serve.routes import ROUTES
from cluster.serve.signing import BODY, HTTP_DOMAIN, KEY, NONCE, SIGNATURE, TIME

PAGE = (Path(__file__).parents[3] / "docs" / "http.md").read_text(encoding="utf-8")


def test_every_address_stands_in_the_page_with_its_query() -> None:
    rows = re.findall(r"^\| `(\w+) (/[^`]+)` \|([^|]*)\| (.+) \|$", PAGE, flags=re.MULTILINE)
    written = [(method, path, re.findall(r"`(\w+)`", query), "Signed" in says) for method, path, query, says in rows]
    assert written == [(route.method, route.path, [name for name, _ in route.query], route.signed) for route in ROUTES]


def test_every_refusal_stands_in_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \|$", PAGE, flags=re.MULTILINE)
    assert rows == [(code, str(status), sentence) for code, (status, sentence) in HTTP_REFUSALS.items()]
    assert list(HTTP_REFUSALS) == sorted(HTTP_REFUSALS)


def test_the_signature_is_described() -> None:
    for name in (KEY, TIME, NONCE, BODY, SIGNATURE):
        assert f"| `{name}` |" in PAGE
    assert f'"{HTTP_DOMAIN.decode()}"' in PAGE


def test_the_bounds_are_those_of_the_code() -> None:
    for bound in (
        f"| an upload that rests for {upload.REST_S / 60:.0f} minutes, or brings less than "
        f"{upload.LEAST_BYTES_PER_S >> 10} KiB a second after the first {upload.REST_S / 60:.0f} |",
        f"| checks | one at a time; {checks.CHECK_S_AN_HOUR / 60:.0f} minutes an hour of one key's |",
        f"| {upload.CHUNK_BYTES >> 20} MiB, {routes.MANIFEST_BYTES / (1 << 20):.1f} MiB,",
        f"| {service.EXTRINSICS_PER_MINUTE} a minute, with a nonce up to {service.NONCES_AHEAD} ahead",
        f"| {service.TRIALS_PER_MINUTE} a minute for an address, {service.TRIALS_AT_ONCE} at once |",
        f"| {service.MOST_STREAMS}, {service.STREAMS_PER_ADDRESS} of an address |",
        f"| {server.MOST_CONNECTIONS}, {server.CONNECTIONS_PER_ADDRESS} of an address; {server.HEAD_S:.0f} s for the "
        f"head of a request, which has at most {server.HEAD_BYTES >> 10} KiB, {server.WRITE_S:.0f} s for a reader",
    ):
        assert bound in PAGE
    assert uploads.UPLOADS_PER_KEY == 2
    assert upload.KEPT_S == upload.REST_S
