"""One HTTP POST to somebody who is not trusted, whose reply has a size that is known beforehand.

Invariants:
* what is read is bounded before it is read: a head of at most `HEAD_BYTES`, then exactly the body that was expected;
* what HTTP allows beyond that is refused: interim replies, chunks, compression, redirects, replies without a length. A
  general client goes along with all of it at the sender's pace: eight peers that send `100 Continue` without end kept
  one such client busy for the whole time in which it had honest replies to read;
* no proxy, cookie or password of this machine is used.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote, urlsplit

from actors.addresses import AddressRefused, connect
from actors.errors import EndpointRefused

HEAD_BYTES = 16_384
"""The longest head of a reply."""

CONTENT_TYPE = "application/vnd.taoray.question+msgpack"

_NO_ENDPOINT = "the endpoint is no address of the form https://host:port/path"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?")
_PORTS = {"http": 80, "https": 443}
_SAFE = "/%:@!$&'()*+,;=~"
_HOST = re.compile(r"[a-z0-9_.-]{1,253}|[0-9a-f:.]{2,45}")
_UNSEEN = re.compile(r"[\x00-\x20\x7f-\x9f]")


@dataclass(frozen=True)
class Place:
    """Where an endpoint is: host in ASCII, port, path with query, whether behind TLS."""

    host: str
    port: int
    path: str
    tls: bool

    @property
    def head_name(self) -> str:
        """Host and port as a head names them: the usual port goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"


def find_place(endpoint: str) -> Place:
    """Take an endpoint apart. Raises EndpointRefused with the code `endpoint` where it is none."""
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
        host = host if ":" in host else host.encode("idna").decode("ascii")
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        raise EndpointRefused("endpoint", _NO_ENDPOINT) from None
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host) or not port or _UNSEEN.search(endpoint):
        raise EndpointRefused("endpoint", _NO_ENDPOINT)
    if parts.username is not None or parts.password is not None:
        raise EndpointRefused("endpoint", "the endpoint's address has a user or a password; the ledger is public")
    query = f"?{quote(parts.query, safe=_SAFE + '?')}" if parts.query else ""
    path = quote(parts.path or "/", safe=_SAFE) + query
    return Place(host, port, path, parts.scheme == "https")


async def post(place: Place, body: bytes, *, size: int, allow_private: bool) -> bytes:
    """Post a body, and read a reply of exactly `size` bytes. The caller bounds the time.

    Raises:
        EndpointRefused: with the code of what happened.
    """
    reader, writer = await _open(place, allow_private)
    try:
        head = (
            f"POST {place.path} HTTP/1.1\r\nHost: {place.head_name}\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii"))
        writer.write(body)
        await writer.drain()
        check_head(await reader.readuntil(b"\r\n\r\n"), size)
        return await reader.readexactly(size)
    except asyncio.LimitOverrunError:
        raise EndpointRefused("http_status", f"the endpoint's reply has a head above {HEAD_BYTES} bytes") from None
    except asyncio.IncompleteReadError as error:
        how = "before it answered" if error.expected is None and not error.partial else "half-way"
        raise EndpointRefused("closed", f"the endpoint closed the connection {how}") from None
    except OSError as error:
        raise EndpointRefused("closed", f"the endpoint closed the connection ({type(error).__name__})") from None
    finally:
        writer.transport.abort()


async def _open(place: Place, allow_private: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a place, encrypted where it says so."""
    try:
        made = await connect(place.host, place.port, allow_private=allow_private)
        return await asyncio.open_connection(
            sock=made,
            limit=HEAD_BYTES,
            ssl=secure_context() if place.tls else None,
            server_hostname=place.host if place.tls else None,
        )
    except AddressRefused as error:
        raise EndpointRefused("private_address", f"the endpoint is at an address that is not asked: {error}") from None
    except ssl.SSLCertVerificationError:
        raise EndpointRefused("unreachable", "the endpoint's certificate is not one for its name") from None
    except ssl.SSLError:
        raise EndpointRefused("unreachable", "the endpoint does not speak TLS as it should") from None
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        raise EndpointRefused("unreachable", f"the endpoint cannot be reached: {why}") from None


def check_head(head: bytes, size: int) -> None:
    """Whether a reply's head announces a body of this size and nothing else. Raises EndpointRefused."""
    first, *lines = head.split(b"\r\n")
    matched = _STATUS.fullmatch(first)
    if matched is None:
        raise EndpointRefused("http_status", "the endpoint does not speak HTTP as it should")
    status = int(matched[1])
    if 300 <= status < 400:
        raise EndpointRefused("redirect", "the endpoint answers with a redirect, which is not followed")
    if status != 200:
        raise EndpointRefused("http_status", f"the endpoint answers with HTTP status {status}: its log says why")
    fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    if any(name in (b"transfer-encoding", b"content-encoding") and value != b"identity" for name, value in fields):
        raise EndpointRefused("wrong_answer", "the endpoint's answer is in chunks or compressed; send it as it is")
    lengths = {value for name, value in fields if name == b"content-length"}
    if len(lengths) != 1 or not (told := lengths.pop()).isdigit() or len(told) > 18:
        raise EndpointRefused("wrong_answer", "the endpoint's answer does not say how long it is")
    if int(told) > size:
        raise EndpointRefused("too_large", f"the endpoint's answer has {int(told)} bytes, above the {size} expected")
    if int(told) < size:
        raise EndpointRefused("wrong_answer", f"the endpoint's answer has {int(told)} bytes, expected {size}")


@cache
def secure_context() -> ssl.SSLContext:
    """Certificates of the machine, or of `SSL_CERT_FILE`; names are checked."""
    return ssl.create_default_context()
