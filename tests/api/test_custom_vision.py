"""Custom Vision's own API, beyond what its SDK asks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.api.conftest import ENDLESS
from tests.support.custom_vision.server import serving as serving_app
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.support.sdk import Target, refused
from tests.support.server import Connection, Server, eventually, serving

LABELS = ["dark", "grey", "bright"]
PROJECT = "3be7a5b2-9c5e-4f0e-8a51-2a9d6c1f0e77"
ROUTE = f"/customvision/v3.1/prediction/{PROJECT}/classify/iterations/tiny/image"


def flat(response: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, which must have Custom Vision's form."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"code", "message"}
    assert body["message"]
    return response.status_code, body["code"]


@pytest.mark.usefixtures("still_healthy")
@pytest.mark.parametrize("version", ["v3.0", "v3.1"])
@pytest.mark.parametrize("prediction", ["prediction", "Prediction"])
@pytest.mark.parametrize("store", ["", "/nostore"])
def test_addresses_copied_from_the_portal_work(client: httpx.Client, version: str, prediction: str, store: str) -> None:
    path = f"/customvision/{version}/{prediction}/{PROJECT}/classify/iterations/tiny/image{store}"
    headers = {"Prediction-Key": "any", "Content-Type": "application/octet-stream"}
    response = client.post(path, content=plain(250), headers=headers).raise_for_status()
    first = response.json()["predictions"][0]
    assert first["tagName"] == "bright"
    assert ("tagType" in first) == (version == "v3.1")


def test_scores_are_those_of_classify(client: httpx.Client) -> None:
    image = plain(90)
    ours = client.post("/v1/classify?backend=tiny", content=image).raise_for_status().json()["predictions"]
    theirs = client.post(ROUTE, content=image).raise_for_status().json()["predictions"]
    assert [(one["label"], one["probability"]) for one in ours] == [(one["tagName"], one["probability"]) for one in theirs]


def test_a_form_with_a_filename_and_with_other_fields_is_read(client: httpx.Client) -> None:
    response = client.post(ROUTE, data={"note": "x" * 2000}, files={"imageData": ("a.png", plain(0), "image/png")})
    assert response.raise_for_status().json()["predictions"][0]["tagName"] == "dark"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (ROUTE.replace("v3.1", "v2.0"), 404, "NotFound"),
        (ROUTE.replace("classify", "detect"), 404, "NotFound"),
        (ROUTE.replace("prediction", "training"), 404, "NotFound"),
        ("/customvision/", 404, "NotFound"),
        (ROUTE.replace("tiny", "nothing"), 404, "NotFoundIteration"),
    ],
)
def test_every_error_has_the_services_own_form(client: httpx.Client, path: str, status: int, code: str) -> None:
    assert flat(client.post(path, content=plain(0))) == (status, code)


def test_other_methods_and_bodies_are_refused_in_the_same_form(client: httpx.Client) -> None:
    assert flat(client.get(ROUTE)) == (405, "BadRequestNotSupported")
    assert flat(client.post(ROUTE, files={"image": plain(0)})) == (400, "BadRequestImageStream")
    assert flat(client.post(ROUTE, content=b"", headers={"Content-Type": "image/png"})) == (400, "BadRequestImageFormat")
    assert flat(client.post(ROUTE, content=plain(0), headers={"Origin": "https://evil.example"})) == (403, "Forbidden")
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert flat(client.post(ROUTE, content=b"--x\r\nbroken", headers=broken)) == (400, "BadRequestImageStream")
    xml = {"Content-Type": "application/xml"}
    address = ROUTE.removesuffix("image") + "url"
    assert flat(client.post(address, content=b"<url/>", headers=xml))[0] == 400  # off: nothing is read


def test_an_image_that_is_too_large_is_known_by_what_it_states(server: Server) -> None:
    with Connection(server) as connection:
        connection.post(ROUTE, b"", length=4 * 1024 * 1024 + 1)
        assert flat(connection.reply()) == (400, "BadRequestImageSizeBytes")


def test_a_full_queue_says_when_to_come_back(home: Path) -> None:
    path = ROUTE.replace("tiny", "fake")
    with serving(home, **ENDLESS, max_queue=1) as server, Connection(server) as waiting, server.client() as client:
        waiting.post("/v1/classify?backend=fake", plain(0))
        eventually(lambda: server.backend("fake")["queue"]["held"] == 1, "the first image is inside")
        response = client.post(path, content=plain(0))
    assert flat(response) == (429, "429")
    assert int(response.headers["retry-after"]) >= 1


def test_keys_of_ours_are_taken_too_and_none_is_not_enough(home: Path) -> None:
    with serving(home, api_keys="app:a-key-of-sixteen-or-more") as server, server.client() as client:
        assert flat(client.post(ROUTE, content=plain(0))) == (401, "401")
        for headers in (
            {"Prediction-Key": "a-key-of-sixteen-or-more"},
            {"X-API-Key": "a-key-of-sixteen-or-more"},
            {"Authorization": "Bearer a-key-of-sixteen-or-more"},
        ):
            client.post(ROUTE, content=plain(0), headers=headers).raise_for_status()
        # the header means nothing elsewhere
        elsewhere = client.post("/v1/classify", content=plain(0), headers={"Prediction-Key": "a-key-of-sixteen-or-more"})
        assert elsewhere.status_code == 401
        client.post(ROUTE, content=plain(0), headers={"Prediction-Key": "a-wrong-key-of-somebody"})
        metrics = client.get("/metrics", headers={"X-API-Key": "a-key-of-sixteen-or-more"}).text
    assert not any(key in text for key in ("a-key-of-sixteen", "a-wrong-key") for text in (server.text, metrics))


class Pictures:
    """A site with images, and with worse."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.elsewhere = ""
        self.app = Starlette(routes=[Route("/{what}", self.answer)])

    async def answer(self, request: Request) -> Response:
        what = request.path_params["what"]
        self.asked.append(what)
        if what == "moved":
            return RedirectResponse("bright.png", 302)
        if what == "inside":
            return RedirectResponse(self.elsewhere, 307)
        if what == "round":
            return RedirectResponse("round", 302)
        if what == "endless":
            return StreamingResponse(_endless())
        if what == "gone":
            return Response("gone", 404)
        return Response(plain(250), media_type="image/png") if what == "bright.png" else Response("<html>")


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(65_536)
        await asyncio.sleep(0)  # where a hang-up is noticed


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Pictures, str]]:
    pictures = Pictures()
    with serving_app(pictures.app) as address:
        yield pictures, address


