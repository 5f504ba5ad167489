"""Files that the service keeps in a storage account: their addresses hold their own, short-lived permission, and get no key."""

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from models.files import written_whole
from training.customvision.access import check_address, on_this_machine
from training.customvision.client import ServiceError

ATTEMPTS = 4
PAUSE_S = 0.5


class Downloads:
    """A pool of connections, which no redirect leads elsewhere. Threads may share it."""

    def __init__(self, connections: int, *, sleep: Callable[[float], None] = time.sleep) -> None:
        limits = httpx.Limits(max_connections=connections)
        self._clients = {
            local: httpx.Client(timeout=60, limits=limits, follow_redirects=False, trust_env=not local) for local in (False, True)
        }
        self._sleep = sleep

    def small(self, address: str, max_bytes: int, what: str) -> bytes:
        """A small file. Raises `ServiceError` if it can't be had, or is larger."""
        parts: list[bytes] = []
        self._fetch(address, max_bytes, what, parts.clear, parts.append)
        return b"".join(parts)

    def file(self, address: str, path: Path, max_bytes: int, what: str) -> None:
        """Into a file, which is there when all of it is. Raises `ServiceError` if it can't be had, or is larger."""
        with written_whole(path) as out:
            self._fetch(address, max_bytes, what, lambda: (out.seek(0), out.truncate()), out.write)

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def _fetch(
        self, address: str, max_bytes: int, what: str, again: Callable[[], object], take: Callable[[bytes], object]
    ) -> None:
        check_address(address, f"the address of {what}")
        client = self._clients[on_this_machine(address)]
        for attempt in range(1, ATTEMPTS + 1):
            again()
            try:
                with client.stream("GET", address) as reply:
                    if reply.status_code != 200:
                        raise _refused(address, what, reply.status_code)
                    size = 0
                    for chunk in reply.iter_bytes():
                        size += len(chunk)
                        if size > max_bytes:
                            raise ServiceError(f"{what} has more than {max_bytes:,} bytes; it is left where it is", status=200)
                        take(chunk)
            except httpx.HTTPError as exc:
                error = ServiceError(f"{what} can't be had from {_shown(address)}: {type(exc).__name__}")
                error.__cause__ = exc
            except ServiceError as exc:
                error = exc
            else:
                return
            if attempt == ATTEMPTS or (error.status is not None and error.status != 429 and error.status < 500):
                raise error
            self._sleep(PAUSE_S * 2 ** (attempt - 1))


def _refused(address: str, what: str, status: int) -> ServiceError:
    hint = ". Its permission may be over: ask again" if status in (401, 403) else ""
    return ServiceError(f"{what} can't be had from {_shown(address)}: {status}{hint}", status=status)


def _shown(address: str) -> str:
    """Without what follows the question mark, which is the permission."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
