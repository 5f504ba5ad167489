"""One place for what a call of the SDK can end in; the key goes to the endpoint and nowhere else."""

import logging
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from models.errors import UsageError
from models.refusals import code_and_message
from tests.support.custom_vision.script import Fault
from tests.support.custom_vision.state import TRAINING_KEY
from tests.unit.training.customvision.conftest import Cloud, clouds
from training.customvision.access import Access, training_access
from training.customvision.client import ATTEMPTS, ServiceError, patience, training_service
from training.customvision.rate import Rate

DOMAINS = "/domains"


def ask(cloud: Cloud, *, again: bool = True) -> int:
    service = cloud.training()
    return len(service.call("listing the domains", service.client.get_domains, again=again))


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (400, b'{"code": "BadRequestInvalidIds", "message": "No."}', "BadRequestInvalidIds", "BadRequestInvalidIds No."),
        (400, b'{"Code": "BadRequest", "Message": "No."}', "BadRequest", "BadRequest No."),
        (401, b'{"error": {"code": "401", "message": "Access denied"}}', "401", "401 Access denied. Is PARALLAX_CUSTOM_VISION_T"),
        (404, b'{"statusCode": 404, "message": "Resource not found"}', "404", "404 Resource not found"),
        (403, b"", "", "answered 403: it gave no reason. Is PARALLAX"),
        (400, b"null", "", "answered 400: it gave no reason"),
        (409, b"<html><h1>Conflict</h1></html>", "", "answered 409: it gave no reason"),
        (418, b"just words", "", "just words"),
        (302, b"", "", "answered 302: it gave no reason. It is not followed"),
    ],
)
def test_every_shape_of_a_failure_keeps_its_status(cloud: Cloud, status: int, body: bytes, code: str, words: str) -> None:
    cloud.script.faults = [Fault(DOMAINS, status, body)]
    with pytest.raises(ServiceError) as caught:
        ask(cloud)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "listing the domains: 127.0.0.1" in str(caught.value)
    assert words in str(caught.value)
    assert len(cloud.script.requests) == 1


@pytest.mark.parametrize("body", [b"[1, 2", b'{"id": 3}', b"<html></html>"])
def test_an_answer_that_cannot_be_read_is_a_failure(cloud: Cloud, body: bytes) -> None:
    cloud.script.faults = [Fault(DOMAINS, 200, body, {"Content-Type": "application/json"}, times=99)]
    with pytest.raises(ServiceError, match="answered with what can't be read"):
        ask(cloud)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_waited_for(cloud: Cloud, status: int) -> None:
    cloud.script.faults = [Fault(DOMAINS, status, b"", times=2)]
    assert ask(cloud) > 0
    assert len(cloud.script.requests) == 3
    first, second = cloud.time.slept
    assert 0.5 <= first <= 0.625
    assert 1 <= second <= 1.25


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Retry-After": "7"}, b""),
        ({}, b'{"error": {"code": "429", "message": "Rate limit is exceeded. Try again in 7 seconds."}}'),
        ({}, b'{"error": {"code": "429", "message": "... pricing tier. Please retry after 7 second. To increase"}}'),
    ],
)
def test_the_service_says_how_long(cloud: Cloud, headers: dict[str, str], body: bytes) -> None:
    cloud.script.faults = [Fault(DOMAINS, 429, body, headers)]
    assert ask(cloud) > 0
    assert 7 <= sum(cloud.time.slept) <= 8.75


def test_a_months_quota_is_not_waited_for(cloud: Cloud) -> None:
    cloud.script.faults = [Fault(DOMAINS, 429, b'{"error": {"code": "429", "message": "Try again in 86400 seconds."}}')]
    with pytest.raises(ServiceError, match="86400"):
        ask(cloud)
    assert cloud.time.slept == []


def test_it_gives_up_in_the_end(cloud: Cloud) -> None:
    cloud.script.faults = [Fault(DOMAINS, 503, b"", times=99)]
    with pytest.raises(ServiceError, match="answered 503"):
        ask(cloud)
    assert len(cloud.script.requests) == ATTEMPTS


def test_what_must_not_be_done_twice_is_tried_again_for_the_rate_alone(cloud: Cloud) -> None:
    cloud.script.faults = [Fault(DOMAINS, 429, b""), Fault(DOMAINS, 500, b"")]
    with pytest.raises(ServiceError, match="answered 500"):
        ask(cloud, again=False)
    assert len(cloud.script.requests) == 2


