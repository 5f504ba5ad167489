"""The page's other views in a real browser: runs from upload to report, and what is served."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.support import browser as browsers
from tests.support.browser import Visit
from tests.support.custom_vision.accounts import Served, serving_account
from tests.support.custom_vision.state import PREDICTION_KEY, Account
from tests.support.images import labelled, plain, write_zip
from tests.support.models import tiny_model
from tests.support.server import Server, eventually, serving

HOSTILE = "<img src=x onerror=alert(1)>"
LABELS = ["dark", HOSTILE, "bright"]
KEY = "a key of a tester"
SMALL: ViewportSize = {"width": 360, "height": 780}

Open = Callable[..., AbstractContextManager[Visit]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, of which one mixes things up, and a set in which a label is wrong and an image broken."""
    folder = tmp_path_factory.mktemp("page")
    tiny_model(folder / "store", "abel", labels=LABELS)
    tiny_model(folder / "store", "cain", labels=LABELS, sharpness=-1.0)
    files = labelled(dict.fromkeys(LABELS, 5))
    files[f"{HOSTILE}/<script>alert(2)<|script>.png"] = plain(255)
    files["dark/broken.png"] = plain(0)[:40]
    write_zip(folder / "sets" / "scenes.zip", files)
    return folder


@pytest.fixture(scope="module")
def there() -> Iterator[Served]:
    """Custom Vision, or what its clients take for it."""
    account = Account()
    account.published(LABELS)
    with serving_account(account, factor=5) as found:
        yield found


@pytest.fixture(scope="module")
def server(home: Path, there: Served) -> Iterator[Server]:
    (project,) = there.predictions.account.projects
    settings: dict[str, Any] = {"endpoint": there.url, "key": PREDICTION_KEY, "project": project, "published_name": "production"}
    chosen = {f"custom_vision__{name}": value for name, value in settings.items()}
    chosen |= {"custom_vision__usd_per_1000": 2, "custom_vision__monthly_calls": 100}
    with serving(home, datasets_dir=home / "sets", fake__labels=LABELS, fake__latency_ms=600_000, **chosen) as server:
        eventually(lambda: server.backend("custom_vision")["state"] == "ready", "it has answered")
        yield server


@pytest.fixture(scope="module")
def job(server: Server) -> str:
    """A run over the set, ended."""
    with server.client() as client:
        return scored(client, "latency")


@pytest.fixture
def opened(browser: Browser, server: Server) -> Open:
    def of(route: str = "/", **options: Any) -> AbstractContextManager[Visit]:  # noqa: ANN401  # as Playwright has them
        return browsers.visit(browser, server.url + route, **options)

    return of


def scored(client: httpx.Client, mode: str) -> str:
    asked = {"dataset": "scenes.zip", "backends": ["abel", "cain"], "mode": mode}
    made: str = client.post("/v1/scorings", json=asked).raise_for_status().json()["id"]
    eventually(lambda: client.get("/v1/scorings?limit=1").json()["scorings"][0]["state"] == "succeeded", "the job ended")
    return made


def begin(page: Page, *left_out: str) -> None:
    for name in left_out:
        page.get_by_role("checkbox", name=name).uncheck()
    page.get_by_role("button", name="Start the run").click()


def test_a_run_goes_from_the_upload_of_a_zip_to_its_report(opened: Open, home: Path, server: Server) -> None:
    with opened("/#/compare") as found:
        page = found.page
        page.get_by_label("Choose a zip").set_input_files(home / "sets" / "scenes.zip")
        expect(page.locator(".drop strong")).to_have_text("scenes.zip")
        begin(page, "fake")
        expect(page.locator("h1.headline")).to_contain_text("abel is the most accurate", timeout=60_000)
        row = page.get_by_role("row", name="abel", exact=False).first
        expect(row).to_contain_text("93.8\u00a0%")
        expect(row).to_contain_text("1 broken-image")
        job = page.url.rsplit("/", 1)[-1]
        results = httpx.get(f"{server.url}/v1/scorings/{job}", trust_env=False).json()["results"]
        assert results["verdict"]["headline"].split()[0] == "abel"
        with page.context.expect_page() as report:
            page.get_by_role("link", name="Open the report").click()
        expect(report.value.locator(".headline")).to_contain_text("abel is the most accurate")
        assert found.complaints == []


