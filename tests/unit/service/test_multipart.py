"""Parts of forms, byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api import multipart
from service.errors import BadMultipart

TYPE = b'multipart/form-data; boundary="a b"'


def form(*parts: tuple[bytes, bytes], end: bytes = b"--a b--\r\n") -> bytes:
    """A body of parts, each with its headers and its data."""
    return b"".join(b"--a b\r\n" + headers + b"\r\n\r\n" + data + b"\r\n" for headers, data in parts) + end


def named(name: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"'.encode()


nearly_boundaries = st.sampled_from([b"\r\n--a b", b"\r\n--a", b"\r\n", b"\r", b"--a b--", b"-", b"\n--a b\r\n"])
content = st.lists(st.binary(max_size=20) | nearly_boundaries.map(lambda text: text + b"x"), max_size=8).map(b"".join)


@given(content.filter(lambda data: b"\r\n--a b" not in data), content.filter(lambda data: b"\r\n--a b" not in data))
def test_every_byte_of_a_part_comes_back(first: bytes, second: bytes) -> None:
    body = form((named("one"), first), (named("two") + b"; filename=x\r\nContent-Type: image/png", second))
    assert multipart.part(TYPE, body, "one", bare=True) == first
    assert multipart.part(TYPE, body, "two") == second


def test_a_part_without_a_filename_is_no_file_unless_that_will_do() -> None:
    body = form((named("a"), b"1"))
    assert multipart.part(TYPE, body, "a", bare=True) == b"1"
    with pytest.raises(BadMultipart, match="no file part named `a`"):
        multipart.part(TYPE, body, "a")


def test_names_of_headers_and_disposition_may_be_written_in_any_case() -> None:
    assert multipart.part(TYPE, form((b"CONTENT-DISPOSITION: FORM-DATA; NAME=a", b"1")), "a", bare=True) == b"1"


@pytest.mark.parametrize(
    ("content_type", "body", "says"),
    [
        (b"multipart/form-data", form((named("a"), b"1")), "no boundary"),
        (TYPE, b"", "ends before"),
        (TYPE, b"no form", "can't be read"),
        (TYPE, form((named("a"), b"1"), end=b""), "ends before"),
        (TYPE, form((b"Content-Type: image/png", b"1")), "parts: none"),
        (TYPE, form((named("b"), b"1"), (named("c"), b"1")), "parts: b, c"),
        (TYPE, form((named("a"), b"1"), (named("a"), b"2")), "more than one"),
        (TYPE, form(*[(named(str(i)), b"1") for i in range(18)]), "more than 17"),
        (TYPE, form((b"X: " + b"y" * 10_000, b"1")), "can't be read"),
    ],
)
def test_what_is_no_such_form_is_refused(content_type: bytes, body: bytes, says: str) -> None:
    with pytest.raises(BadMultipart, match=says):
        multipart.part(content_type, body, "a", bare=True)
