"""Images from addresses that callers name, without becoming their way into networks that they can't reach themselves.

A name is resolved once, every address it has must be public, and the connection goes to one of those very addresses, so that a
name server can't answer otherwise the second time. Redirects are followed by the same rules.
"""

import asyncio
import logging
import socket
from typing import NamedTuple

import httpx

from models.errors import EmptyImage
from service.addresses import is_public
from service.custom_vision_api_settings import CustomVisionApiSettings
from service.errors import BadImageUrl, BodyTooLarge

log = logging.getLogger("parallax.fetching")

MAX_REDIRECTS = 3
MAX_URL_CHARACTERS = 4_000
MAX_CONNECTIONS = 32
PORTS = {"http": 80, "https": 443}


class _Redirected(NamedTuple):
    location: str


class ImageFetcher:
    """Fetches images for callers."""

    def __init__(self, settings: CustomVisionApiSettings) -> None:
        """Needs a running event loop."""
        self._settings = settings
        self._client = httpx.AsyncClient(
            headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "parallax"},
            follow_redirects=False,
            trust_env=False,  # a proxy would resolve the name once more
            timeout=None,  # noqa: S113  # one deadline bounds all of it
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def fetch(self, text: str, max_bytes: int) -> bytes:
        """The body behind an address. Raises `BadImageUrl`, `BodyTooLarge` or `EmptyImage`."""
        try:
            async with asyncio.timeout(self._settings.url_timeout_s):
                return await self._follow(text, max_bytes)
        except TimeoutError:
            raise BadImageUrl(f"The image did not arrive within {self._settings.url_timeout_s:g} s.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            log.info("image not fetched", extra={"reason": f"{type(exc).__name__}: {exc}"})
            raise BadImageUrl(f"The address can't be fetched ({type(exc).__name__}).") from exc

    async def _follow(self, text: str, max_bytes: int) -> bytes:
        for _ in range(1 + MAX_REDIRECTS):
            url = _parsed(text)
            found = await self._get(url, await self._address(url), max_bytes)
            if not isinstance(found, _Redirected):
                return found
            text = str(url.join(found.location))
        raise BadImageUrl(f"The address leads on more than {MAX_REDIRECTS} times.")

    async def _address(self, url: httpx.URL) -> str:
        """Where to connect to. Raises `BadImageUrl` unless all that the name stands for is public."""
        port = url.port or PORTS[url.scheme]
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            raise BadImageUrl("The host of the address is not known.") from exc
        addresses = [str(info[4][0]) for info in infos]
        allowed = self._settings.url_hosts
        if url.host in allowed or f"{url.host}:{port}" in allowed:
            return addresses[0]
        if port not in PORTS.values() or not all(is_public(address) for address in addresses):
            raise BadImageUrl("Only public addresses are fetched, at ports 80 and 443 (PARALLAX_CUSTOM_VISION_API__URL_HOSTS).")
        return addresses[0]

    async def _get(self, url: httpx.URL, address: str, max_bytes: int) -> "bytes | _Redirected":
        # The address in place of the name, which stays in the Host header and is what the certificate must be for.
        asked = url.copy_with(host=address)
        extensions = {"sni_hostname": url.host}
        async with self._client.stream("GET", asked, headers={"Host": url.netloc.decode()}, extensions=extensions) as reply:
            if reply.has_redirect_location:
                return _Redirected(reply.headers["Location"])
            if reply.status_code != httpx.codes.OK:
                raise BadImageUrl(f"The address answered with status {reply.status_code}.")
            data = b""
            async for chunk in reply.aiter_raw():
                data += chunk
                if len(data) > max_bytes:
                    raise BodyTooLarge(f"At most {max_bytes:,} bytes are accepted; the address has more.")
        if not data:
            raise EmptyImage("The address answered with nothing.")
        return data


def _parsed(text: str) -> httpx.URL:
    """Raises `BadImageUrl`."""
    try:
        url = httpx.URL(text[: MAX_URL_CHARACTERS + 1].strip())
    except httpx.InvalidURL as exc:
        raise BadImageUrl(f"This is no address: {exc}.") from exc
    if url.scheme not in PORTS or not url.host or len(text) > MAX_URL_CHARACTERS:
        raise BadImageUrl("An http:// or https:// address of an image is wanted.")
    if url.userinfo:
        raise BadImageUrl("An address with a user name or password is not fetched.")
    return url
