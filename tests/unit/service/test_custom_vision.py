"""A published iteration of Custom Vision as a backend: its request, its replies, its refusals, its key."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models import imaging
from models.custom_vision_limits import MAX_PREDICTION_BYTES as MAX_BYTES
from service.backends.custom_vision import CustomVisionBackend
from service.backends.custom_vision_errors import explain
from service.domain import Inferred, Scores
from service.errors import BackendFailed, BudgetSpent, ConfigurationError, RemoteBusy, RemoteDown, RemoteFailed, RemoteTimedOut
from service.settings import load_settings
from service.tally import Tally
from tests.support.custom_vision.accounts import Served, serving_account
from tests.support.custom_vision.faults import HTML, Reply, gateway, problem, reply_of
from tests.support.custom_vision.state import PREDICTION_KEY, Account, new_id
from tests.support.images import encoded, plain
from tests.unit.service.stand_ins import soon, until

LABELS = ["dark", "grey", "bright"]
FAST = 100
"""By which the tier's rates are multiplied where they are not what is tested."""


@pytest.fixture
def there() -> Iterator[Served]:
    account = Account()
    account.published(LABELS)
    with serving_account(account, factor=FAST) as found:
        yield found


@asynccontextmanager
async def started(there: Served, folder: Path, **chosen: object) -> AsyncIterator[CustomVisionBackend]:
    (project,) = there.predictions.account.projects
    group: dict[str, object] = {
        "endpoint": there.url,
        "key": PREDICTION_KEY,
        "project": project,
        "published_name": "production",
        "rate": 20 * FAST,
    }
    backend = CustomVisionBackend(load_settings(custom_vision=group | chosen, data_dir=folder), Tally())
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()


async def scores(backend: CustomVisionBackend, image: bytes) -> Scores:
    (outcome,) = await soon(backend.infer([backend.prepare(image)]))
    assert isinstance(outcome, Inferred)
    return outcome.scores


async def known(backend: CustomVisionBackend) -> None:
    await until(lambda: backend.describe()["state"] == "ready", "it has answered")


async def looked(backend: CustomVisionBackend) -> str:
    """Why the look at the start failed."""
    await until(lambda: backend.describe()["state"] == "failing", "the look has failed")
    return str(backend.describe()["reason"])