@pytest.fixture(scope="module")
def fetching(tmp_path_factory: pytest.TempPathFactory, site: tuple[Pictures, str]) -> Iterator[Target]:
    """A service that may fetch from that site, and from public addresses."""
    folder = tmp_path_factory.mktemp("fetching")
    tiny_model(folder / "store", labels=LABELS)
    hosts = [site[1].removeprefix("http://")]
    with serving(folder, custom_vision_api__url=True, custom_vision_api__url_hosts=hosts) as server:
        yield Target(server.url, "any", PROJECT, "tiny")


def by_address(target: Target, url: str) -> Any:  # noqa: ANN401  # the SDK is untyped
    with target.client() as client:
        return client.classify_image_url(target.project, target.published_name, url=url)


def test_an_image_is_fetched_where_that_is_allowed(fetching: Target, site: tuple[Pictures, str]) -> None:
    for name in ("bright.png", "moved"):
        assert by_address(fetching, f"{site[1]}/{name}").predictions[0].tag_name == "bright"
    with fetching.client() as client:
        no_store = client.classify_image_url_with_no_store(PROJECT, "tiny", url=f"{site[1]}/bright.png")
    assert no_store.predictions[0].tag_name == "bright"


def test_what_is_no_image_too_large_gone_or_goes_in_circles_is_told_apart(fetching: Target, site: tuple[Pictures, str]) -> None:
    for name, code in {
        "text": "BadRequestImageFormat",
        "endless": "BadRequestImageSizeBytes",
        "gone": "BadRequestImageUrl",
        "round": "BadRequestImageUrl",
    }.items():
        with refused(400, code):
            by_address(fetching, f"{site[1]}/{name}")


def test_nothing_inside_is_asked_not_even_by_a_redirect(fetching: Target, site: tuple[Pictures, str]) -> None:
    pictures, address = site
    inner = Pictures()
    with serving_app(inner.app) as forbidden:
        pictures.elsewhere = f"{forbidden}/bright.png"
        for url in (
            f"{forbidden}/bright.png",
            f"{address}/inside",
            forbidden.replace("127.0.0.1", "localhost"),
            forbidden.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
            forbidden.replace("127.0.0.1", "2130706433"),
            "http://169.254.169.254/metadata/instance",
            "http://168.63.129.16/",
            "file:///etc/passwd",
            "http://user:password@127.0.0.1/",
            "nothing",
        ):
            with refused(400, "BadRequestImageUrl"):
                by_address(fetching, url)
    assert inner.asked == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"url": 3}', b'{"url": ""}', b"\xff"])
def test_a_body_without_an_address_is_refused(fetching: Target, body: bytes) -> None:
    path = ROUTE.removesuffix("image") + "url"
    response = httpx.post(fetching.endpoint + path, content=body, headers={"Content-Type": "application/json"}, trust_env=False)
    assert flat(response) == (400, "BadRequestImageUrl")


def test_an_address_in_a_form_is_read_and_xml_is_not(fetching: Target, site: tuple[Pictures, str]) -> None:
    path = fetching.endpoint + ROUTE.removesuffix("image") + "url"
    assert httpx.post(path, data={"Url": f"{site[1]}/bright.png"}, trust_env=False).status_code == 200
    response = httpx.post(path, content=b"<url/>", headers={"Content-Type": "text/xml"}, trust_env=False)
    assert flat(response) == (415, "UnsupportedMediaType")
