"""Training a project, following it to its end, and publishing what it made."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from models.custom_vision_limits import MIN_IMAGES_PER_TAG
from models.errors import UsageError
from training.customvision import projects
from training.customvision.client import Service, ServiceError
from training.customvision.projects import Entity

FIRST_LOOK_S, MAX_LOOK_S = 0.2, 15.0
"""Between looks at a training."""

ENDED = frozenset({"Completed", "Failed"})
RESOURCE = re.compile(
    r"/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/Microsoft\.CognitiveServices/accounts/[^/\s]+", re.IGNORECASE
)
HINTS = {
    "BadRequestExceedIterationPerProjectLimit": "A project keeps 20 iterations: delete one in the portal",
    "BadRequestReservedBudgetInHoursNotEnoughForAdvancedTraining": "Give it more with --budget-hours",
    "BadRequestDomainNotSupportedForAdvancedTraining": "Train without --budget-hours",
    "BadRequestExceededQuota": "The month's quota of trainings is used up",
    "BadRequestInvalidPublishTarget": "The prediction resource must be in the region of the training resource",
}


@dataclass(frozen=True)
class TagResult:
    """What the service says of a tag, on a part of the images that it was trained with."""

    name: str
    precision: float
    recall: float
    average_precision: float


def train(service: Service, project: Entity, *, budget_hours: int | None, force: bool, tell: Callable[[str], None]) -> Entity:
    """Begin a training, or find the one that is on; None hours: the quick kind. Returns its iteration.

    Raises `UsageError` if tags or images are too few, `ServiceError` if the service won't.
    """
    running = next((one for one in projects.iterations(service, project) if one.status not in ENDED), None)
    if running is not None:
        tell(f"{running.name} is in training already: it is followed")
        return running
    found = projects.tags(service, project)
    poor = [f"{tag.name} {tag.images}" for tag in found if tag.images < MIN_IMAGES_PER_TAG]
    if len(found) < 2 or poor:
        raise UsageError(
            f"{project.name} can't be trained: it takes two tags or more, each with {MIN_IMAGES_PER_TAG} images or more; "
            f"{'too few: ' + ', '.join(poor) if poor else f'there are {len(found)} tags'}"
        )
    kind = (
        {"training_type": "Advanced", "reserved_budget_in_hours": budget_hours} if budget_hours else {"training_type": "Regular"}
    )
    try:
        return service.call(
            f"training {project.name}", service.client.train_project, project.id, force_train=force, again=False, **kind
        )
    except ServiceError as exc:
        if exc.code.startswith("BadRequestTrainingNotNeeded"):
            newest = projects.iteration(service, project, None)
            tell(f"nothing has changed since {newest.name} was trained: it stands (--force trains again)")
            return newest
        raise _explained(exc) from exc


def follow(
    service: Service,
    project: Entity,
    iteration: Entity,
    *,
    timeout_s: float,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> Entity:
    """Wait for the end of a training. Raises `UsageError` if it fails, or takes longer; it goes on in that case."""
    began, pause, told = clock(), FIRST_LOOK_S, ""
    while iteration.status not in ENDED:
        if iteration.status != told:
            tell(f"{iteration.name}: {iteration.status}")
            told = iteration.status
        if clock() - began > timeout_s:
            raise UsageError(
                f"{iteration.name} of {project.name} is still {iteration.status} after {timeout_s / 3600:.1f} hours. "
                "It goes on there; the same command follows it again"
            )
        service.sleep(pause)
        pause = min(pause * 1.5, MAX_LOOK_S)
        look = service.client.get_iteration
        iteration = service.call(f"looking at {iteration.name}", look, project.id, iteration.id)
    if iteration.status == "Failed":
        reason = iteration.training_error_details or "it gives no reason"
        raise UsageError(f"the training of {project.name} has failed ({iteration.name}): {reason}")
    return iteration


def performance(service: Service, project: Entity, iteration: Entity, threshold: float = 0.5) -> list[TagResult]:
    """Of each tag of a trained iteration, all together last."""
    look = service.client.get_iteration_performance
    found = service.call(f"asking how {iteration.name} does", look, project.id, iteration.id, threshold=threshold)
    rows = [TagResult(one.name, one.precision, one.recall, one.average_precision) for one in found.per_tag_performance or []]
    return [*rows, TagResult("all", found.precision, found.recall, found.average_precision)]


def publish(service: Service, project: Entity, iteration: Entity, name: str, resource: str, *, overwrite: bool) -> bool:
    """Publish an iteration under a name; False if it is already. Raises `UsageError` for a name that another one has."""
    if not RESOURCE.fullmatch(resource):
        raise UsageError(
            "--prediction-resource is the prediction resource's id in Azure, as in /subscriptions/ID/resourceGroups/NAME/"
            "providers/Microsoft.CognitiveServices/accounts/NAME: `az cognitiveservices account show --query id` prints it"
        )
    holder = next((one for one in projects.iterations(service, project) if one.publish_name == name), None)
    if holder is not None and holder.id == iteration.id:
        return False
    if holder is not None and not overwrite:
        raise UsageError(f"{name} is {holder.name} of {project.name}; --overwrite puts {iteration.name} in its place")
    if iteration.publish_name:
        raise UsageError(f"{iteration.name} is published as {iteration.publish_name} already, and can have one name only")
    try:
        done = service.call(
            f"publishing {iteration.name}",
            service.client.publish_iteration,
            project.id,
            iteration.id,
            name,
            resource,
            overwrite=overwrite,
            again=False,
        )
    except ServiceError as exc:
        raise _explained(exc) from exc
    if not done:
        raise UsageError(f"the service did not publish {iteration.name}, and gives no reason")
    return True


def _explained(exc: ServiceError) -> ServiceError:
    hint = HINTS.get(exc.code)
    return ServiceError(f"{exc}. {hint}.", status=exc.status, code=exc.code) if hint else exc
