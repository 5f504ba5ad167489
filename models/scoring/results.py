"""What was found: one tree of frozen values, as `GET /v1/scorings/{id}` shows it. What can't be known is None, never 0."""

from typing import Literal

from pydantic import Field

from models.metadata import Accuracy, Change
from models.scoring.facts import BackendFacts, Frozen, RunFacts

LEVEL = 0.05
"""What an adjusted p-value must stay below for a difference to count as one."""


class TopK(Frozen):
    """How often the label is among the k most probable ones."""

    k: int
    accuracy: Accuracy


class ClassFigures(Frozen):
    """One class. Undefined figures are None: precision of a class that was never named, recall of one without images."""

    label: str
    images: int
    precision: float | None
    recall: float | None
    f1: float | None


class Bin(Frozen):
    """Answers whose probability lies in [low, high): how probable they called themselves, and how often they are right."""

    low: float
    high: float
    probability: float
    accuracy: Accuracy


class Calibration(Frozen):
    """Whether a probability of 80 % is right 80 times in a hundred."""

    error: float
    """Expected calibration error."""
    overconfidence: float
    """Mean probability less accuracy; negative: too modest."""
    bins: tuple[Bin, ...]
    """Those that hold answers."""


class Quality(Frozen):
    """How good the answers are: of images that have a label and an answer."""

    accuracy: Accuracy
    top: tuple[TopK, ...]
    """Empty if the backend does not tell all scores."""
    macro_f1: float
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    """`confusion[i][j]` counts images of class i that were named j, in the order of `classes`."""
    log_loss: float | None
    """In nats; None if the backend does not tell all scores."""
    calibration: Calibration


class Percentiles(Frozen):
    """Of times, in milliseconds."""

    p50: float
    p90: float
    p95: float
    p99: float
    max: float


class Latency(Frozen):
    """Of images that were answered. `infer` holds a remote backend's whole call."""

    total: Percentiles
    queue: Percentiles | None
    decode: Percentiles | None
    infer: Percentiles | None
    quantiles_ms: tuple[float, ...]
    """Of the whole: 0 %, 1 %, ..., 100 %."""


class Cost(Frozen):
    """What answers cost, by the price that `BackendFacts` states."""

    basis: Literal["hour", "call"]
    usd_per_1000: float
    usd: float
    """Of this run."""


class BackendResult(Frozen):
    """All of one backend."""

    facts: BackendFacts
    images: int
    """Rows that there are."""
    answered: int
    errors: dict[str, int]
    """Images without an answer, by the problem's code."""
    images_per_second: float | None
    quality: Quality | None
    """None without labels."""
    latency: Latency | None
    """None without answers."""
    cost: Cost | None

    @property
    def name(self) -> str:
        """Of the backend."""
        return self.facts.name


class PairTest(Frozen):
    """Who of two is right more often, on images that have a label and both answers."""

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: Change
    """Accuracy of the first less that of the second."""
    p: float
    """Exact McNemar test, two-sided."""
    p_holm: float
    """The same, adjusted for all pairs of the run."""
    only_first_images: tuple[str, ...]
    only_second_images: tuple[str, ...]
    """The first few of them."""

    @property
    def significant(self) -> bool:
        """Whether chance is ruled out, at the usual level, for all pairs together."""
        return self.p_holm < LEVEL


class Pair(Frozen):
    """Two backends on the images that both answered."""

    first: str
    second: str
    compared: int
    agreed: int
    """Images that both called the same, right or wrong."""
    test: PairTest | None
    """None without labels."""

    @property
    def agreement(self) -> float | None:
        """Share of the images that both called the same."""
        return self.agreed / self.compared if self.compared else None


class Claim(Frozen):
    """What one backend says of an image."""

    backend: str
    predicted: str
    probability: float


class Exhibit(Frozen):
    """One image of a gallery."""

    image: str
    label: str | None
    claims: tuple[Claim, ...]


class Gallery(Frozen):
    """The images most worth a look, of all that there are."""

    total: int
    exhibits: tuple[Exhibit, ...]


class Galleries(Frozen):
    """Which images to look at."""

    disagreements: Gallery
    """Backends name different labels; those first whose two answers are both sure."""
    doubted: Gallery | None
    """No backend names the label; those first to whose label they give the least. Most often the label is wrong. None without
    labels, or with fewer than two backends."""
    mistakes: dict[str, Gallery]
    """By backend: wrong answers, the surest first. Empty without labels."""

    @property
    def images(self) -> list[str]:
        """All that are shown somewhere, each once."""
        shown = [self.disagreements, *([self.doubted] if self.doubted else []), *self.mistakes.values()]
        return list(dict.fromkeys(exhibit.image for gallery in shown for exhibit in gallery.exhibits))


class Advice(Frozen):
    """Who should choose a backend, and what that is concluded from."""

    backend: str
    choose: str
    because: str


class Verdict(Frozen):
    """The run in words."""

    headline: str
    trade_off: str | None
    """What the cheapest one saves and gives up, if it is none of the most accurate."""
    advice: tuple[Advice, ...]
    notes: tuple[str, ...]
    """What to know before one believes it."""


class Scoring(Frozen):
    """The whole result of a run."""

    run: RunFacts
    labelled: int
    """Images that have a label."""
    labels: tuple[str, ...]
    """Of the set, in its own words: every class that an image has or a backend knows."""
    backends: tuple[BackendResult, ...]
    pairs: tuple[Pair, ...] = Field(default=())
    galleries: Galleries
    verdict: Verdict
