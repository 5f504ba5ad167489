"""From rows to the whole result."""

from collections.abc import Iterable, Mapping, Sequence

from models.scoring import galleries, pairs, quality, speed
from models.scoring.facts import BackendFacts, RunFacts
from models.scoring.results import BackendResult, Scoring
from models.scoring.rows import Answer, Row, by_backend
from models.scoring.verdict import verdict

SHOWN = 24
"""Images that a gallery or a list names at most."""


def measure(rows: Iterable[Row], backends: Sequence[BackendFacts], run: RunFacts, shown: int = SHOWN) -> Scoring:
    """Judge a run, whole or stopped half-way, by the rows that there are.

    Raises `ValueError` if an image was counted twice, or for a backend that is not named.
    """
    answers = by_backend(rows, backends)
    own = {facts.name: [facts.words.get(label, label) for label in facts.labels] for facts in backends}
    labels = _labels(answers, own)
    results = tuple(_result(facts, answers[facts.name], own[facts.name], labels) for facts in backends)
    compared = pairs.pairs(answers, shown)
    labelled = {image for known in answers.values() for image, answer in known.items() if answer.label is not None}
    return Scoring(
        run=run,
        labelled=len(labelled),
        labels=labels,
        backends=results,
        pairs=compared,
        galleries=(chosen := galleries.galleries(answers, own, shown)),
        verdict=verdict(run, results, compared, chosen),
    )


def _result(facts: BackendFacts, known: Mapping[str, Answer], own: Sequence[str], labels: Sequence[str]) -> BackendResult:
    answered = sum(answer.predicted is not None for answer in known.values())
    errors: dict[str, int] = {}
    for answer in known.values():
        if answer.error is not None:
            errors[answer.error] = errors.get(answer.error, 0) + 1
    return BackendResult(
        facts=facts,
        images=len(known),
        answered=answered,
        errors=dict(sorted(errors.items())),
        images_per_second=speed.rate(answered, facts),
        quality=quality.quality(known.values(), own, labels),
        latency=speed.latency(known.values()),
        cost=speed.cost(answered, facts),
    )


def _labels(answers: Mapping[str, Mapping[str, Answer]], own: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Every label that a backend knows, in the first one's order, then those that only images or answers have."""
    known = dict.fromkeys(label for labels in own.values() for label in labels)
    rest = {word for answer in _all(answers) for word in (answer.label, answer.predicted) if word is not None and word not in known}
    return (*known, *sorted(rest))


def _all(answers: Mapping[str, Mapping[str, Answer]]) -> Iterable[Answer]:
    return (answer for known in answers.values() for answer in known.values())
