"""Which addresses of images and annotations may be read: those that begin with an entry of `PARALLAX_DATASETS_ALLOW`.

fsspec reads whatever an address says: other people's clouds, files of this machine, and, chained with `::`, both through one
another. So nothing goes to it that was not looked at here.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from models.errors import DatasetError, ImageTooLarge, UnreadableImage
from service.errors import UnknownDataset

MAX_ANNOTATIONS_BYTES = 64_000_000
WEB = ("http", "https")
PATIENCE_S = 20.0
"""For a site to connect, and between two pieces of what it sends."""


def is_address(name: str) -> bool:
    """Whether it names something elsewhere, and not a file."""
    return "://" in name or "::" in name


def check_address(address: str, allowed: Sequence[str]) -> None:
    """Raise `UnknownDataset` unless an address may be read."""
    shown = ascii(address[:200])
    if "::" in address:
        raise UnknownDataset(f"{shown} is a chain of addresses, which is never followed. Give the address of the file itself.")
    parts = urlsplit(address)
    if parts.scheme in ("", "file", "local", "memory", "data", "blockcache", "filecache", "simplecache", "dir", "zip", "tar"):
        raise UnknownDataset(f"{shown} is no address of a file elsewhere.")
    if ".." in unquote(unquote(parts.path)).split("/") or "\\" in address or not address.isprintable():
        raise UnknownDataset(f"{shown} leads elsewhere than it seems to.")
    if not any(_within(address, one) for one in allowed if one):
        raise UnknownDataset(f"{shown} begins with no entry of PARALLAX_DATASETS_ALLOW ({', '.join(allowed) or 'none'}).")


def check_clients(addresses: Iterable[str]) -> None:
    """Raise `UnknownDataset` unless what reads such addresses is installed."""
    import fsspec

    for scheme in {urlsplit(address).scheme for address in addresses} - set(WEB):
        try:
            fsspec.get_filesystem_class(scheme)
        except (ImportError, ValueError) as exc:  # it says what to install
            raise UnknownDataset(f"Addresses that begin with {scheme}:// can't be read here: {exc}") from exc


def local_path(root: Path, name: str) -> Path:
    """A file or folder inside another folder, links resolved. Raises `UnknownDataset` for one outside, or that is not there."""
    try:
        top = root.resolve(strict=True)
        path = (top / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise UnknownDataset(f"There is no {name[:200]!a} in the folder of sets. GET /v1/datasets lists them.") from None
    if path == top or not path.is_relative_to(top):
        raise UnknownDataset(f"{name[:200]!a} is not inside the folder of sets (PARALLAX_DATASETS_DIR).")
    return path


def fetch(address: str, max_bytes: int) -> bytes:
    """The bytes behind an address that `check_address` let through. Blocks. Raises `UnreadableImage` or `ImageTooLarge`."""
    try:
        data = (_from_the_web if urlsplit(address).scheme in WEB else _from_storage)(address, max_bytes)
    except Exception as exc:  # whatever a storage's client raises, an image has no bytes
        raise UnreadableImage(f"{address[:200]!a} can't be read ({type(exc).__name__}).") from exc
    if len(data) > max_bytes:
        raise ImageTooLarge(f"{address[:200]!a} has more than {max_bytes:,} bytes.")
    return data


def _from_the_web(address: str, max_bytes: int) -> bytes:
    import httpx

    data = b""
    with httpx.stream("GET", address, timeout=PATIENCE_S, follow_redirects=False) as reply:
        if reply.status_code != httpx.codes.OK:
            raise httpx.HTTPError(f"status {reply.status_code}")
        for chunk in reply.iter_bytes():
            data += chunk
            if len(data) > max_bytes:
                break
    return data


def _from_storage(address: str, max_bytes: int) -> bytes:
    import fsspec

    with fsspec.open(address, "rb").open() as file:
        data: bytes = file.read(max_bytes + 1)
    return data


def annotations(address: str, allowed: Sequence[str]) -> bytes:
    """A JSONL file from elsewhere. Blocks. Raises `UnknownDataset` or `DatasetError`."""
    check_address(address, allowed)
    check_clients([address])
    try:
        return fetch(address, MAX_ANNOTATIONS_BYTES)
    except (UnreadableImage, ImageTooLarge) as exc:
        raise DatasetError(str(exc)) from exc


def _within(address: str, prefix: str) -> bool:
    """Whether an address begins with a prefix that ends where a part of it ends: `s3://photos` is not `s3://photos-of-others`."""
    return address.startswith(prefix) and (prefix.endswith("/") or address[len(prefix) : len(prefix) + 1] in ("", "/"))
