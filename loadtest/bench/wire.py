"""HTTP requests as bytes, built once before a run."""

from collections.abc import Mapping

BOUNDARY = b"----parallax-bench-boundary"


def post(path: str, body: bytes, headers: Mapping[str, str], content_type: str = "image/jpeg") -> bytes:
    """A POST whose body is the image itself."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def post_form(path: str, part: str, filename: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST of a form with one file, as browsers and `curl -F` send it."""
    disposition = f'Content-Disposition: form-data; name="{part}"; filename="{filename}"'.encode()
    form = b"\r\n".join([b"--" + BOUNDARY, disposition, b"Content-Type: image/jpeg", b"", body, b"--" + BOUNDARY + b"--", b""])
    return post(path, form, headers, f"multipart/form-data; boundary={BOUNDARY.decode()}")
