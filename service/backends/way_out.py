"""How a backend's requests leave this machine: straight, or through the proxy that the environment names."""

from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from models.hosts import is_loopback
from service.backends.wire import CONNECT_S, Reply, Wire


class WayOut(Protocol):
    """To one address."""

    async def post(self, body: bytes) -> Reply:
        """Send a body, and read the reply, at most some bytes more than are wanted of it. Raises `httpx.TransportError`."""
        ...

    async def close(self) -> None:
        """Close what is idle. Nothing is under way."""
        ...


def way_out(url: httpx.URL, headers: httpx.Headers, max_reply_bytes: int) -> WayOut:
    """Through the proxy that the environment names for an address, if it does; to this machine's loopback none has a way."""
    address = urlsplit(str(url))
    host = address.hostname or ""
    proxies = {} if is_loopback(host) or proxy_bypass(host) else getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    return Proxied(proxy, url, headers, max_reply_bytes) if proxy else Wire(url, headers, max_reply_bytes)


class Proxied:
    """Through a proxy, by httpx's own transport. No client is around it, which could only follow redirects."""

    def __init__(self, proxy: str, url: httpx.URL, headers: httpx.Headers, max_reply_bytes: int) -> None:
        self._url = url
        self._headers = headers
        self._max_reply_bytes = max_reply_bytes
        self._transport = httpx.AsyncHTTPTransport(proxy=proxy)

    async def post(self, body: bytes) -> Reply:
        patience = {"timeout": {"connect": CONNECT_S}}  # deadlines bound the rest
        request = httpx.Request("POST", self._url, headers=self._headers, content=body, extensions=patience)
        reply = await self._transport.handle_async_request(request)
        said = b""
        try:
            async for chunk in reply.aiter_raw():
                said += chunk
                if len(said) > self._max_reply_bytes:
                    break
        finally:
            await reply.aclose()
        return Reply(reply.status_code, reply.headers.raw, said)

    async def close(self) -> None:
        await self._transport.aclose()