def test_a_result_can_be_looked_into(opened: Open, job: str, server: Server) -> None:
    with opened(f"/#/compare/{job}") as found:
        page = found.page
        counts = page.locator(".matrix tbody td button")
        expect(counts.first).to_be_visible(timeout=60_000)
        assert sum(int(text) for text in counts.all_inner_texts()) == 16
        page.get_by_role("button", name=f"1 image of {HOSTILE} called bright").click()
        expect(page.locator(".cell-images figure")).to_have_count(1)
        expect(page.locator(".cell-images small")).to_have_text("<script>alert(2)<|script>.png")
        page.locator(".cell-images img").wait_for()
        page.get_by_text("Suspected label errors").click()
        expect(page.locator(".gallery").last).to_contain_text("labelled")
        page.locator("[aria-labelledby=trade-offs]").scroll_into_view_if_needed()
        page.wait_for_selector("[aria-labelledby=trade-offs][data-drawn]")
        assert found.count(".plot svg.main-svg") >= 2
        assert found.count(".plot .scatterlayer .trace") == 4
        page.get_by_role("region", name="Pairs of backends").get_by_role("button").first.click()
        expect(page.locator("[aria-labelledby=two-by-two] figure").first).to_be_visible()
        assert HOSTILE in page.locator(".matrix").inner_text()
        assert found.count("[onerror]") == 0
        assert found.complaints == [], "nor does the policy refuse what Plotly does"
        assert [one for one in found.requests if not one.startswith((server.url, f"blob:{server.url}"))] == []


def test_a_run_is_found_again_by_its_address_and_can_be_cancelled(opened: Open) -> None:
    with opened("/#/compare") as found:
        page = found.page
        begin(page, "cain")
        bar = page.get_by_role("progressbar", name="abel")
        expect(bar).to_have_attribute("aria-valuenow", "17")
        address = page.url
        page.reload()
        expect(page.get_by_role("progressbar", name="abel")).to_have_attribute("aria-valuenow", "17")
        expect(page.get_by_role("progressbar", name="fake")).to_have_attribute("aria-valuenow", "0")
        assert page.url == address
        page.get_by_role("button", name="Cancel the run").click()
        expect(page.locator(".facts").first).to_contain_text("cancelled", timeout=60_000)
        expect(page.locator("h1.headline")).to_be_visible()
        assert found.complaints == []


def test_a_set_that_nobody_can_score_is_refused_in_the_services_words(opened: Open, tmp_path: Path) -> None:
    empty = write_zip(tmp_path / "empty.zip", {"notes.txt": b"nothing to see"})
    with opened("/#/compare") as found:
        found.page.get_by_label("Choose a zip").set_input_files(empty)
        begin(found.page)
        expect(found.page.locator(".problem b")).to_have_text("The set can't be used as it is")
        expect(found.page.get_by_role("button", name="Start the run")).to_be_enabled()


def test_two_runs_stand_beside_each_other(opened: Open, job: str, server: Server) -> None:
    with server.client() as client:
        second = scored(client, "throughput")
    with opened("/#/compare") as found:
        page = found.page
        for one in (job, second):
            page.locator(f"input[value='{one}']").check()
        page.get_by_role("button", name="Compare the two").click()
        expect(page.get_by_role("row", name="abel", exact=False).first).to_contain_text("+0.0 points")
        expect(page.locator(".caution")).to_contain_text("their times are not to be compared")
        assert found.page.url.endswith(f"/{job}/with/{second}") or found.page.url.endswith(f"/{second}/with/{job}")
        assert found.complaints == []


def test_backends_show_their_state_their_versions_and_take_a_new_one(opened: Open, home: Path) -> None:
    with opened("/#/backends") as found:
        page = found.page
        panel = page.get_by_role("article", name="cain", exact=True)
        expect(panel).to_contain_text("version 1")
        expect(panel.locator(".state")).to_have_text("ready")
        tiny_model(home / "store", "cain", labels=LABELS, sharpness=-1.0)
        panel.get_by_role("button", name="Reload").click()
        expect(panel.locator(".facts")).to_contain_text("version 2")
        broken = home / "store" / "cain" / "3"
        broken.mkdir()
        (broken / "model.json").write_text("{}")
        panel.get_by_role("button", name="Reload").click()
        expect(panel.locator(".told .problem b")).to_have_text("The new version can't be served")
        panel.get_by_text("Versions").click()
        expect(panel.get_by_role("row")).to_have_count(4)
        for version, state in {"1": "stored", "2": "serving"}.items():
            expect(panel.get_by_role("row").filter(has=page.locator("th", has_text=version)).last).to_contain_text(state)
        assert [one for one in found.complaints if not one.startswith("Failed to load resource")] == []


