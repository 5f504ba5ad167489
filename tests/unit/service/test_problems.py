"""The one table from errors to status codes, and everything made from it."""

import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator
from types import ModuleType

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from models import errors as shared
from models.errors import DatasetError, ImageError, ParallaxError
from service import errors
from service.api.problems import INTERNAL, MEDIA_TYPE, TABLE, problem, problem_response, problem_type, responses
from service.app import create_app
from service.errors import ConfigurationError, Overloaded, QueueFull, ServiceError
from service.settings import load_settings


def leaves(root: type[ParallaxError], module: ModuleType) -> Iterator[type[ParallaxError]]:
    children = [kind for kind in root.__subclasses__() if kind.__module__ == module.__name__]
    for kind in children:
        yield from leaves(kind, module)
    if not children:
        yield root


LEAVES = [
    *leaves(ImageError, shared),
    DatasetError,
    *(kind for kind in leaves(ServiceError, errors) if kind is not ConfigurationError),
]
"""Every error that a request can meet; `ConfigurationError` ends the start."""


def make(kind: type[ParallaxError]) -> ParallaxError:
    return kind("what to do", 7) if issubclass(kind, Overloaded) else kind("what to do")


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_error_that_a_request_can_meet_has_a_row_of_its_own(kind: type[ParallaxError]) -> None:
    assert kind in TABLE
    row = problem_type(make(kind))
    assert row is TABLE[kind]
    assert 400 <= row.status < 600


def test_the_table_has_no_row_for_anything_else() -> None:
    assert set(TABLE) == set(LEAVES)


def test_no_two_errors_share_a_code_or_a_title() -> None:
    assert max(Counter(row.code for row in [*TABLE.values(), INTERNAL]).values()) == 1
    assert max(Counter(row.title for row in [*TABLE.values(), INTERNAL]).values()) == 1
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", row.code) for row in TABLE.values())


@pytest.mark.parametrize("module", [shared, errors], ids=lambda module: module.__name__)
def test_the_tree_drawn_in_the_docstring_is_the_tree_of_the_classes(module: ModuleType) -> None:
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in inspect.cleandoc(module.__doc__ or "").splitlines():
        if found := re.match(r"([ │├└─]*)([A-Z]\w+)( {2,}.*)?$", line):
            depth, name = len(found[1]), found[2]
            above = [(other, parent) for other, parent in above if other < depth]
            if above:
                drawn[name] = above[-1][1]
            above.append((depth, name))
    kinds = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__]
    assert drawn == {kind.__name__: kind.__base__.__name__ for kind in kinds if kind is not ParallaxError and kind.__base__}


def test_a_body_is_what_rfc_9457_asks_for_with_a_code_and_a_request_id() -> None:
    response = problem_response(QueueFull("Come back.", 9), "id-1")
    assert response.status_code == 429
    assert response.headers["content-type"] == MEDIA_TYPE
    assert response.headers["retry-after"] == "9"
    assert json.loads(bytes(response.body)) == {
        "type": "urn:parallax:problem:queue-full",
        "title": "The backend's queue is full",
        "status": 429,
        "detail": "Come back.",
        "code": "queue-full",
        "request_id": "id-1",
    }


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_headers_follow_from_the_status(kind: type[ParallaxError]) -> None:
    response = problem_response(make(kind), "id-1")
    status = response.status_code
    assert ("retry-after" in response.headers) == (status in (429, 503))
    assert (response.headers.get("www-authenticate") == "Bearer") == (status == 401)
    assert (response.headers.get("connection") == "close") == (status == 408)


def test_a_descendant_has_the_row_of_its_nearest_ancestor() -> None:
    class VeryFull(QueueFull):
        pass

    assert problem_type(VeryFull("x", 1)).code == "queue-full"


@pytest.mark.parametrize(
    "exc", [RuntimeError("at /secret/path"), errors.ConfigurationError("key=abc"), shared.BrokenModel("/etc")]
)
def test_what_nobody_foresaw_is_a_500(exc: Exception) -> None:
    assert problem(exc, "id-1")["status"] == 500
    assert problem(exc, "id-1")["code"] == "internal-error"


def test_what_nobody_foresaw_is_not_told_to_strangers() -> None:
    assert "secret" not in json.dumps(problem(RuntimeError("at /secret/path"), "id-1"))


def test_the_frameworks_own_errors_become_problems_too() -> None:
    refused = problem_response(HTTPException(405, headers={"Allow": "POST"}), "id-1")
    assert json.loads(bytes(refused.body))["code"] == "method-not-allowed"
    assert refused.headers["allow"] == "POST"
    assert problem(HTTPException(404), "id-1")["code"] == "not-found"
    assert problem(HTTPException(418), "id-1")["code"] == "i'm-a-teapot"
    invalid = RequestValidationError([{"loc": ("query", "top"), "msg": "not a number"}])
    assert problem(invalid, "id-1") | {"detail": "top: not a number", "code": "bad-parameter", "status": 422} == problem(
        invalid, "id-1"
    )


def test_openapi_entries_of_one_status_are_joined_and_sorted() -> None:
    entries = responses(errors.QueueFull, errors.UploadsFull, errors.BadMultipart)
    assert list(entries) == [400, 429]
    assert "`queue-full`" in entries[429]["description"]
    assert "`uploads-full`" in entries[429]["description"]
    assert "Retry-After" in entries[429]["headers"]
    assert "headers" not in entries[400]


def test_every_error_in_the_openapi_page_is_a_problem_of_the_table_under_its_own_status() -> None:
    paths = create_app(load_settings()).openapi()["paths"]
    documented = [
        (f"{method} {path} {status}", entry)
        for path, methods in paths.items()
        if path.startswith("/v1/")
        for method, operation in methods.items()
        for status, entry in operation["responses"].items()
        if int(status) >= 400
    ]
    assert documented
    statuses = {row.code: str(row.status) for row in TABLE.values()}
    for where, entry in documented:
        assert list(entry["content"]) == [MEDIA_TYPE], where
        codes = re.findall(r"`([a-z-]+)`", entry["description"])
        assert codes, where
        assert {statuses[code] for code in codes} == {where.rsplit(" ", 1)[1]}, where
