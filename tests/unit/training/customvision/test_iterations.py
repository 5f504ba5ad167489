"""Training is begun once, followed to its end, and published under a name that nobody loses by accident."""

import pytest

from models.errors import UsageError
from tests.support.custom_vision.script import Fault
from tests.support.images import labelled
from tests.unit.training.customvision.conftest import RESOURCE, Cloud
from training.customvision import projects
from training.customvision.client import ServiceError
from training.customvision.iterations import follow, performance, publish, train
from training.customvision.projects import Entity

FILES = labelled({"dark": 6, "bright": 6}, width=16, height=16)


def say(_line: str) -> None:
    pass


def run(cloud: Cloud, *, budget_hours: int | None = None, force: bool = False, timeout_s: float = 3600) -> Entity:
    service = cloud.training()
    project = projects.require(service, "scenes")
    begun = train(service, project, budget_hours=budget_hours, force=force, tell=say)
    return follow(service, project, begun, timeout_s=timeout_s, tell=say, clock=cloud.time.clock)


def test_it_is_followed_to_its_end_and_says_how_each_tag_does(cloud: Cloud) -> None:
    project = cloud.filled(FILES)
    cloud.script.looks = 12
    trained = run(cloud, budget_hours=3)
    assert (trained.status, trained.training_type, trained.reserved_budget_in_hours) == ("Completed", "Advanced", 3)
    waits = [wait for wait in cloud.time.slept if wait >= 0.2]
    assert len(waits) == 13
    assert max(waits) <= 15
    service = cloud.training()
    rows = performance(service, projects.require(service, project.id), trained)
    assert [(row.name, row.precision, row.recall) for row in rows] == [("dark", 1, 1), ("bright", 1, 1), ("all", 1, 1)]


def test_a_training_that_is_on_is_followed_and_not_begun_again(cloud: Cloud) -> None:
    project = cloud.filled(FILES)
    cloud.script.looks = 50
    with pytest.raises(UsageError, match=r"is still Training after 0\.0 hours\. It goes on there"):
        run(cloud, timeout_s=1)
    cloud.script.looks = 2
    assert run(cloud).id == project.iterations[0].id
    assert len(project.iterations) == 1
    assert sum(path.endswith("/train") for _, path in cloud.script.requests) == 1


def test_what_has_not_changed_is_not_trained_again_unless_forced(cloud: Cloud) -> None:
    project = cloud.filled(FILES)
    first = run(cloud)
    assert run(cloud).id == first.id
    assert run(cloud, force=True).id != first.id
    assert len(project.iterations) == 2


def test_a_failed_training_ends_and_says_why(cloud: Cloud) -> None:
    cloud.filled(FILES)
    cloud.script.outcome = "Failed"
    with pytest.raises(UsageError, match=r"the training of scenes has failed \(Iteration 1\): It was scripted to"):
        run(cloud)


def test_too_few_images_are_told_before_the_service_is_asked(cloud: Cloud) -> None:
    cloud.filled({path: data for path, data in FILES.items() if path not in ("dark/1.png", "dark/2.png")})
    with pytest.raises(UsageError, match="each with 5 images or more; too few: dark 4"):
        run(cloud)
    assert not any(path.endswith("/train") for _, path in cloud.script.requests)


def test_a_refusal_says_what_to_do(cloud: Cloud) -> None:
    cloud.filled(FILES)
    body = b'{"code": "BadRequestExceedIterationPerProjectLimit", "message": "Too many."}'
    cloud.script.faults = [Fault("/train", 400, body, method="POST")]
    with pytest.raises(ServiceError, match="delete one in the portal"):
        run(cloud)


def test_publishing_takes_no_name_from_another_by_accident(cloud: Cloud) -> None:
    project = cloud.filled(FILES)
    first, second = cloud.trained(project), cloud.trained(project)
    service = cloud.training()
    found = projects.require(service, "scenes")

    def release(name: str, as_name: str, *, overwrite: bool = False, resource: str = RESOURCE) -> bool:
        return publish(service, found, projects.iteration(service, found, name), as_name, resource, overwrite=overwrite)

    with pytest.raises(UsageError, match="the prediction resource's id in Azure, as in /subscriptions/"):
        release("Iteration 1", "production", resource="d6a1-subscription-id")
    assert release("Iteration 1", "production")
    assert not release("Iteration 1", "production"), "it is already"
    with pytest.raises(UsageError, match="production is Iteration 1 of scenes; --overwrite puts Iteration 2"):
        release("Iteration 2", "production")
    assert release(second.id, "production", overwrite=True)
    assert (first.publish_name, second.publish_name) == (None, "production")
    with pytest.raises(UsageError, match="published as production already"):
        release("production", "other")


def test_an_iteration_that_is_not_there_or_not_trained_is_named(cloud: Cloud) -> None:
    project = cloud.filled(FILES)
    service = cloud.training()
    found = projects.require(service, "scenes")
    with pytest.raises(UsageError, match="has no trained iteration; it has none"):
        projects.iteration(service, found, None)
    iteration = cloud.trained(project)
    with pytest.raises(UsageError, match=r"no iteration 'x'; it has Iteration 1 \(Completed\)"):
        projects.iteration(service, found, "x")
    iteration.status = "Training"
    with pytest.raises(UsageError, match="is not trained: its status is Training"):
        projects.iteration(service, found, "Iteration 1")
    with pytest.raises(UsageError, match=r"no project 'y' at 127.0.0.1:\d+; it has scenes"):
        projects.require(service, "y")
