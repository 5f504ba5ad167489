"""Brings models from a container of Azure Blob Storage into a store, each version verified before it appears there.

A container holds what a store holds: `[PREFIX/]NAME/VERSION/model.json` and its files. Speaks Blob Storage's REST API, version
2023-11-03 (learn.microsoft.com, "Blob service REST API"), so that a serving environment needs no SDK.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit
from xml.etree import ElementTree as ET

from models.card_files import read_card
from models.errors import BrokenModel, UsageError
from models.hosts import is_loopback
from models.metadata import CARD_FILE, NAME_PATTERN
from models.repository import Repository, StoredModel

if TYPE_CHECKING:
    import httpx

API_VERSION = "2023-11-03"
SCOPE = "https://storage.azure.com/.default"
TIMEOUT_S = 60.0
ATTEMPTS = 4
PAUSE_S = 0.5
"""Before the second attempt; twice as long before each further one."""
AGAIN = frozenset({408, 429, 500, 502, 503, 504})

BLOB = re.compile(rf"(?P<name>{NAME_PATTERN})/(?P<version>[1-9][0-9]*)/(?P<file>[A-Za-z0-9_][A-Za-z0-9_.-]*)", re.ASCII)
"""Of a version, below the prefix. Whatever else lies there is no part of the store."""


@dataclass(frozen=True)
class Container:
    """Where blobs are: an address without its query, and the shared access signature that it came with."""

    root: str
    prefix: str
    signature: Mapping[str, str]

    @classmethod
    def at(cls, address: str) -> "Container":
        """Read `https://ACCOUNT.blob.core.windows.net/CONTAINER[/PREFIX][?SIGNATURE]`. Raises `UsageError`."""
        try:
            parts = urlsplit(address)
        except ValueError as exc:
            raise UsageError("that is no address of a blob container") from exc
        container, _, prefix = parts.path.lstrip("/").partition("/")
        trusted = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not trusted or not container or parts.username is not None:
            raise UsageError("https://ACCOUNT.blob.core.windows.net/CONTAINER[/PREFIX] is wanted")
        prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        return cls(f"{parts.scheme}://{parts.netloc}/{container}", prefix, dict(parse_qsl(parts.query)))


def fetch(
    address: str, repository: Repository, *, names: Sequence[str] = (), versions: int = 1
) -> Iterator[tuple[StoredModel, bool]]:
    """Bring the newest versions of each model (`names`: of these) into the store. Yields each, and whether it came now.

    A version that is there with the same card is left alone. Raises `BrokenModel` if a file is not the one that its card
    describes, `UsageError` if there is nothing to bring or the container can't be read.
    """
    import httpx

    container = Container.at(address)
    near = is_loopback(urlsplit(container.root).hostname or "")  # where no proxy of the environment has a way to
    # Redirects would carry the token elsewhere.
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=not near) as client:
        client.headers["x-ms-version"] = API_VERSION
        if not container.signature and (token := _token(client)):
            client.headers["Authorization"] = f"Bearer {token}"
        found = _versions(client, container)
        if unknown := sorted(set(names) - {name for name, _ in found}):
            raise UsageError(f"{container.root}/{container.prefix} holds no {', '.join(unknown)}; it has {_list(found)}")
        if not found:
            raise UsageError(f"{container.root}/{container.prefix} holds no model: no NAME/VERSION/{CARD_FILE} is there")
        for name in sorted({name for name, _ in found if not names or name in names}):
            for number in sorted((number for other, number in found if other == name), reverse=True)[:versions]:
                yield _bring(client, container, repository, name, number, found[name, number])


def _bring(
    client: "httpx.Client", container: Container, repository: Repository, name: str, number: int, files: Sequence[str]
) -> tuple[StoredModel, bool]:
    target = repository.root / name / str(number)
    base = f"{name}/{number}"
    card = _get(client, container, f"{base}/{CARD_FILE}").content
    if target.is_dir():
        if (target / CARD_FILE).read_bytes() != card:
            raise BrokenModel(f"{target} holds another {base} than the container; a version that was served is never replaced")
        return StoredModel(read_card(target), target), False
    workspace = repository.workspace()
    try:
        folder = workspace / name / str(number)
        folder.mkdir(parents=True)
        (folder / CARD_FILE).write_bytes(card)
        for file in files:
            if file != CARD_FILE:
                (folder / file).write_bytes(_get(client, container, f"{base}/{file}").content)
        StoredModel(read_card(folder), folder).verify()
        target.parent.mkdir(exist_ok=True)
        folder.rename(target)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    return StoredModel(read_card(target), target), True


def _versions(client: "httpx.Client", container: Container) -> dict[tuple[str, int], list[str]]:
    """Files of each complete version."""
    found: dict[tuple[str, int], list[str]] = {}
    marker = ""
    while True:
        query = {"restype": "container", "comp": "list", "prefix": container.prefix, "marker": marker}
        reply = _get(client, container, "", {key: value for key, value in query.items() if value})
        try:
            tree = ET.fromstring(reply.content)  # noqa: S314  # the storage's own answer, over TLS
        except ET.ParseError as exc:
            raise UsageError(f"{container.root} does not answer as Blob Storage does") from exc
        for blob in tree.iterfind("./Blobs/Blob/Name"):
            if match := BLOB.fullmatch((blob.text or "").removeprefix(container.prefix)):
                found.setdefault((match["name"], int(match["version"])), []).append(match["file"])
        marker = tree.findtext("NextMarker") or ""
        if not marker:
            return {key: files for key, files in found.items() if CARD_FILE in files}


def _get(client: "httpx.Client", container: Container, path: str, query: Mapping[str, str] | None = None) -> "httpx.Response":
    import httpx

    address = f"{container.root}/{quote(container.prefix + path)}" if path else container.root
    for attempt in range(ATTEMPTS):
        last = attempt == ATTEMPTS - 1
        try:
            reply = client.get(address, params={**(query or {}), **container.signature})
        except httpx.HTTPError as exc:
            if last:
                raise UsageError(f"{address} can't be read: {type(exc).__name__}") from exc
        else:
            if reply.status_code == httpx.codes.OK:
                return reply
            if last or reply.status_code not in AGAIN:
                code = reply.headers.get("x-ms-error-code", "")
                raise UsageError(f"{address} answered {reply.status_code} {code}".rstrip() + f"; {_hint(reply.status_code)}")
        time.sleep(PAUSE_S * 2**attempt)
    raise AssertionError("the last attempt ends above")


def _token(client: "httpx.Client") -> str:
    """A token for the pod's managed identity, as AKS's workload identity hands the means to it; empty where it does not.

    "Microsoft identity platform and the OAuth 2.0 client credentials flow", third case: with a federated credential.
    """
    import httpx

    file = os.environ.get("AZURE_FEDERATED_TOKEN_FILE")
    tenant, client_id = os.environ.get("AZURE_TENANT_ID"), os.environ.get("AZURE_CLIENT_ID")
    if not (file and tenant and client_id):
        return ""
    authority = os.environ.get("AZURE_AUTHORITY_HOST") or "https://login.microsoftonline.com/"
    form = {
        "client_id": client_id,
        "scope": SCOPE,
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": Path(file).read_text(encoding="utf-8"),
    }
    try:
        reply = client.post(f"{authority.rstrip('/')}/{tenant}/oauth2/v2.0/token", data=form).raise_for_status()
        return str(reply.json()["access_token"])
    except (httpx.HTTPError, ValueError, KeyError) as exc:
        raise UsageError(f"{authority} gave no token to the identity {client_id}: is its federated credential made?") from exc


def _list(found: Mapping[tuple[str, int], object]) -> str:
    return ", ".join(sorted({name for name, _ in found})) or "no model"


def _hint(status: int) -> str:
    return (
        "give the identity the role Storage Blob Data Reader, or the address a signature (?sv=...)"
        if status in {401, 403, 404}
        else "try again"
    )
