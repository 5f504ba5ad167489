"""A published iteration meets a labelled set: under the tier's rate, tried again where that helps, and resumable."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from models.custom_vision_limits import LIMITS, MAX_PREDICTION_BYTES, Tier
from models.datasets import Dataset, LabelledImage, open_dataset
from models.errors import ImageError, UsageError
from training.customvision.answers import Answer, Subject, Tally, answer_of, default_file, load, tally
from training.customvision.client import Service
from training.customvision.fitting import fitted
from training.customvision.journal import Journal
from training.customvision.parallel import in_parallel
from training.customvision.survey import Problem

STOPS = frozenset({401, 403, 404})
"""What would be answered to every other image as well."""

MAX_FAILED = 20
"""Images in a row that may fail, each after all its attempts."""


def score(
    service: Service,
    project: str,
    published_name: str,
    sources: Sequence[str],
    folder: Path,
    *,
    out: Path | None = None,
    tier: Tier = "S0",
    store: bool = False,
    workers: int = 8,
    usd_per_1000: float | None = None,
    step: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Tally, list[Problem], Path]:
    """Accuracy of a published iteration, the images that have no answer, and the file of all answers.

    `step` is told how many answers are there, of how many. Raises `ServiceError` if the service refuses for good; what was
    answered until then is kept.
    """
    with ExitStack() as stack:
        sets = [stack.enter_context(open_dataset(source)) for source in sources]
        subject = Subject(
            host=service.access.host, project=project, published_name=published_name, data=[one.sha256() for one in sets]
        )
        file = out or default_file(folder, subject)
        total = sum(len(one) for one in sets)
        with Journal(file) as journal:
            answers = load(journal, subject)
            most = LIMITS[tier].max_predictions
            if most is not None and total - len(answers) > most:
                raise UsageError(f"{total - len(answers):,} images are to be scored; tier {tier} answers {most:,} a month")
            if not journal.path.stat().st_size:
                journal.write(subject.model_dump())
            problems: list[Problem] = []
            asker = _Asker(service, project, published_name, journal, store=store)
            waiting = (one for one in _images(sets) if one.path not in answers)
            step(len(answers), total)
            in_a_row = 0
            for outcome in in_parallel(asker.ask, waiting, workers):
                if isinstance(outcome, Answer):
                    answers[outcome.path] = outcome
                    in_a_row = 0
                else:
                    problems.append(outcome)
                    in_a_row += 1
                    if in_a_row == MAX_FAILED:
                        raise UsageError(f"{in_a_row} images in a row have no answer; the last: {outcome.reason}")
                step(len(answers) + len(problems), total)
    return tally(subject, sorted(answers.values(), key=lambda one: one.path), len(problems), usd_per_1000), problems, file


class _Asker:
    def __init__(self, service: Service, project: str, published_name: str, journal: Journal, *, store: bool) -> None:
        client = service.client
        self._service = service
        self._operation = client.classify_image if store else client.classify_image_with_no_store
        self._project = project
        self._name = published_name
        self._journal = journal

    def ask(self, image: LabelledImage) -> Answer | Problem:
        """One image. What stands in the way of all of them is raised."""
        took = 0.0

        def timed(*args: object, **options: object) -> object:
            nonlocal took
            began = time.perf_counter()
            reply = self._operation(*args, **options)
            took = time.perf_counter() - began
            return reply

        try:
            data = fitted(image.data, MAX_PREDICTION_BYTES)
            reply = self._service.call(f"classifying {image.path}", timed, self._project, self._name, data)
            answer = answer_of(image.path, image.label, reply, took)
        except ImageError as exc:
            return Problem(image.path, str(exc))
        except UsageError as exc:
            if getattr(exc, "status", None) in STOPS or getattr(exc, "code", "") == "BadRequestExceededQuota":
                raise
            return Problem(image.path, str(exc))
        self._journal.write(answer.model_dump())
        return answer


def _images(sets: Sequence[Dataset]) -> Iterator[LabelledImage]:
    """Of all sets; two sets with the same class and file name stay two images."""
    seen: dict[str, int] = {}
    for one in sets:
        for image in one:
            seen[image.path] = number = seen.get(image.path, 0) + 1
            yield image if number == 1 else LabelledImage(f"{image.path}#{number}", image.label, image.data)
