"""The real SDK against whatever claims to be Custom Vision: our API, and the stand-in that the proxy is tested with."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.support.custom_vision.accounts import serving_account
from tests.support.custom_vision.state import PREDICTION_KEY, Account
from tests.support.images import encoded, plain
from tests.support.models import tiny_model
from tests.support.sdk import Target, refused
from tests.support.server import serving

LABELS = ["dark", "grey", "bright"]
PROJECT = "3be7a5b2-9c5e-4f0e-8a51-2a9d6c1f0e77"
NAME = "Iteration 1/é"
"""What must survive percent-encoding: a space, a slash, and a letter beyond ASCII."""
KEY = "a-prediction-key-of-32-characters"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A service whose project and published name stand for a backend of another name."""
    folder = tmp_path_factory.mktemp("ours")
    tiny_model(folder / "store", labels=LABELS)
    projects = f'{{"{PROJECT}": {{"{NAME}": "tiny"}}}}'
    with serving(folder, api_keys=f"app:{KEY}", custom_vision_api__projects=projects) as server:
        yield Target(server.url, KEY, PROJECT, NAME)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Target]:
    """What the tests of the proxy take for the cloud: were it easier to please than we are, they would prove little."""
    account = Account()
    project = account.published(LABELS, NAME)
    with serving_account(account, factor=1000) as served:
        yield Target(served.url, PREDICTION_KEY, project.id, NAME, nests_refusals=True)


@pytest.fixture(params=["ours", "stand_in"])
def target(request: pytest.FixtureRequest) -> Target:
    found: Target = request.getfixturevalue(request.param)
    return found


Ways: TypeAlias = Mapping[str, Callable[[Path], AbstractContextManager[Any]]]

WAYS: Ways = {
    "bytes": lambda path: nullcontext(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "an open file": lambda path: path.open("rb"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", [60, 600, 1180], ids=["11 KB", "1.1 MB", "4.2 MB"])
@pytest.mark.parametrize("method", ["classify_image", "classify_image_with_no_store"])
def test_every_way_to_send_an_image_gets_there(target: Target, method: str, side: int, way: str, tmp_path: Path) -> None:
    path = tmp_path / "photo é.bmp"
    path.write_bytes(plain(250, "BMP", side, side))
    assert path.stat().st_size < 4 * MIB
    with WAYS[way](path) as image, target.client() as client:
        found = getattr(client, method)(target.project, target.published_name, image)
    assert [one.tag_name for one in found.predictions] == ["bright", "grey", "dark"]
    assert sum(one.probability for one in found.predictions) == pytest.approx(1, abs=1e-3)
    assert {one.tag_type for one in found.predictions} == {"Regular"}
    assert len({one.tag_id for one in found.predictions}) == 3
    assert found.project == target.project
    assert found.created.tzinfo is not None


def test_bytes_that_look_like_text_or_like_a_boundary_arrive_as_they_are(target: Target) -> None:
    # The SDK sends bytes without a filename, which form readers take for text; a boundary begins with CRLF and two hyphens.
    picture = plain(250, "PNG")
    comments = [b"\r\n--", b"\r\n\r\n", "žluťoučký kůň".encode(), bytes(range(256)), b"\r\n--boundary--\r\n"]
    for comment in comments:
        assert target.classify(picture + comment).predictions[0].tag_name == "bright"


def test_answers_are_those_of_the_same_image_whatever_its_kind(target: Target) -> None:
    for kind in ("JPEG", "PNG", "BMP", "GIF"):
        assert target.classify(encoded(kind, 200, 100)).predictions[0].tag_name == "grey"


def test_ids_stay_the_same(target: Target) -> None:
    first, second = (target.classify(plain(0)) for _ in range(2))
    assert first.id != second.id
    assert first.iteration == second.iteration
    ids = [{one.tag_name: one.tag_id for one in found.predictions} for found in (first, second)]
    assert ids[0] == ids[1]


def test_a_wrong_key_a_wrong_project_and_a_wrong_name_are_told_apart(target: Target) -> None:
    with target.client("not-the-key-at-all") as client, refused(401, None if target.nests_refusals else "401"):
        client.classify_image(target.project, target.published_name, plain(0))
    with refused(404, "NotFoundProject"):
        target.classify(plain(0), project_id="00000000-0000-4000-8000-000000000000")
    with refused(404, "NotFoundIteration"):
        target.classify(plain(0), published_name="nothing")


def test_what_is_no_image_and_what_is_too_large_are_refused(target: Target) -> None:
    with refused(400, "BadRequestImageFormat"):
        target.classify(b"this is no image at all")
    for size in (4 * MIB + 1, 5_000_000, 30_000_000):
        with refused(400, "BadRequestImageSizeBytes"):
            target.classify(plain(0) + bytes(size))


def test_an_image_by_its_address_is_refused_unless_it_can_be_had(target: Target) -> None:
    for method in ("classify_image_url", "classify_image_url_with_no_store"):
        with target.client() as client, refused(400, "BadRequestImageUrl"):
            getattr(client, method)(target.project, target.published_name, url="http://127.0.0.1:1/nothing.jpg")