async def test_the_image_travels_as_it_is_to_the_published_name(there: Served, tmp_path: Path) -> None:
    async with started(there, tmp_path) as backend:
        await known(backend)
        assert backend.identity.labels == ("bright", "dark", "grey"), "by name: it answers the most probable first"
        image = encoded("JPEG")
        assert (await scores(backend, image)).sum() == pytest.approx(1, abs=1e-5)
        assert backend.identity.labels[(await scores(backend, plain(255))).argmax()] == "bright"
    look, asked, _ = there.predictions.asked
    (project,) = there.predictions.account.projects
    assert asked.path == f"/customvision/v3.1/prediction/{project}/classify/iterations/production/image/nostore"
    assert asked.headers["content-type"] == "application/octet-stream"
    assert asked.headers["prediction-key"] == PREDICTION_KEY
    assert asked.image == image
    assert imaging.decode(look.image).shape == (96, 96, 3)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_name_is_encoded_to_its_last_slash_and_a_base_path_is_kept(tmp_path: Path, slash: str) -> None:
    account = Account()
    account.published(LABELS, name="Iteration 1/é?")
    with serving_account(account, factor=FAST) as there:
        chosen = {"published_name": "Iteration 1/é?", "endpoint": f"{there.url}/base/path{slash}", "store": True}
        async with started(there, tmp_path, **chosen) as backend:
            reason = await looked(backend)
        assert "PARALLAX_CUSTOM_VISION__ENDPOINT" in reason, "nothing answers there"
        (project,) = account.projects
        path = f"/customvision/v3.1/prediction/{project}/classify/iterations/Iteration%201%2F%C3%A9%3F/image"
        assert backend._settings.address == f"{there.url}/base/path{path}"
        async with started(there, tmp_path, **chosen | {"endpoint": there.url + slash}) as backend:
            await known(backend)
        assert there.predictions.asked[-1].path == path


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ({"key": "another"}, "__KEY"),
        ({"project": new_id()}, "__PROJECT"),
        ({"published_name": "another"}, "__PUBLISHED_NAME"),
        ({"endpoint": "http://127.0.0.1:1"}, "can't be reached"),
    ],
)
async def test_the_look_at_the_start_says_what_is_wrong(
    there: Served, tmp_path: Path, chosen: dict[str, object], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    timeout_s = 1 if "endpoint" in chosen else 20
    async with started(there, tmp_path, timeout_s=timeout_s, **chosen) as backend:
        reason = await looked(backend)
        assert named in reason
        await until(lambda: "remote backend does not answer" in caplog.messages, "it is logged")
        if "endpoint" not in chosen:
            assert _calls(backend) == 1, "it counts as a call, and is not tried at once again"


def _calls(backend: CustomVisionBackend) -> int:
    return int(backend.describe()["remote"]["month"]["calls"])


@pytest.mark.parametrize(
    ("status", "said", "hint", "seconds"),
    [
        (404, '{"code": "NotFoundProject", "message": "x"}', "__PROJECT", None),
        (400, '{"Code": "BadRequestIterationNotPublished", "Message": ""}', "__PUBLISHED_NAME", None),
        (404, '{"code": "Whatever", "message": "Invalid iteration"}', "__PUBLISHED_NAME", None),
        (404, '{"statusCode": 404, "message": "Resource not found"}', "__ENDPOINT", None),
        (401, '{"error": {"code": "401", "message": "Access denied"}}', "__KEY", None),
        (403, '{"error": "Access denied"}', "__KEY", None),
        (429, '{"error": {"code": "429", "message": "Rate limit. Try again in 86400 seconds."}}', "", 86_400),
        (429, '{"error": {"code": "429", "message": "Please retry after 1 second."}}', "", 1),
        (429, "Please retry after 7 seconds", "", 7),
        *[(500, said, "", None) for said in ("", "null", HTML, "[1]", '"x"', '{"error": null}', "[" * 100_000, "\x00\ufffd")],
    ],
)
def test_every_shape_of_refusal_is_read(status: int, said: str, hint: str, seconds: float | None) -> None:
    found = explain(status, said.encode())
    assert hint in (found.hint or "")
    assert bool(found.hint) == bool(hint)
    assert found.retry_after == seconds


@pytest.mark.parametrize("kind", ["500", "html", "empty", "null", "capital"])
async def test_what_breaks_now_and_then_is_asked_again(there: Served, tmp_path: Path, kind: Any) -> None:  # noqa: ANN401
    async with started(there, tmp_path) as backend:
        await known(backend)
        there.predictions.faults.script.append(reply_of(kind))
        assert (await scores(backend, plain(0))).argmax() == 1
        assert backend.tally.retries == 1
        assert _calls(backend) == len(there.predictions.asked) == 3


async def test_one_that_hangs_is_asked_again_within_the_deadline(there: Served, tmp_path: Path) -> None:
    async with started(there, tmp_path, attempt_timeout_s=0.3) as backend:
        await known(backend)
        there.predictions.faults.script.append(reply_of("hang"))
        assert (await scores(backend, plain(0))).argmax() == 1
        there.predictions.faults.always = reply_of("hang")
        backend._remote._timeout_s = 0.1
        with pytest.raises(RemoteTimedOut):
            await scores(backend, plain(0))


async def test_its_429_is_honoured_by_the_seconds_in_its_words(there: Served, tmp_path: Path) -> None:
    async with started(there, tmp_path) as backend:
        await known(backend)
        there.predictions.faults.always = gateway(429, "Rate limit is exceeded. Try again in 86400 seconds.")
        with pytest.raises(RemoteBusy, match="429") as busy:
            await scores(backend, plain(0))
        assert busy.value.retry_after == 86_400
        there.predictions.faults.always = None
        there.predictions.faults.script.append(gateway(429, "Please retry after 1 second.", {"Retry-After": "0"}))
        assert (await scores(backend, plain(0))).argmax() == 1
        assert backend.tally.calls["throttled"] == 2


async def test_a_rate_that_is_less_than_what_is_asked_is_told_as_busy(there: Served, tmp_path: Path) -> None:
    async with started(there, tmp_path, rate=1, timeout_s=0.5) as backend:
        await known(backend)
        with pytest.raises(RemoteBusy, match="than its rate allows"):
            await scores(backend, plain(0))
    assert there.predictions.busiest_second == 1


async def test_neither_key_nor_image_follow_a_redirect(there: Served, tmp_path: Path) -> None:
    account = Account()
    with serving_account(account) as elsewhere:
        async with started(there, tmp_path) as backend:
            await known(backend)
            there.predictions.faults.script.append(reply_of("redirect", elsewhere.url.replace("127.0.0.1", "localhost")))
            with pytest.raises(RemoteFailed, match="sends on to localhost"):
                await scores(backend, plain(0))
        assert elsewhere.predictions.asked == []


async def test_a_service_that_is_down_is_left_alone(there: Served, tmp_path: Path) -> None:
    async with started(there, tmp_path) as backend:
        await known(backend)
        there.predictions.faults.always = reply_of("500")
        backend._remote._wait = lambda _seconds: asyncio.sleep(0)
        with pytest.raises(RemoteDown, match="left alone"):
            await scores(backend, plain(0))
        assert backend.describe()["remote"]["breaker"] == "open"
        assert len(there.predictions.asked) == 6, "one before, five in a row"


async def test_a_spent_budget_sends_nothing_more(there: Served, tmp_path: Path) -> None:
    for left in (1, 0):
        async with started(there, tmp_path, monthly_calls=2, usd_per_1000=2, labels=LABELS) as backend:
            if left:
                await known(backend)
                assert (await scores(backend, plain(0))).argmax() == 0
            with pytest.raises(BudgetSpent):
                await scores(backend, plain(0))
            assert backend.describe()["remote"]["month"] == {"calls": 2, "budget": 2, "usd": 0.004}
    assert len(there.predictions.asked) == 2


@pytest.mark.parametrize(
    ("probabilities", "what"),
    [([0.9, 0.8, 0.7], "sum to 2.40"), ([float("nan"), 0, 1], "none"), ([-0.1, 0.1, 1], "none")],
)
async def test_several_tags_an_image_and_nonsense_are_refused(
    there: Served, tmp_path: Path, probabilities: list[float], what: str
) -> None:
    (project,) = there.predictions.account.projects.values()
    project.iterations[0].classifier = lambda _image: probabilities
    async with started(there, tmp_path) as backend:
        with pytest.raises(RemoteFailed, match=what):
            await scores(backend, plain(0))


@pytest.mark.parametrize(
    "said",
    ["[]", "{}", '{"predictions": null}', '{"predictions": [1, 2]}', '{"predictions": []}', '{"predictions": [{}, {}]}'],
)
async def test_replies_in_no_known_form_are_its_failure(there: Served, tmp_path: Path, said: str) -> None:
    there.predictions.faults.always = Reply(200, said)
    async with started(there, tmp_path) as backend:
        with pytest.raises(RemoteFailed, match="answered"):
            await scores(backend, plain(0))


async def test_boxes_are_of_another_kind_of_project(there: Served, tmp_path: Path) -> None:
    box = {"left": 0, "top": 0, "width": 1, "height": 1}
    rows = [{"tagName": name, "probability": 0.5, "boundingBox": box} for name in "ab"]
    there.predictions.faults.always = Reply(200, json.dumps({"predictions": rows}))
    async with started(there, tmp_path) as backend:
        with pytest.raises(RemoteFailed, match="detects objects"):
            await scores(backend, plain(0))


async def test_a_negative_tag_is_a_label_like_others(tmp_path: Path) -> None:
    account = Account()
    account.published(["Negative", "sea"])
    with serving_account(account, factor=FAST) as there:
        async with started(there, tmp_path) as backend:
            await known(backend)
            assert backend.identity.labels[(await scores(backend, plain(0))).argmax()] == "Negative"


async def test_other_tags_than_before_ask_for_a_reload(there: Served, tmp_path: Path) -> None:
    async with started(there, tmp_path) as backend:
        await known(backend)
        (project,) = there.predictions.account.projects.values()
        project.tags[0].name = "night"
        with pytest.raises(RemoteFailed, match="POST /v1/backends/custom_vision/reload"):
            await scores(backend, plain(0))


def _webp(side: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


async def test_what_it_does_not_read_is_encoded_anew(there: Served, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (12_000, 600)).save(buffer, "JPEG")
    noise = np.random.default_rng(0).integers(0, 256, (1300, 1300, 3), np.uint8)
    large = io.BytesIO()
    Image.fromarray(noise).save(large, "PNG")
    assert len(large.getvalue()) > MAX_BYTES
    async with started(there, tmp_path) as backend:
        for image in (_webp(64), buffer.getvalue(), large.getvalue()):
            await scores(backend, image)
    for asked in there.predictions.asked[-3:]:
        assert asked.image[:3] in (b"\xff\xd8\xff", b"\x89PN")
        assert len(asked.image) <= MAX_BYTES
        assert max(imaging.decode(asked.image).shape) <= 10_240


async def test_the_key_is_nowhere_but_in_its_header(there: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with started(there, tmp_path) as backend:
        await known(backend)
        told = [repr(backend._settings), repr(vars(backend)), repr(vars(backend._turnstile)), json.dumps(backend.describe())]
        bodies = (f"<{PREDICTION_KEY}>", f'{{"a": "{PREDICTION_KEY}"}}')
        for said in (problem(400, "X", PREDICTION_KEY), *(Reply(200, body) for body in bodies)):
            there.predictions.faults.script.append(said)
            try:
                await scores(backend, plain(0))
            except RemoteFailed as exc:
                told += [str(exc), repr(exc.__cause__), json.dumps(backend.describe())]
    assert len(told) == 10
    told += [json.dumps(vars(record), default=str) for record in caplog.records]
    assert not [text for text in told if PREDICTION_KEY in text]
    assert not [file for file in tmp_path.iterdir() if PREDICTION_KEY.encode() in file.read_bytes()]  # noqa: ASYNC240  # it is over


@pytest.mark.parametrize(
    ("group", "what"),
    [
        ({"endpoint": "https://x.example"}, "KEY and .*PROJECT and .*PUBLISHED_NAME"),
        ({"endpoint": "http://x.example"}, "https"),
        ({"endpoint": "https://x.example/customvision/v3.0/Prediction/1/classify"}, "only the resource's address"),
        ({"endpoint": "https://x.example?a=b"}, "only the resource's address"),
        ({"key": "wörd"}, "ASCII"),
        ({"project": "mine"}, "UUID"),
        ({"published_name": ".."}, "published"),
        ({"labels": ["a"]}, "two or more"),
        ({"tier": "S1"}, "F0"),
    ],
)
def test_settings_that_can_t_be_are_refused_by_name(group: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigurationError, match=what) as refused:
        load_settings(custom_vision=group)
    assert "PARALLAX_CUSTOM_VISION" in str(refused.value)


@pytest.mark.parametrize(
    ("group", "rate"),
    [({"tier": "F0"}, 2), ({}, 20), ({"store": True}, 10), ({"tier": "F0", "store": True}, 2), ({"rate": 7}, 7)],
)
def test_the_tier_says_the_rate_unless_it_is_given(group: dict[str, object], rate: int) -> None:
    assert load_settings(custom_vision=group).custom_vision.allowed_rate == rate


def test_a_worker_has_its_part_of_the_places_and_the_whole_rate() -> None:
    shared = load_settings(custom_vision={"max_in_flight": 8}).shared_by(3).custom_vision
    assert (shared.max_in_flight, shared.allowed_rate) == (2, 20)


def test_without_an_endpoint_there_is_none() -> None:
    with pytest.raises(BackendFailed, match="ENDPOINT"):
        CustomVisionBackend(load_settings(), Tally())


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///x", "pg-host"])
def test_a_database_that_is_none_of_ours_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="PARALLAX_DATABASE_URL") as refused:
        load_settings(database_url=url)
    assert url not in str(refused.value)
