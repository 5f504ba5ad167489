"""Many images through one or more servers at once, and what came of each."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import httpx

from tests.support.images import plain
from tests.support.server import PATIENCE_S

SHADES = (0, 128, 255)


async def _send(urls: Sequence[str], images: int, at_once: int) -> Counter[str]:
    turns = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(trust_env=False, timeout=4 * PATIENCE_S, limits=limits) as client:

        async def one(number: int) -> str:
            address = f"{urls[number % len(urls)]}/v1/classify?backend=custom_vision&top=1"
            async with turns:
                reply = await client.post(address, content=plain(SHADES[number % 3]))
            found = reply.json()
            return found["predictions"][0]["label"] if reply.status_code == 200 else f"{reply.status_code} {found['code']}"

        return Counter(await asyncio.gather(*(one(number) for number in range(images))))


def hammer(urls: Sequence[str], images: int, at_once: int = 24) -> Counter[str]:
    """Classify images, a third each dark, grey and bright. Counts labels, and problems by status and code."""
    return asyncio.run(_send(urls, images, at_once))
