"""A run's report: one HTML file that needs nothing from anywhere, and runs nothing but its own two scripts."""

import base64
import gzip
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import models
from models.errors import ImageError
from models.imaging import Limits
from models.scoring import article, matrices, notes, words
from models.scoring.charts import charts
from models.scoring.results import BackendResult, Scoring
from models.scoring.standing import Standing
from models.scoring.thumbnails import thumbnail

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

HERE = Path(__file__).parent
PLOTLY = HERE / "plotly" / "plotly-basic.min.js"
"""The bundle with lines, points and bars alone, a quarter of the whole; as published (docs/decisions/dependencies.md)."""
COLORS = 8

Thumbnail: TypeAlias = Callable[[str], bytes | None]
"""Path of an image in the data set -> a small JPEG of it; None if there is none any more."""

HEADER_POLICY = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
"""Content-Security-Policy for whoever serves a report: an origin of its own. The file itself names its scripts' digests."""


def draw(result: Scoring, images: Iterable[tuple[str, bytes]], limits: Limits) -> str:
    """The file's text, with those of the encoded images that can be read. Blocks for a second or two."""
    small: dict[str, bytes] = {}
    for path, data in images:
        with suppress(ImageError):
            small[path] = thumbnail(data, limits)
    return render(result, small.get)


def render(result: Scoring, picture: Thumbnail) -> str:
    """The file's text. Every name in it is escaped; a name that got through all the same could run nothing."""
    from markupsafe import Markup

    figures = charts(result)
    standing = Standing(result.run.mode, result.backends, result.pairs)
    judged = standing.judged
    drawn = any(figures.values())
    library, packed = _plotly() if drawn else ("", "")
    script = (HERE / "report.js").read_text(encoding="utf-8") if drawn else ""
    environment = _environment()
    environment.filters["placed"] = _scale(judged)
    return environment.get_template("report.html").render(
        result=result,
        run=result.run,
        backends=[*judged, *(one for one in result.backends if not one.quality)],
        names=[one.name for one in result.backends],
        judged=judged,
        leaders=[one.name for one in standing.leaders] if len(judged) > 1 else [],
        tops=sorted({top.k for one in judged if one.quality for top in one.quality.top}),
        color={one.name: number % COLORS for number, one in enumerate(result.backends)},
        pairs=result.pairs,
        figures={one.name: {row.label: row for row in one.quality.classes} for one in judged if one.quality},
        shown_labels=matrices.hardest(judged, result.labels),
        matrices=matrices.matrices(judged),
        margin=matrices.MARGIN,
        caution=notes.learnt(result.run, result.backends),
        article=article.beside(result),
        charts=figures,
        drawn=drawn,
        picture_of=_pictures(picture),
        policy=_policy(script, library),
        css=Markup((HERE / "report.css").read_text(encoding="utf-8")),  # noqa: S704  # our own file
        script=Markup(script),  # noqa: S704  # our own file
        plotly=packed,
        version=models.__version__,
    )


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": words.percent,
        "usd": words.usd,
        "number": words.number,
        "minutes": words.minutes,
        "chance": words.chance,
        "listed": words.listed,
        "unbroken": _unbroken,
        "wrappable": _wrappable,
    }
    return environment


@cache
def _plotly() -> tuple[str, str]:
    """Plotly's script, and the same packed to a third: a report is to be mailed."""
    code = PLOTLY.read_text(encoding="utf-8")
    return code, base64.b64encode(gzip.compress(code.encode(), mtime=0)).decode()


def _policy(*scripts: str) -> str:
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts if script]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _pictures(picture: Thumbnail) -> Callable[[str], str | None]:
    @cache
    def of(path: str) -> str | None:
        data = picture(path)
        return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" if data else None

    return of


def _unbroken(text: str) -> str:
    """A figure stays on a line with its unit."""
    return re.sub(
        r"(?<=\d) (?=(?:USD|ms|points|min|h|times)\b|%)|(?<=\bp) (?=[<=])|(?<=[<=]) (?=[01])", "\N{NO-BREAK SPACE}", text
    )


def _wrappable(name: str) -> "Markup":
    """A name, escaped, that may go on in the next line where its words end."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(map(escape, name.split("_")))


def _scale(judged: Sequence[BackendResult]) -> Callable[[float], float]:
    """Share -> place on a bar that all intervals fill, 0 to 100."""
    values = [one.quality.accuracy for one in judged if one.quality]
    low, high = min((value.low for value in values), default=0.0), max((value.high for value in values), default=1.0)
    return lambda share: round((share - low) / ((high - low) or 1) * 96 + 2, 2)
