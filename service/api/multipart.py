"""A form's parts, byte for byte, whether or not a part claims to be a file.

Starlette's form reader makes text of a part without a filename, and refuses one beyond 1 MB; the Custom Vision SDK sends its
images in just such parts.
"""

from abc import ABC, abstractmethod

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import BadMultipart

MAX_PARTS = 17


class Form(ABC):
    """Takes a form's bytes as they come, and tells of its parts."""

    def __init__(self, content_type: bytes) -> None:
        """Raises `BadMultipart` for a type that states no boundary."""
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise BadMultipart("The Content-Type of the form states no boundary.")
        self._parts = 0
        self._header = self._value = self._disposition = b""
        self._ended = False
        self.filename = ""
        """Of the part whose headers were read last; empty if it states none."""
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._name_header,
            "on_header_value": self._add_to_header,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self.add,
            "on_part_end": self.end_part,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # its TypedDict, by another name

    def feed(self, data: bytes) -> None:
        """Take some bytes. Raises `BadMultipart`."""
        try:
            self._parser.write(data)
        except MultipartParseError as exc:
            raise BadMultipart(f"The multipart body can't be read: {exc}") from exc

    def check_end(self) -> None:
        """There are no more. Raises `BadMultipart` if the form is not complete."""
        if not self._ended:
            raise BadMultipart("The multipart body ends before its last boundary.")

    @abstractmethod
    def begin_part(self, name: str, *, is_file: bool) -> None:
        """A part's headers are read. `is_file`: it states a filename."""

    @abstractmethod
    def add(self, data: bytes, start: int, end: int) -> None:
        """`data[start:end]` belongs to the part."""

    @abstractmethod
    def end_part(self) -> None:
        """The part is complete."""

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadMultipart(f"The form has more than {MAX_PARTS} parts.")
        self._disposition = b""

    def _name_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_to_header(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _end_headers(self) -> None:
        options = parse_options_header(self._disposition)[1]
        self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
        self.begin_part(options.get(b"name", b"").decode("utf-8", "replace"), is_file=b"filename" in options)

    def _end(self) -> None:
        self._ended = True


def part(content_type: bytes, body: bytes, name: str, *, bare: bool = False) -> bytes:
    """The one part with that name; `bare`: even if it has no filename, as files have.

    Raises `BadMultipart` if there is none or more than one, or if the body is not what its type says.
    """
    form = _Whole(content_type)
    form.feed(body)
    form.check_end()
    if name in form.several:
        raise BadMultipart(f"There is more than one part named `{name}`. Send one image a request.")
    if name not in form.parts or not (bare or name in form.files):
        names = ", ".join(sorted(form.parts)) or "none"
        raise BadMultipart(f"There is no file part named `{name}` (parts: {names}). Try: curl -F {name}=@photo.jpg URL")
    return b"".join(form.parts[name])


class _Whole(Form):
    """One that is in memory."""

    def __init__(self, content_type: bytes) -> None:
        super().__init__(content_type)
        self.parts: dict[str, list[memoryview]] = {}
        self.files: set[str] = set()
        """Names of those that state a filename."""
        self.several: set[str] = set()
        """Names that stand more than once."""
        self._current: list[memoryview] = []

    def begin_part(self, name: str, *, is_file: bool) -> None:
        if is_file:
            self.files.add(name)
        if name in self.parts:
            self.several.add(name)
        self._current = self.parts.setdefault(name, []) if name else []

    def add(self, data: bytes, start: int, end: int) -> None:
        self._current.append(memoryview(data)[start:end])

    def end_part(self) -> None:
        pass
