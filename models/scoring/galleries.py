"""Which images are worth a person's look."""

from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest

from models.scoring.results import Claim, Exhibit, Galleries, Gallery
from models.scoring.rows import Answer

Answers = Mapping[str, Answer]
"""Of one image, by backend."""


def galleries(answers: Mapping[str, Mapping[str, Answer]], own: Mapping[str, Sequence[str]], shown: int) -> Galleries:
    """Choose the images, at most `shown` a gallery. `own`: each backend's labels, in the order of its scores."""
    by_image: dict[str, dict[str, Answer]] = {}
    for backend, known in answers.items():
        for image, answer in known.items():
            if answer.predicted is not None:
                by_image.setdefault(image, {})[backend] = answer
    labelled = any(answer.judged for image in by_image.values() for answer in image.values())
    doubted = None
    if labelled and len(answers) > 1:
        chosen = [(_support(image, own), image) for image in by_image.values() if _doubted(image)]
        doubted = _gallery(chosen, shown)
    return Galleries(
        disagreements=_gallery([(-_quarrel(image), image) for image in by_image.values() if _differ(image)], shown),
        doubted=doubted,
        mistakes={backend: _mistakes(backend, known.values(), shown) for backend, known in answers.items()} if labelled else {},
    )


def _differ(image: Answers) -> bool:
    return len({answer.predicted for answer in image.values()}) > 1


def _quarrel(image: Answers) -> float:
    """How sure the less sure one is of the two surest sides."""
    sides: dict[str | None, float] = {}
    for answer in image.values():
        sides[answer.predicted] = max(sides.get(answer.predicted, 0.0), answer.probability)
    return sorted(sides.values())[-2]


def _doubted(image: Answers) -> bool:
    return len(image) > 1 and all(answer.judged and not answer.right for answer in image.values())


def _support(image: Answers, own: Mapping[str, Sequence[str]]) -> float:
    """Mean probability that the backends give to the label; what was not told counts as what was left for it at most."""
    given = [
        1 - answer.probability if (told := answer.probability_of(str(answer.label), own[backend])) is None else told
        for backend, answer in image.items()
    ]
    return sum(given) / len(given)


def _mistakes(backend: str, answers: Iterable[Answer], shown: int) -> Gallery:
    return _gallery([(-answer.probability, {backend: answer}) for answer in answers if answer.judged and not answer.right], shown)


def _gallery(chosen: Sequence[tuple[float, Answers]], shown: int) -> Gallery:
    """Those with the least number first; of equal ones, by their paths."""
    best = nsmallest(shown, ((number, next(iter(image.values())).image, image) for number, image in chosen), key=lambda one: one[:2])
    return Gallery(total=len(chosen), exhibits=tuple(_exhibit(path, image) for _, path, image in best))


def _exhibit(path: str, image: Answers) -> Exhibit:
    label = next(iter(image.values())).label
    claims = tuple(
        Claim(backend=backend, predicted=str(answer.predicted), probability=answer.probability) for backend, answer in image.items()
    )
    return Exhibit(image=path, label=label, claims=claims)
