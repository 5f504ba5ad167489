"""Fetching for callers: names are resolved once, judged, and the connection goes where that said."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from service.custom_vision_api_settings import CustomVisionApiSettings
from service.errors import BadImageUrl
from service.fetching import ImageFetcher
from tests.support.custom_vision.server import serving

pytestmark = pytest.mark.anyio


class Names:
    """A name server of the test's own: each question gets the next of its answers, the last one for good."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

        async def getaddrinfo(_loop: object, host: str, port: int, **_options: object) -> list[Any]:
            try:
                socket.inet_pton(socket.AF_INET, host)
            except OSError:
                self.questions.append(host)
                found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            else:
                found = [host]
            if not found:
                raise socket.gaierror("no such name")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


async def fetched(url: str, **settings: Any) -> bytes:  # noqa: ANN401
    fetcher = ImageFetcher(CustomVisionApiSettings(url=True, **settings))
    try:
        return await fetcher.fetch(url, 1000)
    finally:
        await fetcher.close()


async def test_a_name_is_asked_for_once_and_the_host_is_told_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        await Response(Request(scope).headers["host"])(scope, receive, send)

    with serving(app) as address:
        port = address.rpartition(":")[2]
        names = Names(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
        host = f"pictures.example:{port}"
        assert await fetched(f"http://{host}/a.png", url_hosts=[host]) == host.encode()
    assert names.questions == ["pictures.example"]


@pytest.mark.parametrize("answer", [["10.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["168.63.129.16"], []])
async def test_a_name_that_stands_for_anything_inside_is_refused(monkeypatch: pytest.MonkeyPatch, answer: list[str]) -> None:
    Names(monkeypatch, answer)
    with pytest.raises(BadImageUrl):
        await fetched("https://pictures.example/a.png")


async def test_only_the_ports_of_the_web_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, ["93.184.216.34"])
    with pytest.raises(BadImageUrl, match="ports 80 and 443"):
        await fetched("https://pictures.example:6379/")


async def test_an_allowed_name_allows_no_other_port(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, ["127.0.0.1"])
    with pytest.raises(BadImageUrl, match="public"):
        await fetched("http://pictures.example:81/", url_hosts=["pictures.example:82"])


async def test_who_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, ["127.0.0.1"])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"pictures.example:{silent.getsockname()[1]}"
        with pytest.raises(BadImageUrl, match=r"within 0\.2 s"):
            await fetched(f"http://{host}/", url_hosts=[host], url_timeout_s=0.2)