def test_a_redirect_does_not_take_the_key_along(cloud: Cloud) -> None:
    with clouds() as other:
        service = cloud.training()
        headers = {"Location": f"{other.url}/customvision/v3.4-preview/training/projects?name=x"}
        cloud.script.faults = [Fault("/projects", 307, b"", headers)]
        with pytest.raises(ServiceError, match=r"307.*the key would go along"):
            service.call("creating", service.client.create_project, "x")
        assert other.script.requests == []


def test_a_proxy_of_the_environment_has_no_part_on_loopback(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(cloud) > 0


def test_nobody_there_is_told_at_once() -> None:
    service = training_service(Access("http://127.0.0.1:9", SecretStr("k" * 20)), Rate(1000))
    began = time.monotonic()
    with pytest.raises(ServiceError, match=r"listing: 127.0.0.1:9 gives no answer"):
        service.call("listing", service.client.get_domains, again=False)
    assert time.monotonic() - began < 3, "msrest's own attempts take 4.8 s"


def test_no_key_in_errors_logs_and_reprs(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    cloud.script.faults = [Fault(DOMAINS, 400, f'{{"code": "x", "message": "bad key {TRAINING_KEY}"}}'.encode())]
    with pytest.raises(ServiceError, match=r"bad key \*\*\*") as caught:
        ask(cloud)
    ask(cloud)
    for text in (caplog.text, repr(caught.value), repr(cloud.training().access), str(cloud.training().access)):
        assert TRAINING_KEY not in text


def test_a_fault_of_our_own_is_not_dressed_up(cloud: Cloud) -> None:
    with pytest.raises(TypeError):
        cloud.training().call("listing", lambda timeout: len(3))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "found"),
    [("[]", ("", "")), ("3", ("", "")), ('{"error": "x"}', ("", "")), ("  <html>", ("", "")), ("plain", ("", "plain"))],
)
def test_bodies_that_say_little(text: str, found: tuple[str, str]) -> None:
    assert code_and_message(text) == found
    assert patience({}, found[1]) is None


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("http://x.cognitiveservices.azure.com", "must begin with https://"),
        ("x.cognitiveservices.azure.com", "must be an address"),
        ("https://user:secret@x.azure.com", "must be an address"),
        ("https://x.azure.com:port", "must be an address"),
        ("ftp://x.azure.com", "must be an address"),
        ("https://x.azure.com/customvision/v3.0/Prediction/1", "the resource's own address"),
        ("https://x.azure.com/?a=b", "the resource's own address"),
    ],
)
def test_an_endpoint_that_a_key_must_not_go_to(monkeypatch: pytest.MonkeyPatch, endpoint: str, reason: str) -> None:
    monkeypatch.setenv("PARALLAX_CUSTOM_VISION_TRAINING_KEY", TRAINING_KEY)
    with pytest.raises(UsageError, match=reason) as caught:
        training_access(endpoint, None)
    assert "secret" not in str(caught.value)


def test_the_key_comes_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="say --endpoint, or set PARALLAX_CUSTOM_VISION_TRAINING_ENDPOINT"):
        training_access(None, None)
    monkeypatch.setenv("PARALLAX_CUSTOM_VISION_TRAINING_ENDPOINT", "https://x.azure.com/")
    with pytest.raises(UsageError, match="there is no key: set PARALLAX_CUSTOM_VISION_TRAINING_KEY"):
        training_access(None, None)
    monkeypatch.setenv("PARALLAX_CUSTOM_VISION_TRAINING_KEY", " from-the-environment\n")
    found = training_access(None, None)
    assert (found.endpoint, found.key.get_secret_value()) == ("https://x.azure.com", "from-the-environment")
    monkeypatch.setenv("PARALLAX_CUSTOM_VISION_TRAINING_KEY", "two words")
    with pytest.raises(UsageError, match="a key is one word") as caught:
        training_access(None, None)
    assert "two words" not in str(caught.value)
    (tmp_path / "key").write_text("from-a-file\n", encoding="utf-8")
    assert training_access(None, tmp_path / "key").key.get_secret_value() == "from-a-file"
    with pytest.raises(UsageError, match="can't be read"):
        training_access(None, tmp_path / "absent")


def test_calls_are_spaced_and_held() -> None:
    now = [0.0]
    rate = Rate(4, clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    times = []
    for number in range(5):
        rate.turn()
        times.append(now[0])
        if number == 2:
            rate.hold(10)
    assert times == [0, 0.25, 0.5, 10.5, 10.75]
