"""A form's parts, byte for byte, whether or not a part claims to be a file.

Starlette's form reader makes text of a part without a filename, and refuses one beyond 1 MB; the Custom Vision SDK sends its
images in just such parts.
"""

from collections.abc import Mapping

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import BadMultipart

MAX_PARTS = 17


def part(content_type: bytes, body: bytes, name: str, *, bare: bool = False) -> bytes:
    """The one part with that name; `bare`: even if it has no filename, as files have.

    Raises `BadMultipart` if there is none or more than one, or if the body is not what its type says.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise BadMultipart("The Content-Type of the form states no boundary.")
    found = _Parts()
    parser = MultipartParser(boundary, found.callbacks)  # type: ignore[arg-type]  # its TypedDict, by another name
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError as exc:
        raise BadMultipart(f"The multipart body can't be read: {exc}") from exc
    if not found.ended:
        raise BadMultipart("The multipart body ends before its last boundary.")
    if name in found.several:
        raise BadMultipart(f"There is more than one part named `{name}`. Send one image a request.")
    if name not in found.parts or not (bare or name in found.files):
        names = ", ".join(sorted(found.parts)) or "none"
        raise BadMultipart(f"There is no file part named `{name}` (parts: {names}). Try: curl -F {name}=@photo.jpg URL")
    return b"".join(found.parts[name])


class _Parts:
    """Gathers what the parser calls out."""

    def __init__(self) -> None:
        self.parts: dict[str, list[memoryview]] = {}
        self.files: set[str] = set()
        """Names of those that state a filename."""
        self.several: set[str] = set()
        """Names that stand more than once."""
        self.ended = False
        self._count = 0
        self._field = b""
        self._value = b""
        self._current: list[memoryview] | None = None

    @property
    def callbacks(self) -> Mapping[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._name_header,
            "on_header_value": self._add_to_header,
            "on_header_end": self._end_header,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            raise BadMultipart(f"The form has more than {MAX_PARTS} parts.")
        self._current = None

    def _name_header(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_to_header(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            options = parse_options_header(self._value)[1]
            name = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                self.files.add(name)
            if name in self.parts:
                self.several.add(name)
            self._current = self.parts.setdefault(name, [])
        self._field = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.append(memoryview(data)[start:end])

    def _end(self) -> None:
        self.ended = True
