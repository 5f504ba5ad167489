"""The report and the terminal's tables: complete, self-contained, and proof against names."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from models.headers import read_header
from models.scoring import article, matrices, words
from models.scoring.facts import Training
from models.scoring.measure import measure
from models.scoring.report import render
from models.scoring.results import Scoring
from models.scoring.tables import print_scoring
from models.scoring.thumbnails import SIDE, thumbnail
from tests.support.images import encode, picture
from tests.support.scorings import WAYS, answered, facts, generated, intel_run, run_of

HOSTILE = "<script>alert(1)</script>'\"&[red]${7*7}{{7*7}}</style><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """What of a page could reach out, or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def scenes() -> Scoring:
    return measure(generated(180), [way.facts for way in WAYS], intel_run(180))


@pytest.fixture(scope="module")
def page(scenes: Scoring) -> Page:
    return Page(render(scenes, lambda _: b"\xff\xd8small"))


@pytest.fixture(scope="module")
def hostile() -> Scoring:
    labels = (HOSTILE, "calm")
    rows = [
        answered(f"{HOSTILE}/{n}.jpg", HOSTILE, name, {HOSTILE: 0.2, "calm": 0.8} if n % 2 else {HOSTILE: 0.7, "calm": 0.3})
        for name in (HOSTILE, "b") for n in range(6)
    ]  # fmt: skip
    backends = [facts(name, labels, provider=HOSTILE, seconds=1, usd_per_hour=1) for name in (HOSTILE, "b")]
    return measure(rows, backends, run_of(6, dataset=HOSTILE, state="failed", reason=HOSTILE, machine=HOSTILE))


def test_the_page_needs_nothing_from_anywhere(page: Page) -> None:
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/jpeg;base64,", "#")), value
        assert not [name for name in attributes if name.startswith("on")]
    assert page.all("link") == page.all("iframe") == page.all("object") == []


def test_its_policy_lets_exactly_its_own_scripts_run(page: Page) -> None:
    policy = next(str(one["content"]) for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    figures, packed, script = page.scripts
    library = gzip.decompress(base64.b64decode(packed)).decode()
    assert library.startswith("/**\n* plotly.js (basic")
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    assert allowed == [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in (script, library)]
    assert {one["name"] for one in json.loads(figures)["latency"]} == {way.facts.name for way in WAYS}


def test_the_page_holds_the_figures(scenes: Scoring, page: Page) -> None:
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert scenes.verdict.headline in text
    for one in scenes.backends:
        assert one.quality
        assert f"{one.quality.accuracy.value * 100:.1f} %" in text
        for row in one.quality.classes:
            assert f"{row.f1:.3f}" in text
    for advice in scenes.verdict.advice:
        assert advice.choose in text
        assert advice.because in text
    for note in scenes.verdict.notes:
        assert note in text
    first = scenes.galleries.disagreements.exhibits[0]
    assert first.image in text
    assert {one["src"] for one in page.all("img")} == {"data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8small").decode()}


def test_every_part_that_the_script_draws_has_its_place(page: Page) -> None:
    places = {attributes.get("id") for _, attributes in page.tags}
    assert set(json.loads(page.scripts[0])) <= places


def test_names_are_words_and_never_markup(hostile: Scoring) -> None:
    text = render(hostile, lambda _: None)
    page = Page(text)
    assert HOSTILE in page.text
    assert page.all("img") == []
    assert len(page.scripts) == 3
    assert "alert" not in page.scripts[2]
    figures = json.loads(page.scripts[0])
    names = [one["name"] for one in figures["calibration"]]
    assert names[0].startswith("&lt;script&gt;"), "Plotly reads markup in texts"
    assert "no picture" in page.text


def test_the_article_stands_beside_a_run_on_its_pictures_only(page: Page, scenes: Scoring, hostile: Scoring) -> None:
    assert [(one.told.way, [row.name for row in one.measured]) for one in article.beside(scenes)] == [
        (way, [way]) for way in ("cnn", "transfer", "automl", "custom_vision")
    ]
    for figure in ("81.9 %", "91.7 %", "95.8 %", "94.9 %", "3.70 USD", "4 h"):
        assert figure in page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert article.beside(hostile) == []
    assert "article's own table" not in render(hostile, lambda _: None)


def test_every_network_from_scratch_is_beside_the_articles_own() -> None:
    backends = [facts(name, training=Training(recipe=name)) for name in ("cnn", "residual", "elsewhere")]
    assert [article.way(one) for one in measure([], backends, run_of(0)).backends] == ["cnn", "cnn", None]


