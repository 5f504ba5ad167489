"""The page's first view in a real browser: an image comes in, every backend answers by itself."""

import base64
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FilePayload, Page, ViewportSize, expect

from service.api.page import WEB
from tests.support import browser as browsers
from tests.support.browser import Visit
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.support.server import Server, serving

LABELS = ["dark", "grey", "bright"]
HOSTILE = "<img src=x onerror=alert(1)>'.png"
SMALL: ViewportSize = {"width": 360, "height": 780}
MAX_BYTES = 300_000
PASTE = """([kind, name]) => {
    const moved = new DataTransfer();
    moved.items.add(new File([Uint8Array.from(atob(window.picture), (one) => one.charCodeAt(0))], name));
    const paste = () => new ClipboardEvent("paste", { clipboardData: moved });
    const drop = () => new DragEvent("drop", { dataTransfer: moved });
    document.dispatchEvent(kind === "paste" ? paste() : drop());
}"""

Open = Callable[..., AbstractContextManager[Visit]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two models that contradict each other, a third as the first, and a backend that never answers."""
    home = tmp_path_factory.mktemp("page")
    for name, sharpness in {"one": 20.0, "three": 15.0, "two": -20.0}.items():
        tiny_model(home / "store", name, labels=LABELS, sharpness=sharpness)
    with serving(home, fake__labels=LABELS, fake__latency_ms=600_000, max_body_bytes=6_000_000) as server:
        yield server


@pytest.fixture
def opened(browser: Browser, server: Server) -> Open:
    def of(route: str = "/", **options: Any) -> AbstractContextManager[Visit]:  # noqa: ANN401  # as Playwright has them
        return browsers.visit(browser, server.url + route, **options)

    return of


def file(name: str, data: bytes) -> FilePayload:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def give(page: Page, *files: FilePayload) -> None:
    page.get_by_label("Choose images").set_input_files(list(files))


def card(page: Page, name: str) -> Any:  # noqa: ANN401
    return page.get_by_role("article", name=name, exact=True)


def unprovoked(found: Visit) -> list[str]:
    """Complaints beyond the line that a browser writes for every status that is no success."""
    return [one for one in found.complaints if not one.startswith("Failed to load resource")]


def test_each_backend_answers_by_itself_and_a_slow_one_holds_up_no_other(opened: Open) -> None:
    with opened() as found:
        page = found.page
        expect(card(page, "one")).to_contain_text("3 labels: dark, grey, bright")
        give(page, file("night.png", plain(0)))
        for name, label in {"one": "dark", "three": "dark", "two": "bright"}.items():
            expect(card(page, name).locator(".first .label")).to_have_text(label)
        expect(card(page, "fake").locator(".waiting")).to_be_visible()
        assert card(page, "fake").locator(".said").get_attribute("aria-busy") == "true"
        expect(page.get_by_role("status")).to_have_text("2 of 3 say dark, two says bright (waiting for 1 of 4).")
        expect(card(page, "one").locator(".stance")).to_have_text("as 1 of 2 others")
        expect(card(page, "two").locator(".stance")).to_have_text("alone with this")
        text = card(page, "one").inner_text()
        assert "version 1" in text
        assert "fp32" in text
        assert "CPU" in text
        assert card(page, "one").locator(".ranked li").count() == len(LABELS)
        for term in ("total", "queue", "decode", "infer", "USD per 1,000"):
            value = card(page, "one").locator("dt", has_text=term).locator("xpath=../dd").inner_text()
            assert float(value.removesuffix("\u00a0ms").removesuffix("\u00a0s")) >= 0, term
        assert found.complaints == []


def test_all_that_it_needs_is_small_and_comes_from_the_service(opened: Open, server: Server) -> None:
    with opened() as found:
        sizes = []
        # The visit before filled the browser's cache, out of which a reload would weigh nothing.
        cache = found.page.context.new_cdp_session(found.page)
        cache.send("Network.enable")
        cache.send("Network.setCacheDisabled", {"cacheDisabled": True})
        found.page.on("requestfinished", lambda one: sizes.append(one.sizes()["responseBodySize"]))
        found.page.reload()
        give(found.page, file("night.png", plain(0)))
        expect(card(found.page, "one").locator(".first")).to_be_visible()
        found.page.get_by_role("link", name="Compare").click()
        found.page.get_by_role("link", name="Backends").click()
        expect(found.page.get_by_role("article")).to_have_count(4)
        assert found.complaints == []
        assert [one for one in found.requests if not one.startswith((server.url, f"blob:{server.url}"))] == []
        assert 50_000 < sum(sizes) < MAX_BYTES, "bytes of three views, before charts"


def test_our_files_build_no_page_from_strings() -> None:
    scripts = {path: path.read_text(encoding="utf-8") for path in WEB.rglob("*.js") if "docs" not in path.parts}
    assert len(scripts) > 20
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "localStorage",
        "http://www.",
        "https://",
    ):
        allowed = {WEB / "js" / "dom.js"} if word == "http://www." else set()  # the name of SVG's elements
        assert {path for path, text in scripts.items() if word in text} <= allowed, word
    assert [
        path for path in WEB.rglob("*.*") if path.suffix in {".js", ".css"} and len(path.read_text().splitlines()) > 250
    ] == []


@pytest.mark.parametrize(
    ("data", "title"),
    [
        (plain(0)[:60], "The image is truncated or corrupt"),
        (b"no picture at all", "Not an image that Parallax reads"),
        (plain(0) + b"\0" * 6_000_000, "The body has too many bytes"),
    ],
    ids=["broken", "none", "big"],
)
def test_what_is_wrong_with_an_image_is_said_in_the_services_words(opened: Open, data: bytes, title: str) -> None:
    with opened() as found:
        give(found.page, file(HOSTILE, data))
        for name in ("one", "two", "three"):
            expect(card(found.page, name).locator(".problem b")).to_have_text(title)
        assert card(found.page, "one").get_by_role("button").count() == 0, "once more would be of no use"
        assert unprovoked(found) == []


def test_several_images_are_a_table_and_each_opens(opened: Open) -> None:
    with opened() as found:
        page = found.page
        page.get_by_role("button", name="fake").click()  # it would never be done
        assert page.get_by_role("button", name="fake").get_attribute("aria-pressed") == "false"
        give(page, file(HOSTILE, plain(0)), file("day.png", plain(255)), file("broken.png", b"x"))
        expect(page.get_by_role("status")).to_have_text("The backends agree on 0 of 2.")
        row = page.get_by_role("row", name="day.png")
        expect(row.locator("td").nth(0)).to_contain_text("bright")
        expect(row.locator("td").last).to_have_text("differ")
        expect(page.get_by_role("row", name="broken.png")).to_contain_text("Not an image")
        page.get_by_role("button", name=HOSTILE).click()
        expect(card(page, "one").locator(".first .label")).to_have_text("dark")
        page.get_by_role("button", name="Back to all images").click()
        expect(page.get_by_role("row")).to_have_count(4)
        assert unprovoked(found) == []


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_images_can_be_pasted_and_dropped_anywhere(opened: Open, kind: str) -> None:
    with opened() as found:
        expect(card(found.page, "one")).to_be_visible()
        found.page.evaluate("(data) => { window.picture = data }", base64.b64encode(plain(255)).decode())
        found.page.evaluate(PASTE, [kind, HOSTILE])
        expect(card(found.page, "one").locator(".first .label")).to_have_text("bright")
        assert found.page.locator("figcaption .name").inner_text() == HOSTILE
        assert found.complaints == []


def test_a_sample_is_classified_by_the_keyboard_alone(opened: Open) -> None:
    with opened() as found:
        page = found.page
        expect(card(page, "one")).to_be_visible()
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.classList.contains('sample')"):
                break
        page.keyboard.press("Enter")
        expect(card(page, "one").locator(".first")).to_be_visible()
        assert page.locator("figcaption .name").inner_text() == "sea.jpg"


def test_the_code_that_can_be_copied_does_what_the_page_did(opened: Open, tmp_path: Path) -> None:
    with opened(permissions=["clipboard-read", "clipboard-write"]) as found:
        page = found.page
        page.get_by_role("button", name="fake").click()
        give(page, file("it's dark.png", plain(0)))
        curl = page.locator(".snippets code").inner_text()
        page.get_by_text("Python", exact=True).click()
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert f"{page.url.removesuffix('/')}/v1/classify?backend=one&top=5" in curl
        assert "'@it'\\''s dark.png'" in curl
    (tmp_path / "it's dark.png").write_bytes(plain(0))
    copied = copied.replace('params={"top": 5}', 'params={"top": 5, "backends": "one,two"}, trust_env=False')
    done = subprocess.run([sys.executable, "-c", copied], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "one [{'label': 'dark'" in done.stdout
    assert "two [{'label': 'bright'" in done.stdout


def test_on_a_phone_nothing_reaches_beyond_the_window(opened: Open) -> None:
    with opened(viewport=SMALL, has_touch=True, is_mobile=True) as found:
        expect(found.page.get_by_label("Take a photo")).to_be_attached()
        give(found.page, file("a-name-that-is-much-too-long-to-be-shown-in-one-line-of-a-phone.png", plain(0)))
        expect(card(found.page, "one").locator(".first")).to_be_visible()
        assert found.overflow <= 0
        assert found.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_keeps_nobody_out(opened: Open, scheme: str) -> None:
    with opened(color_scheme=scheme, reduced_motion="reduce") as found:
        expect(card(found.page, "one")).to_be_visible()
        assert found.barriers == []
        give(found.page, file("night.png", plain(0)))
        expect(card(found.page, "two").locator(".first")).to_be_visible()
        assert found.barriers == []
        ground = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 200) == (scheme == "dark")
