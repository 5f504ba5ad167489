"""Brings far-away data sets here: addresses of zips, and Kaggle's."""

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from models.errors import DatasetError
from models.workspace import data_dir


def local(sources: Sequence[str]) -> list[str]:
    """The sources of a command line, each brought here by `resolve` if it is far away."""
    return [resolve(source, data_dir() / "downloads") for source in sources]


def resolve(source: str, downloads: Path) -> str:
    """Turn an http(s) address or `kaggle:OWNER/NAME`, with or without `#SPLIT`, into a local path; leave anything else alone.

    What was downloaded once is used again. Raises `DatasetError` if it can't be had.
    """
    where, hash_mark, split = source.partition("#")
    if where.startswith("kaggle:"):
        return f"{_kaggle(where.removeprefix('kaggle:'))}{hash_mark}{split}"
    if where.startswith(("http://", "https://")):
        return f"{_download(where, downloads)}{hash_mark}{split}"
    return source


def _download(address: str, downloads: Path) -> Path:
    import httpx
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    try:
        name = PurePosixPath(urlsplit(address).path).name or "data.zip"
    except ValueError as exc:
        raise DatasetError(f"{address} is no address: {exc}") from exc
    folder = downloads / hashlib.sha256(address.encode()).hexdigest()[:16]
    target = folder / name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{name}.part"
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with (
            httpx.stream("GET", address, follow_redirects=True, timeout=30) as reply,
            Progress(*columns, transient=True) as progress,
        ):
            reply.raise_for_status()
            task = progress.add_task(name, total=int(reply.headers.get("Content-Length", 0)) or None)
            with part.open("wb") as file:
                for chunk in reply.iter_bytes():
                    file.write(chunk)
                    progress.advance(task, len(chunk))
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise DatasetError(f"{address} can't be downloaded: {exc}") from exc
    part.replace(target)
    return target


def _kaggle(handle: str) -> str:
    try:
        import kagglehub
    except ImportError as exc:
        raise DatasetError("kaggle: sources need kagglehub: make train-env EXTRAS=kaggle") from exc
    try:
        return str(kagglehub.dataset_download(handle))
    except Exception as exc:  # kagglehub raises what its HTTP client and its own checks raise
        raise DatasetError(f"kaggle:{handle} can't be downloaded: {exc}") from exc
