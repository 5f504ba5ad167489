"""A job's report in a real browser, over HTTP, under the policies that it is sent with."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.support import browser as browsers
from tests.support.browser import PHONE, Visit
from tests.support.images import labelled, plain, write_zip
from tests.support.models import tiny_model
from tests.support.server import eventually, serving

HOSTILE = "<img src=x onerror=alert(1)>&amp;'\"{{7*7}}"
LABELS = ("dark", HOSTILE, "bright")
MANY = tuple(f"class {number:03} with a name of some length" for number in range(100))
NAMES = ("one", "two", *(f"a_backend_with_a_rather_long_name_{number}" for number in range(4)))
CHARTS = ("latency", "cost", "calibration", "distribution")
OPEN_ALL = "for (const one of document.querySelectorAll('details')) one.open = true"
NOTE_WHAT_IS_PRINTED = """addEventListener("beforeprint", () => {
    const closed = document.querySelectorAll("details:not([open]):not(.pictures)").length;
    window.printed = [closed, getComputedStyle(document.querySelector(".card")).backgroundColor];
})"""
REPORTS = ("judged", "unlabelled", "many")


def _sets(folder: Path) -> Mapping[str, Path]:
    files = labelled(dict.fromkeys(LABELS, 8))
    files["dark/<script>alert(2)<|script>.png"] = plain(255)  # nobody agrees with its label
    files["dark/broken.png"] = plain(0)[:40]
    return {
        "judged": write_zip(folder / "scenes.zip", files),
        "unlabelled": write_zip(folder / "pile.zip", {f"pile/{name.replace('/', '-')}": data for name, data in files.items()}),
        "many": write_zip(folder / "many.zip", labelled(dict.fromkeys(MANY, 2))),
    }


def _scored(client: httpx.Client, dataset: Path, backends: str) -> str:
    with dataset.open("rb") as file:
        reply = client.post("/v1/scorings", data={"backends": backends, "mode": "latency"}, files={"dataset": file})
    assert reply.status_code == 202, reply.text
    place = reply.headers["location"]
    eventually(lambda: client.get(place).json()["state"] in {"succeeded", "failed"}, "the job ended")
    return f"{client.base_url}{place}/report"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses: of six backends of which one mixes things up, of a set without labels, and of one with 100 classes."""
    home = tmp_path_factory.mktemp("reports")
    sets = _sets(home)
    for number, name in enumerate(NAMES):
        tiny_model(home / "store", name, labels=LABELS, sharpness=-1.0 if name == "two" else 20.0 - number)
    tiny_model(home / "store", "many", labels=MANY, sharpness=2000.0)
    with serving(home) as server, server.client() as client:
        yield {
            "judged": _scored(client, sets["judged"], ",".join(NAMES)),
            "unlabelled": _scored(client, sets["unlabelled"], "one,two"),
            "many": _scored(client, sets["many"], "many"),
        }


class Reader:
    """Opens reports; the charts are there when the block begins."""

    def __init__(self, browser: Browser, reports: Mapping[str, str]) -> None:
        self._browser = browser
        self.reports = reports

    def opened(self, name: str, **options: Any) -> AbstractContextManager[Visit]:  # noqa: ANN401  # as Playwright has them
        return browsers.visit(self._browser, self.reports[name], **options)


@pytest.fixture
def reader(browser: Browser, reports: dict[str, str]) -> Reader:
    return Reader(browser, reports)


def drawn(found: Visit) -> Visit:
    found.page.wait_for_selector("html.drawn")
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_opens_without_a_complaint_and_asks_for_nothing_else(reader: Reader, name: str) -> None:
    with reader.opened(name) as found:
        drawn(found).page.evaluate(OPEN_ALL)
        assert found.complaints == []
        assert found.requests == [reader.reports[name]]
        assert found.overflow <= 0


def test_it_is_sent_with_a_policy_that_takes_its_origin_away(reader: Reader) -> None:
    policy = httpx.get(reader.reports["judged"], trust_env=False).headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts;")
    with reader.opened("judged") as found:
        assert found.page.evaluate("origin") == "null", "the page's key is out of reach"


def test_every_chart_is_drawn_with_every_backend(reader: Reader) -> None:
    with reader.opened("judged") as found:
        drawn(found)
        for chart in CHARTS:
            assert found.count(f"#{chart} svg.main-svg") > 0, chart
            assert found.count(f"#{chart} .scatterlayer .trace") == len(NAMES) + (chart == "calibration"), chart
        assert sorted(found.page.locator(".legend li").all_inner_texts()) == sorted(NAMES)


def test_names_are_shown_as_they_are_and_do_nothing(reader: Reader) -> None:
    with reader.opened("judged") as found:
        text = drawn(found).page.locator("body").inner_text()
        assert HOSTILE in text
        assert "<script>alert(2)<|script>.png" in text
        assert found.page.title() == f"scenes.zip: {', '.join(NAMES)}", "an uploaded set is called by its file's name"
        assert found.count("img:not([src^='data:image/jpeg'])") == found.count("[onerror]") == 0
        assert found.complaints == []


def test_an_image_without_an_answer_is_told_of(reader: Reader) -> None:
    with reader.opened("judged") as found:
        assert found.page.locator(".bad", has_text="1").count() >= 2
        assert "gave no answer to 1 of 26 images" in found.page.locator(".notes").inner_text()


@pytest.mark.parametrize("name", REPORTS)
def test_on_a_phone_nothing_reaches_beyond_the_window(reader: Reader, name: str) -> None:
    with reader.opened(name, viewport=PHONE) as found:
        drawn(found).page.evaluate(OPEN_ALL)
        assert found.overflow <= 0
        assert found.complaints == []


def test_a_hundred_classes_are_a_map_with_every_count_and_name(reader: Reader) -> None:
    with reader.opened("many") as found:
        assert found.count("svg.map text") == 200
        counts = [int(text.split(": ")[-1].split(" of ")[0]) for text in found.page.locator("svg.map title").all_text_contents()]
        assert sum(counts) == 200
        assert found.page.locator("svg.map text").first.evaluate("one => one.getBoundingClientRect().height") >= 8


def test_without_scripts_the_verdict_and_the_tables_can_be_read(reader: Reader) -> None:
    with reader.opened("judged", java_script_enabled=False) as found:
        assert found.page.locator(".headline").is_visible()
        assert found.page.locator("#figures-table tbody tr").first.is_visible()
        assert found.page.locator(".matrix").first.is_visible()
        assert found.count("svg.main-svg") == 0


@pytest.mark.parametrize(("name", "scheme"), [("judged", "light"), ("judged", "dark"), ("many", "light")])
def test_it_keeps_nobody_out(reader: Reader, name: str, scheme: str) -> None:
    with reader.opened(name, color_scheme=scheme) as found:
        drawn(found).page.evaluate(OPEN_ALL)
        assert found.barriers == []


def test_on_paper_it_is_light_and_everything_but_the_pictures_is_open(reader: Reader) -> None:
    with reader.opened("judged", color_scheme="dark") as found:
        page = drawn(found).page
        page.evaluate(NOTE_WHAT_IS_PRINTED)
        assert page.pdf(format="A4").startswith(b"%PDF")
        assert page.evaluate("printed") == [0, "rgb(255, 255, 255)"]
        assert found.complaints == []
