"""What callers of each kind send, and which reply is the right one."""

import io
import json
import struct
import uuid
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlencode

from loadtest.plan import Kind, Plan

SCORED_IMAGES = 6
"""In the zip of a scoring job."""
ENDED = frozenset({"succeeded", "failed", "cancelled"})
"""States of a scoring job."""
Fate = Literal["ok", "shed"]


@dataclass(frozen=True)
class Ask:
    """One POST, and what a right reply to it is."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    holds: bytes = b'"predictions"'
    """In the body of a right reply."""

    def judge(self, status: int, body: bytes) -> Fate | str:
        """`ok`, `shed`, or what is wrong with a reply."""
        if status == 429:
            return "shed"
        if status != self.status:
            expected = "" if self.status == 200 else f", not {self.status}"
            return f"{status} {_code(body)}".strip() + expected
        if self.holds not in body:
            return f"{status} without {self.holds.decode()}"
        return "ok"


@dataclass(frozen=True)
class CompareAsk(Ask):
    """To several backends: one of them that sheds or fails says so in its place, under a status of 200."""

    def judge(self, status: int, body: bytes) -> Fate | str:
        fate = super().judge(status, body)
        if fate != "ok":
            return fate
        problems = [one for one in json.loads(body)["results"].values() if "predictions" not in one]
        failed = [one for one in problems if one.get("status") != 429]
        if failed:
            return f"a backend's {failed[0].get('status')} {failed[0].get('code')}"
        return "shed" if problems else "ok"


def asks(kind: Kind, plan: Plan, images: Sequence[bytes], backend: str) -> list[Ask]:
    """What a kind sends, over and over. `backend`: the one to name where an address must name one."""
    query = f"?{urlencode({'backend': plan.backend})}" if plan.backend else ""
    if kind == "classify":
        return [Ask(f"/v1/classify{query}", image) for image in images]
    if kind == "compare":
        several = f"?{urlencode({'backends': plan.backends})}" if plan.backends else ""
        return [CompareAsk(f"/v1/compare{several}", image, holds=b'"results"') for image in images]
    if kind == "customvision":
        name = quote(plan.published_name or backend, safe="")
        path = f"/customvision/v3.1/prediction/{plan.project}/classify/iterations/{name}/image"
        return [_as_the_sdk(path, image) for image in images]
    if kind == "scoring":
        return [_scoring(plan, images, backend)]
    return bad(query, images[0])


def bad(query: str, image: bytes) -> list[Ask]:
    """Input that the service must refuse, each with its own problem."""
    path = f"/v1/classify{query}"
    more = f"{path}&" if query else f"{path}?"
    cases: list[tuple[str, bytes, int, str]] = [
        (path, b"", 400, "empty-image"),
        (path, b"GIF? No: text, whatever its first letters say.", 415, "unsupported-image"),
        (path, grey_png(64, 64)[:-30], 422, "broken-image"),
        (path, grey_png(60_000, 60_000), 413, "image-too-large"),
        ("/v1/classify?backend=no-such-backend", image, 404, "unknown-backend"),
        (f"{more}top=none", image, 422, "bad-parameter"),
    ]
    return [Ask(where, body, status=status, holds=f'"{code}"'.encode()) for where, body, status, code in cases]


def form(parts: Mapping[str, tuple[str, bytes] | str]) -> tuple[bytes, str]:
    """A multipart body of files (name and bytes) and fields, and its Content-Type."""
    boundary = uuid.uuid5(uuid.NAMESPACE_OID, ",".join(parts)).hex
    body = bytearray()
    for name, value in parts.items():
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if isinstance(value, str):
            body += b"\r\n\r\n" + value.encode()
        else:
            body += f'; filename="{value[0]}"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode() + value[1]
        body += b"\r\n"
    return bytes(body) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _as_the_sdk(path: str, image: bytes) -> Ask:
    """As azure-cognitiveservices-vision-customvision sends it; the caller adds Prediction-Key."""
    body, kind = form({"imageData": ("imageData", image)})
    return Ask(path, body, {"Content-Type": kind, "Accept": "application/json"}, holds=b'"tagName"')


def _scoring(plan: Plan, images: Sequence[bytes], backend: str) -> Ask:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, image in enumerate(images[:SCORED_IMAGES]):
            archive.writestr(zipfile.ZipInfo(f"{'ab'[number % 2]}/{number}.jpg"), image)
    # The folders are no labels of the backend's: the job is there for its work, not for its accuracy.
    fields = {"backends": plan.backend or backend, "labelled": "false", "warmup": "0", "title": "load test"}
    body, kind = form({"dataset": ("loadtest.zip", buffer.getvalue()), **fields})
    return Ask("/v1/scorings", body, {"Content-Type": kind}, status=202, holds=b'"id"')


def grey_png(width: int, height: int) -> bytes:
    """A grey PNG whose header states this size; big ones hold no pixels, which nobody who looks at the header needs."""
    rows = b"" if width > 1000 else zlib.compress(bytes((width + 1) * height))
    chunks = ((b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _code(body: bytes) -> str:
    """A problem's code, or the beginning of whatever else it is."""
    try:
        return str(json.loads(body)["code"])
    except (ValueError, KeyError, TypeError):
        return body[:60].decode("utf-8", "replace")
