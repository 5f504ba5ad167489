"""The OpenAPI page: from the service alone, and true."""

import re
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from service.api.problems import MEDIA_TYPE, TABLE


@pytest.fixture
def description(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").raise_for_status().json()
    return found


def test_the_page_and_all_that_it_loads_come_from_the_service(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    loaded = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)["']""", page.text)
    assert len(loaded) >= 3
    for address in loaded:
        if address.startswith("data:"):
            continue
        assert address.startswith("/"), address
        asset = client.get(urljoin("/docs", address))
        assert asset.status_code == 200, address
        assert len(asset.content) > 100, address


def test_our_own_files_name_no_other_site(client: httpx.Client) -> None:
    for path in ("/docs", "/docs/files/docs.js"):
        assert not re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", client.get(path).text), path


def test_the_browser_is_told_to_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    """The bundle of Swagger UI is not ours to read: this header holds whatever is in it."""
    policy = {
        name: sources
        for name, *sources in (part.split() for part in client.get("/docs").headers["content-security-policy"].split(";"))
    }
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == ["'self'"]
    assert policy["connect-src"] == ["'self'"]
    allowed = {source for sources in policy.values() for source in sources}
    assert allowed <= {"'none'", "'self'", "data:", "'unsafe-inline'"}
    assert "'unsafe-inline'" not in policy["script-src"]


def test_files_have_a_type_that_browsers_accept_under_nosniff(client: httpx.Client) -> None:
    for path, kind in (("/docs/files/docs.js", "javascript"), ("/docs/swagger/swagger-ui.css", "text/css")):
        response = client.get(path)
        assert kind in response.headers["content-type"]
        assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/docs/files/../settings.py", "/docs/files/%2e%2e/settings.py", "/docs/files//etc/passwd", "/docs/swagger/..%2f..%2f"],
)
def test_no_other_file_can_be_had(client: httpx.Client, path: str) -> None:
    request = client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())  # as it stands: httpx would tidy it
    assert client.send(request).status_code == 404


def test_the_description_has_the_form_of_openapi_3_1(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1")
    assert description["info"]["title"] == "Parallax"
    assert description["info"]["version"]
    names = [operation["operationId"] for methods in description["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)
    schemas = set(description.get("components", {}).get("schemas", {}))
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', str(description).replace("'", '"'))) <= schemas
    for path, methods in description["paths"].items():
        asked = set(re.findall(r"{(\w+)}", path))
        for operation in methods.values():
            assert asked == {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert operation["summary"]
            assert operation["responses"]


def test_every_route_of_the_api_lists_its_problems(description: dict[str, Any]) -> None:
    routes = {path: methods for path, methods in description["paths"].items() if path.startswith("/v1/")}
    assert {"/v1/classify", "/v1/compare", "/v1/backends", "/v1/backends/{name}"} <= set(routes)
    for path, methods in routes.items():
        for method, operation in methods.items():
            errors = {status: entry for status, entry in operation["responses"].items() if int(status) >= 400}
            assert {"401", "403"} <= set(errors), (method, path)
            for status, entry in errors.items():
                schema = entry["content"][MEDIA_TYPE]["schema"]
                assert set(schema["required"]) == {"type", "title", "status", "detail", "code", "request_id"}, (
                    method,
                    path,
                    status,
                )


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/compare"])
def test_routes_that_take_an_image_say_so_and_list_what_can_be_wrong_with_it(description: dict[str, Any], path: str) -> None:
    operation = description["paths"][path]["post"]
    assert set(operation["requestBody"]["content"]) == {"application/octet-stream", "multipart/form-data"}
    listed = set(re.findall(r"`([a-z-]+)`", str(operation["responses"])))
    expected = {"empty-image", "unsupported-image", "broken-image", "image-too-large", "image-too-small", "bad-multipart"}
    assert (
        expected | {"body-too-large", "body-too-slow", "uploads-full", "bad-parameter", "unknown-backend", "not-ready"} <= listed
    )
    assert listed <= {row.code for row in TABLE.values()}
