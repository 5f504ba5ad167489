"""What people and programs send by mistake or malice: each has its own answer, none is a 5xx, and the server goes on."""

import re
import struct
import zlib

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.images import encoded
from tests.support.server import Connection, Server, problem_of

MULTIPART = "multipart/form-data; boundary=X"


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10_000)) + chunk(b"IEND", b"")


def form(*parts: str) -> bytes:
    """A multipart body with the boundary X."""
    return "".join(f"--X\r\nContent-Disposition: form-data; {part}\r\n" for part in parts).encode() + b"--X--\r\n"


JPEG = encoded("JPEG", 200, 150)
PNG = encoded("PNG", 200, 150)
HUGE = "9" * 5000
"""More digits than Python makes an int of."""

BODIES: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "empty": (b"", {}, 400, "empty-image"),
    "text": (b"hello", {}, 415, "unsupported-image"),
    "json": (b'{"image": "..."}', {"Content-Type": "application/json"}, 415, "unsupported-image"),
    "pdf": (b"%PDF-1.7\n", {}, 415, "unsupported-image"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {}, 415, "unsupported-image"),
    "base64": (b"/9j/4AAQSkZJRgABAQ", {}, 415, "unsupported-image"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], {}, 422, "broken-image"),
    "the start of a JPEG": (JPEG[:20], {}, 422, "broken-image"),
    "half a PNG": (PNG[: len(PNG) // 2], {}, 422, "broken-image"),
    "the start of a PNG": (PNG[:12], {}, 422, "broken-image"),
    "one pixel": (encoded("PNG", 1, 1), {}, 422, "image-too-small"),
    "a line": (encoded("PNG", 2000, 2), {}, 422, "image-too-small"),
    "no pixel": (png_bomb(0, 0), {}, 422, "image-too-small"),
    "a bomb": (png_bomb(60_000, 60_000), {}, 413, "image-too-large"),
    "one pixel too many": (png_bomb(5001, 5000), {}, 413, "image-too-large"),
    "multipart without a boundary": (form(), {"Content-Type": "multipart/form-data"}, 400, "bad-multipart"),
    "multipart with an empty boundary": (form(), {"Content-Type": "multipart/form-data; boundary="}, 400, "bad-multipart"),
    "multipart with another boundary": (
        form('name="image"; filename="a"\r\n\r\nx'),
        {"Content-Type": MULTIPART + "Y"},
        400,
        "bad-multipart",
    ),
    "multipart of garbage": (b"\xff" * 1000, {"Content-Type": MULTIPART}, 400, "bad-multipart"),
    "multipart that is empty": (form(), {"Content-Type": MULTIPART}, 400, "bad-multipart"),
    "multipart without a byte": (b"", {"Content-Type": MULTIPART}, 400, "empty-image"),
    "multipart without an end": (
        form('name="image"; filename="a"\r\n\r\nx')[:-9],
        {"Content-Type": MULTIPART},
        400,
        "bad-multipart",
    ),
    "multipart without a name": (form('filename="a"\r\n\r\nx\r\n'), {"Content-Type": MULTIPART}, 400, "bad-multipart"),
    "multipart with another part": (
        form('name="file"; filename="a"\r\n\r\nx\r\n'),
        {"Content-Type": MULTIPART},
        400,
        "bad-multipart",
    ),
    "multipart with a field": (form('name="image"\r\n\r\nx\r\n'), {"Content-Type": MULTIPART}, 400, "bad-multipart"),
    "multipart with two files": (
        form(*['name="image"; filename="a"\r\n\r\nx\r\n'] * 2),
        {"Content-Type": MULTIPART},
        400,
        "bad-multipart",
    ),
    "multipart with many fields": (form(*['name="f"\r\n\r\nx\r\n'] * 50), {"Content-Type": MULTIPART}, 400, "bad-multipart"),
    "multipart with an empty file": (form('name="image"; filename=""\r\n\r\n'), {"Content-Type": MULTIPART}, 400, "empty-image"),
    "multipart with text": (
        form('name="image"; filename="a"\r\n\r\nx\r\n'),
        {"Content-Type": MULTIPART},
        415,
        "unsupported-image",
    ),
    "multipart with an odd charset": (
        form('name="i"\r\n\r\nx\r\n'),
        {"Content-Type": MULTIPART + "; charset=punycode"},
        400,
        "bad-multipart",
    ),
    "multipart/mixed": (form('name="file"\r\n\r\nx\r\n'), {"Content-Type": "multipart/mixed; boundary=X"}, 400, "bad-multipart"),
    **{
        f"the deadline {value[:20]!r}": (JPEG, {"X-Deadline-Ms": value}, 422, "bad-parameter")
        for value in ("", "0", "-5", "1.5", "soon", "1e3", "+5", "0x10", "1_000", "²", HUGE)
    },
}


@pytest.fixture(autouse=True)
def _unharmed(still_healthy: None) -> None:
    """Nothing here may harm the server."""


@pytest.mark.parametrize("path", ["/v1/classify?backend=tiny", "/v1/compare"])
@pytest.mark.parametrize(("body", "headers", "status", "code"), BODIES.values(), ids=BODIES.keys())
def test_a_bad_body_has_its_own_problem(
    client: httpx.Client, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    response = client.post(path, content=body, headers=[(name.encode(), value.encode()) for name, value in headers.items()])
    assert (response.status_code, problem_of(response)) == (status, code), response.text


QUERIES = {
    "/v1/classify?backend=other": (404, "unknown-backend"),
    "/v1/classify?backend=%00%ff": (404, "unknown-backend"),
    "/v1/classify?backend=tiny&version=99": (404, "unknown-version"),
    "/v1/classify?backend=tiny&version=latest": (404, "unknown-version"),
    "/v1/classify?backend=tiny&version=": (404, "unknown-version"),
    "/v1/classify?top=0": (422, "bad-parameter"),
    "/v1/classify?top=-1": (422, "bad-parameter"),
    "/v1/classify?top=1001": (422, "bad-parameter"),
    "/v1/classify?top=many": (422, "bad-parameter"),
    "/v1/classify?top=": (422, "bad-parameter"),
    f"/v1/classify?top={HUGE}": (422, "bad-parameter"),
    "/v1/classify?bakcend=tiny": (422, "bad-parameter"),
    "/v1/compare?top=0": (422, "bad-parameter"),
    "/v1/compare?backend=tiny": (422, "bad-parameter"),
    "/v1/compare?backends=tiny,other": (404, "unknown-backend"),
    "/v1/no-such-route": (404, "not-found"),
    "/nowhere": (404, "not-found"),
    "/v1/classify/tiny": (404, "not-found"),
}


@pytest.mark.parametrize(("path", "expected"), QUERIES.items())
def test_a_bad_address_has_its_own_problem(client: httpx.Client, path: str, expected: tuple[int, str]) -> None:
    response = client.post(path, content=JPEG)
    assert (response.status_code, problem_of(response)) == expected, response.text


def test_every_route_refuses_a_parameter_that_it_does_not_have(client: httpx.Client) -> None:
    asked = []
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        if path.startswith("/v1/"):
            for method in methods:
                response = client.request(method, f"{re.sub('{.*?}', 'tiny', path)}?nonsense=1", content=JPEG)
                assert (response.status_code, problem_of(response)) == (422, "bad-parameter"), (method, path)
                assert "'nonsense' is no parameter of this route" in response.json()["detail"]
                assert "422" in methods[method]["responses"]
                asked.append(path)
    assert len(asked) > 10


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/classify", "POST"),
        ("PUT", "/v1/classify", "POST"),
        ("DELETE", "/v1/backends", "GET"),
        ("POST", "/v1/backends/tiny", "GET"),
        ("POST", "/livez", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)
    assert (response.status_code, problem_of(response)) == (405, "method-not-allowed")
    assert allowed in response.headers["allow"]
    assert "Allow header" in response.json()["detail"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://[::1", "http://[x]:1", "\xff"])
def test_a_page_of_another_site_is_refused(client: httpx.Client, origin: str) -> None:
    response = client.post("/v1/classify", content=JPEG, headers={b"Origin": origin.encode("latin-1")})
    assert (response.status_code, problem_of(response)) == (403, "foreign-origin")


def test_a_name_bent_to_this_machine_is_refused(client: httpx.Client) -> None:
    response = client.get("/v1/backends", headers={"Host": "rebound.example"})
    assert (response.status_code, problem_of(response)) == (403, "foreign-origin")


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "0x10", "", HUGE, "18446744073709551616", "5, 5"])
def test_a_content_length_that_is_no_number_is_a_400_and_the_end_of_the_connection(server: Server, length: str) -> None:
    with Connection(server) as connection:
        connection.send(f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nhello".encode())
        assert connection.reply().status_code == 400
        assert connection.closed()


def test_a_body_with_two_lengths_is_a_400_and_the_end_of_the_connection(server: Server) -> None:
    """A proxy in front and the server behind it must not read two requests where the other reads one."""
    with Connection(server) as connection:
        connection.post("/v1/classify", b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n", headers="Transfer-Encoding: chunked\r\n")
        assert connection.reply().status_code == 400
        assert connection.closed()


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET\r\n\r\n", b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"]
)
def test_what_is_not_http_is_a_400_and_the_end_of_the_connection(server: Server, noise: bytes) -> None:
    with Connection(server) as connection:
        connection.send(noise)
        assert connection.reply().status_code == 400
        assert connection.closed()


SEEDS = [encoded(kind, 40, 30) for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF")]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 3000),
)
def test_no_damage_to_a_file_makes_a_5xx(server: Server, seed: bytes, edits: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(seed)
    for place, value in edits:
        data[place % len(data)] = value
    body = bytes(data[: len(data) - cut % len(data)]) if cut % 3 == 0 else bytes(data)
    with server.client() as client:
        response = client.post("/v1/classify?backend=tiny", content=body)
    assert response.status_code in (200, 413, 415, 422), response.text
    if response.status_code != 200:
        problem_of(response)
