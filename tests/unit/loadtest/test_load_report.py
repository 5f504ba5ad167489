"""The report: one file, the verdict on top, nothing asked of anybody."""

import re
from html.parser import HTMLParser
from pathlib import Path

from loadtest.histogram import Histogram
from loadtest.plan import Plan
from loadtest.report import render, write_report
from loadtest.results import Results, Step
from loadtest.thresholds import Thresholds
from loadtest.verdict import judge
from tests.unit.loadtest.test_verdict import results

PLAN = Plan(rate=10, seconds=10, mix={"classify": 1})
LIMITS = Thresholds.model_validate({"limits": {"all": {"p99_ms": 25, "max_shed_ratio": 0.01}}})


class Reader(HTMLParser):
    """Collects what a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.asked += [name for name, _ in attrs if name in {"src", "href", "action", "srcset", "data"} or name.startswith("on")]


def page(found: Results, url: str = "http://server:8000") -> str:
    for number in range(10):
        took = Histogram()
        took.add(10 + number)
        found.steps[number] = Step(ok=10, shed=number, took=took)
    return render(url, PLAN, found, judge(PLAN, found, LIMITS), ["customvision is left out"])


def test_the_verdict_is_its_title() -> None:
    assert re.search(r"<h1>Passed: all 2 thresholds kept.</h1>", page(results(ms=20)))
    assert re.search(r"<h1>Failed: 1 of 2 thresholds missed.</h1>", page(results(ms=30)))
    void = page(results(busy=99))
    assert re.search(r"<h1>Does not count", void)
    assert "Locust 0 used 99 % of its core" in void


def test_it_fetches_and_runs_nothing_and_forbids_itself_to() -> None:
    reader = Reader()
    text = page(results())
    reader.feed(text)
    assert "svg" in reader.tags
    assert reader.asked == []
    assert not {"script", "link", "img", "iframe"} & set(reader.tags)
    assert "default-src 'none'" in text


def test_what_a_server_says_is_text() -> None:
    found = results()
    found.kinds["classify"].fail("502 <script>alert(1)</script>")
    assert "&lt;script&gt;" in page(found, "http://x/<b>")
    assert "<script" not in page(found, "http://x/<b>")
    assert "<b>" not in page(found, "http://x/<b>")


def test_lines_stay_within_their_boxes() -> None:
    for points in re.findall(r'points="([^"]+)"', page(results())):
        pairs = [tuple(map(float, pair.split(","))) for pair in points.split()]
        assert len(pairs) == 10
        assert all(0 <= x <= 900 and 0 <= y <= 180 for x, y in pairs)


def test_a_test_that_sent_nothing_has_a_report_too(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(path, "http://x", PLAN, Results(), judge(PLAN, Results(), LIMITS))
    assert "nothing was sent" in path.read_text().lower()
