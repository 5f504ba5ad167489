"""The bench's stand-in for Custom Vision, and the comparison made with it."""

import httpx
import pytest

from loadtest.bench import cloud
from loadtest.bench.images import generate
from loadtest.bench.proxy import HEADER, proxy
from service.backends.custom_vision import CustomVisionBackend
from service.settings import load_settings
from service.tally import Tally


async def test_the_stand_in_answers_as_the_backend_reads_it() -> None:
    transport = httpx.ASGITransport(cloud.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        reply = await client.post(cloud.PATH, content=b"image")
    settings = {"endpoint": "http://localhost", "key": cloud.KEY, "project": cloud.PROJECT, "published_name": cloud.NAME}
    backend = CustomVisionBackend(load_settings(custom_vision=settings), Tally())
    assert backend.probabilities(reply.json()) == cloud.PROBABILITIES
    assert str(backend._settings.address).endswith(cloud.PATH)
    await backend.close()


def test_a_call_through_the_service_is_held_against_one_without_it() -> None:
    sheet = proxy([generate(0)], pairs=3)
    straight, through = sheet.rows
    assert len(straight) == len(through) == len(HEADER)
    assert float(through[1]) > float(straight[1])
    assert float(through[3]) == pytest.approx(float(through[1]) - float(straight[1]), abs=50)
