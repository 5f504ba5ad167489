"""Plans that are kept from one start to the next."""

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plans import MEANING, Kept, PlanBook
from service.tuning import Measured, Plan

MODEL = ["cnn", "digest", "CPUExecutionProvider"]
KEPT = Kept(Plan(2, 2, 2), [Measured(Plan(1, 4, 1), 100.0), Measured(Plan(2, 2, 2), 123.4)], 4)

PLANS = st.builds(Plan, *[st.integers(1, 1024)] * 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Not made yet."""
    return tmp_path / "data" / "plans"


@pytest.fixture
def kept(folder: Path) -> Path:
    """The file of a plan that is kept."""
    PlanBook(folder, 4).keep(MODEL, KEPT)
    (file,) = folder.iterdir()
    return file


SPEEDS = st.builds(Measured, PLANS, st.integers(0, 10**7).map(lambda tenths: tenths / 10))


@given(kept=st.builds(Kept, PLANS, st.lists(SPEEDS, max_size=5), st.integers(1, 4)))
def test_what_was_kept_is_found_by_the_next_start(tmp_path_factory: pytest.TempPathFactory, kept: Kept) -> None:
    folder = tmp_path_factory.mktemp("plans")
    PlanBook(folder, 4).keep(MODEL, kept)
    assert PlanBook(folder, 4).find(MODEL) == kept


def test_a_plan_kept_later_takes_the_place_of_the_one_before(folder: Path, kept: Path) -> None:
    book = PlanBook(folder, 4)
    later = Kept(Plan(8, 1, 4), [])
    book.keep(MODEL, later)
    assert book.find(MODEL) == later
    assert list(folder.iterdir()) == [kept]


def test_a_file_says_in_words_what_it_was_measured_for(kept: Path) -> None:
    words = json.loads(kept.read_text(encoding="utf-8"))["measured_for"]
    assert words[:3] == MODEL
    assert words[-2:] == ["4 cores", MEANING]


@pytest.mark.parametrize(
    "model", [["cnn", "other digest", "CPUExecutionProvider"], ["cnn", "digest", "CUDAExecutionProvider"], ["cnn", "digest"]]
)
@pytest.mark.usefixtures("kept")
def test_another_model_or_runtime_has_no_plan_yet(folder: Path, model: list[str]) -> None:
    assert PlanBook(folder, 4).find(model) is None


@pytest.mark.usefixtures("kept")
def test_a_machine_with_other_cores_or_another_processor_has_no_plan_yet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PlanBook(folder, 8).find(MODEL) is None
    monkeypatch.setattr("service.plans.processor", lambda: "a faster one")
    assert PlanBook(folder, 4).find(MODEL) is None


def test_an_empty_book_has_no_plan_and_nothing_to_say(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert PlanBook(folder, 4).find(MODEL) is None
    assert caplog.records == []
    assert not folder.exists(), "looking makes no folder"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"measured_for": [], "threads_alone": 1, "measured": []}',
        b'{"measured_for": [], "plan": {"batch_size": 0, "lanes": 1, "threads": 1}, "threads_alone": 1, "measured": []}',
        b'{"measured_for": [], "plan": {"batch_size": 1, "lanes": 1}, "threads_alone": 1, "measured": []}',
        b'{"measured_for": [], "plan": {"batch_size": 1, "lanes": 1, "threads": 1}, "measured": []}',
        b'{"measured_for": [], "plan": {"batch_size": 1, "lanes": 1, "threads": 1}, "threads_alone": 0, "measured": []}',
        b'{"measured_for": [], "plan": {"batch_size": 1, "lanes": 1, "threads": 1}, "threads_alone": 1, "measured": [], "a": 1}',
    ],
)
def test_a_file_that_makes_no_sense_is_passed_over_with_a_warning_and_then_replaced(
    folder: Path, kept: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    kept.write_bytes(content)
    book = PlanBook(folder, 4)
    assert book.find(MODEL) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert vars(record)["file"] == kept.name
    book.keep(MODEL, KEPT)
    assert book.find(MODEL) == KEPT


def test_a_folder_that_can_not_be_made_is_logged_and_the_service_goes_on(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.parent.write_text("a file where the folder should be")
    book = PlanBook(folder, 4)
    book.keep(MODEL, KEPT)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert vars(record)["folder"] == str(folder)
    assert book.find(MODEL) is None


def test_a_disk_that_is_full_is_logged_and_the_plan_before_stays(
    folder: Path, kept: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    book = PlanBook(folder, 4)
    with monkeypatch.context() as broken:
        broken.setattr("service.plans.tempfile.NamedTemporaryFile", full)
        book.keep(MODEL, Kept(Plan(8, 8, 8), []))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert book.find(MODEL) == KEPT
    assert list(folder.iterdir()) == [kept]


def test_a_processor_has_a_name_whatever_the_machine_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_args: object, **_options: object) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert PlanBook(Path(), 4)._machine[0]
