"""Two backends of a running service answer the same images: the rented one, and the one that could take its place."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import httpx

from models.class_folders import IMAGE_SUFFIXES
from models.datasets import open_dataset
from models.errors import UsageError

ATTEMPTS = 8
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 20.0
TIMEOUT_S = 120.0
WORTH_ANOTHER = frozenset(
    {
        *("queue-full", "uploads-full", "not-ready", "deadline-exceeded"),
        *("remote-busy", "remote-down", "remote-failed", "remote-timed-out"),
    }
)
"""Problems that may be gone in a while: a breaker that is open rests for up to a minute."""


@dataclass(frozen=True)
class Sampled:
    """An image of the sample; without a label where it stands in no class folder."""

    path: str
    label: str | None
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Said:
    """A backend's first label, and how long its answer took in the service, in ms."""

    label: str
    probability: float
    ms: float


Outcome: TypeAlias = Said | str
"""An answer, or the code of the problem in its place."""


@dataclass(frozen=True)
class Round:
    """What both said of one image."""

    path: str
    label: str | None
    cloud: Outcome
    local: Outcome


def sample(source: str) -> tuple[int, Iterator[Sampled]]:
    """Images of a zip or folder of class folders, or of a plain folder of images: how many, and the images one by one.

    Raises `DatasetError` if there are none.
    """
    folder = Path(source)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES) if folder.is_dir() else []
    if files:
        return len(files), (Sampled(path.name, None, path.read_bytes()) for path in files)
    dataset = open_dataset(source)

    def images() -> Iterator[Sampled]:
        with dataset:
            for image in dataset:
                yield Sampled(image.path, image.label, image.data)

    return len(dataset), images()


class Duel:
    """A client of the service. Close it, or use it as a context manager."""

    def __init__(self, server: str, key: str, cloud: str, local: str, *, wait: Callable[[float], None] = time.sleep) -> None:
        """`key`: of the service, if it has any."""
        self._client = httpx.Client(base_url=server, headers={"X-API-Key": key} if key else {}, timeout=TIMEOUT_S)
        self._cloud = cloud
        self._local = local
        self._wait = wait

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.close()

    def backends(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """What the service says of the two. Raises `UsageError` if it is not there, or does not serve one of them."""
        try:
            found = self._client.get("/v1/backends")
            found.raise_for_status()
        except httpx.HTTPStatusError as exc:
            hint = " Set PARALLAX_API_KEY." if exc.response.status_code == httpx.codes.UNAUTHORIZED else ""
            raise UsageError(f"{self._client.base_url} answers with {exc.response.status_code}.{hint}") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise UsageError(f"{self._client.base_url} is not there ({exc}). Start it: make serve") from exc
        served = {
            one["name"]: one for one in reversed(found.json()["backends"])
        }  # of several versions the newest, which is first
        for name in (self._cloud, self._local):
            if name not in served:
                raise UsageError(f"the service has no backend {name!r}; it has {', '.join(sorted(served))}")
        return served[self._cloud], served[self._local]

    def ask(self, image: Sampled) -> Round:
        """What both say of an image, asked again for whichever had a problem that may pass.

        Raises `UsageError` if the service goes away, or refuses for good.
        """
        found: dict[str, Outcome] = {}
        missing = [self._cloud, self._local]
        for attempt in range(ATTEMPTS):
            found |= self._once(image, missing)
            missing = [name for name in missing if found[name] in WORTH_ANOTHER]
            if not missing or attempt == ATTEMPTS - 1:
                break
            self._wait(min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**attempt))
        return Round(image.path, image.label, found[self._cloud], found[self._local])

    def _once(self, image: Sampled, names: Iterable[str]) -> Mapping[str, Outcome]:
        names = list(names)
        try:
            reply = self._client.post("/v1/compare", params={"backends": ",".join(names), "top": 1}, content=image.data)
        except httpx.HTTPError as exc:
            raise UsageError(f"{self._client.base_url} stopped answering ({type(exc).__name__})") from exc
        body = reply.json()
        if reply.status_code == httpx.codes.OK:
            return {name: _said(body["results"][name]) for name in names}
        if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND):
            raise UsageError(f"the service refuses: {body['detail']}")
        return dict.fromkeys(names, str(body["code"]))  # of the image, or of the service: for both alike


def _said(result: Mapping[str, Any]) -> Outcome:
    if "predictions" not in result:
        return str(result["code"])
    first = result["predictions"][0]
    return Said(first["label"], first["probability"], result["timing_ms"]["total"])