def test_a_way_that_was_not_measured_is_said_to_be_missing() -> None:
    result = measure(generated(30, WAYS[1:2]), [WAYS[1].facts], intel_run(30))
    assert Page(render(result, lambda _: None)).text.count("not in this run") == 3


def test_a_run_without_labels_has_a_page_too() -> None:
    rows = [row._replace(label=None) for row in generated(30)]
    page = Page(render(measure(rows, [way.facts for way in WAYS], run_of(30)), lambda _: None))
    assert "nobody knows who is right" in page.text
    assert {"latency", "calibration"}.isdisjoint(attributes.get("id") for _, attributes in page.tags)
    assert "macro F1" not in page.text.split("What the measures mean")[0]


def test_a_run_without_an_answer_has_a_page_without_charts() -> None:
    text = render(measure([], [facts("a")], run_of(0, state="failed")), lambda _: None)
    assert len(text) < 100_000, "Plotly is not in it"
    assert "nothing to compare" in text


def mixed_up(classes: int) -> Scoring:
    """The first five classes are each taken for the next one."""
    labels = tuple(f"class {n:03}" for n in range(classes))
    rows = [
        answered(f"{n}.jpg", label, "a", {**dict.fromkeys(labels, 0.0), labels[n + (n < 5)]: 1.0})
        for n, label in enumerate(labels)
    ]
    return measure(rows, [facts("a", labels)], run_of(classes))


def test_many_classes_are_told_by_the_hardest() -> None:
    page = Page(render(mixed_up(60), lambda _: None))
    assert "The 40 hardest of 60 classes" in page.text
    assert len(page.all("text")) == 120, "every row and column has its name"
    assert "class 000 called class 001: 1 of 1" in page.text
    assert page.text.count(" called class ") == 60


@pytest.mark.parametrize(
    ("classes", "form", "spots"), [(16, "table", 16), (17, "map", 17), (150, "map", 150), (151, "list", 151)]
)
def test_a_confusion_matrix_takes_the_form_that_can_be_read(classes: int, form: str, spots: int) -> None:
    (matrix,) = matrices.matrices(mixed_up(classes).backends)
    assert (matrix.form, matrix.kinds, len(matrix.spots)) == (form, 5, spots)
    assert matrix.mixups[0] == ("class 000", "class 001", 1, 1)
    assert {spot.share for spot in matrix.spots} == {1.0}
    page = Page(render(mixed_up(classes), lambda _: None))
    assert (page.text.count(" called class ") == spots) is (form == "map")


def test_a_backend_that_learnt_from_the_very_set_is_not_believed() -> None:
    made = Training(recipe="cnn", data=("a" * 64, "b" * 64))
    backends = [WAYS[0].facts, WAYS[1].facts.model_copy(update={"training": made})]
    for digest, known in (("b" * 64, True), ("c" * 64, False), (None, False)):
        result = measure(generated(30, WAYS[:2]), backends, run_of(30, sha256=digest))
        told = "cnn learnt from this very set: its accuracy here can't be believed."
        assert result.verdict.notes[0].startswith(told) is known
        assert (Page(render(result, lambda _: None)).text.count(told) == 2) is known, "in the head, and among the notes"


def test_a_narrow_terminal_shows_every_figure_of_a_backend_whole(scenes: Scoring) -> None:
    console = Console(width=80)
    with console.capture() as captured:
        print_scoring(console, scenes)
    _, *tables = captured.get().split("\n\n")
    lines = [line for table in tables for line in table.splitlines()]
    assert max(map(len, lines)) <= 80
    for one in scenes.backends:
        assert one.quality
        assert one.cost
        good, dear, *_ = [line for line in lines if line.startswith(f"{one.name} ")]
        assert words.interval(one.quality.accuracy) in good
        assert f" {words.usd(one.cost.usd_per_1000)} " in dear


def test_the_terminal_tells_the_same(scenes: Scoring, hostile: Scoring) -> None:
    console = Console(width=200)
    with console.capture() as captured:
        print_scoring(console, scenes)
    text = " ".join(captured.get().split())
    assert scenes.verdict.headline in text
    for one in scenes.backends:
        assert one.quality
        assert f"{one.quality.accuracy.value * 100:.1f} % ({one.quality.accuracy.low * 100:.1f} to" in text
    assert "can't be told" in text
    with console.capture() as captured:
        print_scoring(console, hostile)
    assert "[red]${7*7}" in captured.get(), "a name is no style"


def test_a_thumbnail_is_a_small_jpeg() -> None:
    small = thumbnail(encode(picture(900, 300)))
    assert small[:2] == b"\xff\xd8"
    assert len(small) < 20_000
    header = read_header(small)
    assert (header.width, header.height) == (SIDE, SIDE // 3)