def test_a_backend_that_costs_by_the_call_is_asked_when_it_is_chosen_and_shows_its_budget(opened: Open, there: Served) -> None:
    asked = len(there.predictions.asked)
    with opened() as found:
        page = found.page
        chip = page.get_by_role("button", name="custom_vision")
        expect(chip).to_have_text("custom_vision 2.00 USD per 1,000")
        page.get_by_role("button", name="fake").click()
        files = [{"name": f"{number}.png", "mimeType": "image/png", "buffer": plain(number)} for number in (0, 255)]
        page.get_by_label("Choose images").set_input_files(files)  # type: ignore[arg-type]  # dicts of that form
        expect(page.get_by_role("status")).to_contain_text("The backends agree on")
        assert len(there.predictions.asked) == asked
        chip.click()
        expect(page.get_by_role("row", name="0.png").first).to_contain_text("dark")
        expect(page.get_by_role("columnheader", name="custom_vision")).to_be_visible()
        expect(page.get_by_role("status")).to_contain_text("The backends agree on")
        assert len(there.predictions.asked) == asked + 2
        page.get_by_role("link", name="Backends").click()
        panel = page.get_by_role("article", name="custom_vision")
        expect(panel).to_contain_text(f"{asked + 2} of 100 calls")
        expect(panel).to_contain_text("calls go through")
        page.get_by_role("link", name="Try").click()
        expect(page.get_by_role("row", name="255.png")).to_contain_text("bright")
        assert found.complaints == []


ROUTES = ("/#/compare", "/#/compare/{job}", "/#/compare/{job}/with/{job}", "/#/backends")


@pytest.mark.parametrize("route", ROUTES)
def test_every_view_fits_a_phone(opened: Open, job: str, route: str) -> None:
    with opened(route.format(job=job), viewport=SMALL) as found:
        found.page.locator("main section, main article").first.wait_for(timeout=60_000)
        assert found.overflow <= 0
        assert found.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("route", ROUTES)
def test_no_view_keeps_anybody_out(opened: Open, job: str, route: str, scheme: str) -> None:
    with opened(route.format(job=job), color_scheme=scheme, reduced_motion="reduce") as found:
        found.page.locator("main section, main article").first.wait_for(timeout=60_000)
        with contextlib.suppress(IndexError):
            found.page.locator(".matrix button").all()[0].click()
        assert found.barriers == []


def test_where_a_key_is_needed_it_is_asked_for_and_stays_in_the_tab(browser: Browser, home: Path) -> None:
    settings: dict[str, Any] = {"data_dir": home / "keyed", "datasets_dir": home / "sets", "api_keys": f"tests:{KEY}"}
    with serving(home, **settings) as server, browsers.visit(browser, server.url) as found:
        page = found.page
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.type("a key that nobody knows")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("does not know the key")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Use this key").click()
        expect(page.get_by_role("article", name="abel")).to_be_visible()
        assert page.evaluate("[JSON.stringify(localStorage), document.cookie]") == ["{}", ""]
        page.get_by_role("button", name="sea").click()
        expect(page.get_by_role("article", name="abel").locator(".first")).to_be_visible()
        expect(page.locator(".snippets code")).to_contain_text('-H "X-API-Key: $PARALLAX_API_KEY"')
        page.get_by_role("link", name="Compare").click()
        begin(page)
        page.locator("h1.headline").wait_for(timeout=60_000)
        page.locator(".gallery figure").first.scroll_into_view_if_needed()
        page.locator(".gallery img").first.wait_for()
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save: Report").click()
        assert saved.value.suggested_filename == "scenes.zip.html"
        page.get_by_role("button", name="Forget the key").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0
        assert KEY not in " ".join(found.requests)
