"""Where an endpoint is, and what a reply's head may say."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import EndpointRefused
from actors.post import Place, check_head, find_place

SIZE = 1000


@pytest.mark.parametrize(
    "endpoint",
    [
        *("ftp://a.example/", "http://", "http://:80/", "http://a.example:99999/", "http://u:p@a.example/", "//a", ""),
        *("https://[", "https://a.example/a b", "https://a.example/\r\nHost: b", "http://" + "a" * 64, "http://a..b/"),
        *("http://\u00b4/", "http://a\u3000b/", "http://a%20b/", "http://a%0d%0aHost:b/", "http://a\\b/"),
    ],
)
def test_what_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(EndpointRefused) as caught:
        find_place(endpoint)
    assert caught.value.code == "endpoint"


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("http://a.example", Place("a.example", 80, "/", tls=False)),
        ("https://A.example:8443/x/y?q=1&r", Place("a.example", 8443, "/x/y?q=1&r", tls=True)),
        ("https://[2606:4700::1]/", Place("2606:4700::1", 443, "/", tls=True)),
        ("https://b\u00fccher.example/\u00fc%20#part", Place("xn--bcher-kva.example", 443, "/%C3%BC%20", tls=True)),
    ],
)
def test_where_an_endpoint_is(endpoint: str, place: Place) -> None:
    assert find_place(endpoint) == place


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("http://a.example/", "a.example"),
        ("https://a.example:443/", "a.example"),
        ("http://a.example:443/", "a.example:443"),
        ("https://[::1]:8/", "[::1]:8"),
    ],
)
def test_how_a_head_names_the_host(endpoint: str, name: str) -> None:
    assert find_place(endpoint).head_name == name


def head(*fields: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join((status, *fields, "", "")).encode()


@pytest.mark.parametrize("field", ["Content-Length: 1000", "content-length:1000", "CONTENT-LENGTH : 1000 "])
@pytest.mark.parametrize("status", ["HTTP/1.1 200 OK", "HTTP/1.0 200 Fine", "HTTP/1.1 200", "HTTP/1.1 200 "])
def test_what_is_said_plainly_is_read(field: str, status: str) -> None:
    check_head(head("Server: x", field, "Content-Encoding: identity", status=status), SIZE)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ((), "wrong_answer"),
        (("Content-Length: 999",), "wrong_answer"),
        (("Content-Length: 1001",), "too_large"),
        (("Content-Length: -1",), "wrong_answer"),
        (("Content-Length: 0x3e8",), "wrong_answer"),
        (("Content-Length: +1000",), "wrong_answer"),
        (("Content-Length: 1_000",), "wrong_answer"),
        (("Content-Length: " + "1" * 5000,), "wrong_answer"),
        (("Content-Length: 1000", "Content-Length: 1001"), "wrong_answer"),
        (("Content-Length: 1000, 1000",), "wrong_answer"),
        (("Content-Length: 1000", "Transfer-Encoding: chunked"), "wrong_answer"),
        (("Content-Length: 1000", "Content-Encoding: gzip"), "wrong_answer"),
    ],
)
def test_a_body_of_another_size_is_not_read(fields: tuple[str, ...], code: str) -> None:
    with pytest.raises(EndpointRefused) as caught:
        check_head(head(*fields), SIZE)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((f"HTTP/1.1 {number} x", "http_status") for number in (100, 101, 103, 201, 204, 206, 400, 401, 404, 503)),
        *((f"HTTP/1.1 {number} x", "redirect") for number in (301, 302, 303, 307, 308)),
        *((status, "http_status") for status in ("HTTP/2 200 OK", "HTTP/1.1 2000 OK", "200 OK", "", "HTTP/1.1 200OK")),
    ],
)
def test_another_status_is_no_answer(status: str, code: str) -> None:
    with pytest.raises(EndpointRefused) as caught:
        check_head(head("Content-Length: 1000", status=status), SIZE)
    assert caught.value.code == code


@given(st.binary(max_size=200))
def test_any_head_is_refused_in_so_many_words(data: bytes) -> None:
    for some in (data, b"HTTP/1.1 200 OK\r\n" + data):
        with pytest.raises(EndpointRefused):
            check_head(some, SIZE)


@settings(max_examples=500)
@given(st.text(max_size=80))
def test_any_text_is_an_endpoint_or_refused(text: str) -> None:
    for some in (text, f"https://{text}", f"https://a.example{text}"):
        with suppress(EndpointRefused):
            place = find_place(some)
            assert (place.host + place.path).isascii()
            assert not {" ", "\r", "\n"} & {*place.host, *place.path}
