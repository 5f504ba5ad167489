"""Every slot is filled once, whoever dies and however many take part."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.trial import Trial, TrialState
from sqlalchemy import text

from models.errors import UsageError
from training.sweep import queue as queues
from training.sweep.queue import Dropped, Owner, Queue
from training.sweep.storage import open_storage, sqlite


@pytest.fixture
def study(tmp_path: Path) -> Iterator[optuna.Study]:
    storage = open_storage(sqlite(tmp_path))
    yield optuna.create_study(storage=storage, study_name="s", direction="maximize")
    storage.engine.dispose()


@pytest.fixture
def queue(study: optuna.Study, tmp_path: Path) -> Queue:
    made = Queue(study, 3, tmp_path)
    made.refresh()
    return made


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    with Owner(tmp_path) as made:
        yield made


def take(queue: Queue, owner: Owner) -> Trial:
    """As a worker takes a trial, and draws."""
    with pytest.warns(UserWarning, match="Heartbeat"):
        trial = queue.study.ask()
    queue.claim(trial, owner)
    trial.suggest_float("x", 0, 1)
    return trial


def states(queue: Queue) -> list[str]:
    return [trial.state.name for trial in queue.study.trials]


def test_there_are_as_many_trials_as_asked_for_and_no_more(queue: Queue, owner: Owner) -> None:
    queue.refresh()
    assert states(queue) == ["WAITING"] * 3
    for _ in range(3):
        assert queue.waiting()
        queue.study.tell(take(queue, owner), 0.5)
        queue.refresh()
    assert not queue.waiting()
    assert queue.is_done
    assert states(queue) == ["COMPLETE"] * 3


def test_a_study_can_be_made_longer(queue: Queue, tmp_path: Path) -> None:
    Queue(queue.study, 5, tmp_path).refresh()
    assert [trial.user_attrs["slot"] for trial in queue.study.trials] == [0, 1, 2, 3, 4]


def test_a_trial_of_a_dead_worker_is_had_again_at_once_with_what_it_had_drawn(queue: Queue, owner: Owner) -> None:
    lost = take(queue, owner)
    queue.refresh()
    assert states(queue)[0] == "RUNNING", "its worker lives"
    owner.die()
    queue.refresh()
    assert states(queue) == ["FAIL", "WAITING", "WAITING", "WAITING"]
    again = queue.study.trials[3]
    assert (again.user_attrs["slot"], again.params) == (0, lost.params)
    assert queue.was_taken(lost.number)


def test_of_a_worker_elsewhere_only_its_heartbeat_tells(queue: Queue, owner: Owner) -> None:
    owner.facts["host"] = "elsewhere"
    lost = take(queue, owner)
    owner.die()  # of which this machine can't know
    storage = queue.study._storage._backend  # type: ignore[attr-defined]  # what optuna's cache of finished trials stands on
    storage.record_heartbeat(lost._trial_id)
    queue.refresh()
    assert states(queue)[0] == "RUNNING"
    with storage.engine.begin() as connection:
        connection.execute(text("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00.000000'"))
    queue.refresh()
    assert states(queue)[0] == "FAIL"
    assert queue.trials()[0].params == lost.params


def test_a_trial_whose_worker_died_before_it_could_sign_is_had_again_in_time(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(UserWarning, match="Heartbeat"):
        queue.study.ask()
    queue.refresh()
    assert states(queue)[0] == "RUNNING"
    monkeypatch.setattr(queues, "GRACE_S", -1)
    queue.refresh()
    assert states(queue) == ["FAIL", "WAITING", "WAITING", "WAITING"]


def test_two_that_fill_a_gap_at_once_fill_it_once(queue: Queue, owner: Owner, tmp_path: Path) -> None:
    double = Queue(queue.study, 3, tmp_path)
    double._queue(0)  # as a process that looked before the other one had filled it
    for _ in range(3):
        queue.study.tell(take(queue, owner), 0.5)
    with pytest.warns(UserWarning, match="Heartbeat"):
        fourth = queue.study.ask()
    with pytest.raises(Dropped):
        queue.claim(fourth, owner)
    assert len(queue.finished()) == 3


def test_a_trial_that_nobody_queued_is_dropped(queue: Queue, owner: Owner) -> None:
    for _ in range(3):
        take(queue, owner)
    with pytest.warns(UserWarning, match="Heartbeat"), pytest.raises(Dropped):
        queue.claim(queue.study.ask(), owner)


def test_a_trial_that_kills_whoever_takes_it_is_given_up(queue: Queue, tmp_path: Path) -> None:
    single = Queue(queue.study, 1, tmp_path)
    with pytest.raises(UsageError, match=r"5 times.*--concurrent"):  # noqa: PT012  # each round ends another worker
        for _ in range(queues.MAX_LOSSES + 3):
            owner = Owner(tmp_path)
            take(single, owner)
            owner.die()
            single.refresh()


def test_ctrl_c_is_not_held_against_a_trial(queue: Queue, owner: Owner) -> None:
    trial = take(queue, owner)
    trial.set_user_attr("why", "interrupted")
    queue.study.tell(trial, state=TrialState.FAIL)
    queue.refresh()
    assert queue.trials()[0].params == {}, "the slot is drawn anew"


def test_of_many_that_reach_for_a_trial_each_gets_another(tmp_path: Path, study: optuna.Study) -> None:
    """Without `BEGIN IMMEDIATE` two connections of SQLite take the same trial, or are told that the database is locked."""
    workers = 4
    Queue(study, 2 * workers, tmp_path).refresh()

    def taken(_: int) -> list[int]:
        storage = open_storage(sqlite(tmp_path))
        mine = optuna.load_study(study_name="s", storage=storage)
        numbers = [mine._storage.get_trial(mine._pop_waiting_trial_id() or 0).number for _ in range(2)]
        storage.engine.dispose()
        return numbers

    with ThreadPoolExecutor(workers) as pool:
        numbers = [number for pair in pool.map(taken, range(workers)) for number in pair]
    assert sorted(numbers) == list(range(2 * workers))
