"""The images of a report, one after the other."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from models.errors import UnreadableImage
from models.imaging import Limits
from models.scoring.results import Scoring
from service.errors import UnknownDataset
from service.scoring import pictures

JOB: Any = SimpleNamespace(dataset={"name": "a.zip"})
FOUND = cast(Scoring, SimpleNamespace(galleries=SimpleNamespace(images=["gone", "1", "2"])))
LIMITS = Limits()


class Shelf:
    """It knows whether its set is out."""

    def __init__(self, *, empty: bool = False) -> None:
        self.empty = empty
        self.out = 0

    @contextmanager
    def borrowed(self, _dataset: dict[str, Any]) -> Iterator["Shelf"]:
        if self.empty:
            raise UnknownDataset("There is no a.zip.")
        self.out += 1
        try:
            yield self
        finally:
            self.out -= 1

    def read(self, image: str, _most: int) -> bytes:
        if image == "gone":
            raise UnreadableImage("It is not there.")
        return image.encode()


def listed(_found: Scoring, images: Iterable[tuple[str, bytes]], _limits: Limits) -> str:
    return repr(list(images))


@pytest.mark.parametrize(("empty", "shown"), [(False, [("1", b"1"), ("2", b"2")]), (True, [])])
def test_images_that_can_not_be_had_any_more_are_left_out(empty: bool, shown: list[tuple[str, bytes]]) -> None:
    shelf = Shelf(empty=empty)
    assert pictures.report(cast(Any, shelf), LIMITS, JOB, FOUND, listed) == repr(shown)
    assert shelf.out == 0


def test_whoever_fails_while_there_are_images_left_gives_the_set_back() -> None:
    shelf, kept = Shelf(), []

    def fail(_found: Scoring, images: Iterable[tuple[str, bytes]], _limits: Limits) -> str:
        kept.append(images)  # as the traceback of an error does
        next(iter(images))
        assert shelf.out == 1
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        pictures.report(cast(Any, shelf), LIMITS, JOB, FOUND, fail)
    assert shelf.out == 0
