"""Projects, their domain, tags and iterations, by the names that people have for them."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from models.errors import UsageError
from training.customvision.client import Service

Entity: TypeAlias = Any
"""Of the SDK's models."""

PAGE = 256
DEFAULT_DOMAIN = "General (compact)"
"""Only compact domains can be exported, so only these are a way out."""


@dataclass(frozen=True)
class Tag:
    """A class of a project, with the number of images that bear it."""

    id: str
    name: str
    images: int


def find(service: Service, name: str) -> Entity | None:
    """The project of this name or id; None if there is no such name. Raises `UsageError` if several have the name."""
    if is_id(name):
        return service.call(f"looking for the project {name}", service.client.get_project, name)
    found = [one for one in service.call("listing the projects", service.client.get_projects) if one.name == name]
    if len(found) > 1:
        raise UsageError(f"{len(found)} projects are named {name!r}; say which by its id: {', '.join(one.id for one in found)}")
    return found[0] if found else None


def require(service: Service, name: str) -> Entity:
    """The project of this name or id. Raises `UsageError` if there is none."""
    found = find(service, name)
    if found is None:
        names = sorted(one.name for one in service.call("listing the projects", service.client.get_projects))
        raise UsageError(f"there is no project {name!r} at {service.access.host}; it has {', '.join(names) or 'none'}")
    return found


def ensure(service: Service, name: str, domain: str | None) -> tuple[Entity, bool]:
    """The project of this name or id, made if it is not there, and whether it was. Raises `UsageError` for another kind."""
    project = find(service, name)
    if project is None:
        chosen = _domain(service, domain or DEFAULT_DOMAIN)
        made = service.call(
            f"creating the project {name}",
            service.client.create_project,
            name,
            domain_id=chosen.id,
            classification_type="Multiclass",
            again=False,
        )
        return made, True
    kind = project.settings.classification_type
    if kind != "Multiclass":
        raise UsageError(f"the project {name} is {kind or 'for detection'}; class folders belong into a Multiclass project")
    if domain is not None and (chosen := _domain(service, domain)).id != project.settings.domain_id:
        raise UsageError(
            f"the project {name} is of another domain than {chosen.name}; change it in the portal, or name a new one"
        )
    return project, False


def tags(service: Service, project: Entity) -> list[Tag]:
    """Of a project as it is now, in the order of their names."""
    found = service.call(f"listing the tags of {project.name}", service.client.get_tags, project.id)
    return sorted((Tag(one.id, one.name, one.image_count or 0) for one in found), key=lambda tag: tag.name)


def ensure_tags(service: Service, project: Entity, labels: Sequence[str]) -> Mapping[str, str]:
    """Ids of the tags of these names; those that are missing are made."""
    known = {tag.name: tag.id for tag in tags(service, project)}
    for label in labels:
        if label not in known:
            made = service.call(f"creating the tag {label}", service.client.create_tag, project.id, label, again=False)
            known[label] = made.id
    return {label: known[label] for label in labels}


def images(service: Service, project: Entity, *, tagged: bool = False) -> Iterator[Entity]:
    """All images, or those with a tag, oldest first, so that pages stay where they are while others are added."""
    doing, only = f"listing the images of {project.name}", "Tagged" if tagged else None
    at = 0
    while True:
        page = service.call(
            doing, service.client.get_images, project.id, tagging_status=only, order_by="Oldest", take=PAGE, skip=at
        )
        yield from page
        at += len(page)
        if not page:
            return


def iterations(service: Service, project: Entity) -> list[Entity]:
    """Of a project, newest first."""
    found = service.call(f"listing the iterations of {project.name}", service.client.get_iterations, project.id)
    return sorted(found, key=lambda one: one.created, reverse=True)


def iteration(service: Service, project: Entity, name: str | None) -> Entity:
    """The trained iteration of a name, an id or a published name; None: the newest. Raises `UsageError` if there is none."""
    every = iterations(service, project)
    if name is None:
        found = [one for one in every if one.status == "Completed"][:1]
    else:
        found = [one for one in every if name in (one.name, one.id, one.publish_name)]
    if not found:
        listed = ", ".join(f"{one.name} ({one.status})" for one in every) or "none"
        wanted = f"no iteration {name!r}" if name else "no trained iteration"
        raise UsageError(f"{project.name} has {wanted}; it has {listed}. `parallax customvision train` makes one")
    if found[0].status != "Completed":
        raise UsageError(f"{found[0].name} of {project.name} is not trained: its status is {found[0].status}")
    return found[0]


def is_id(text: str) -> bool:
    """Whether this is an id as the service makes them."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _domain(service: Service, name: str) -> Entity:
    every = [one for one in service.call("listing the domains", service.client.get_domains) if one.type == "Classification"]
    found = [one for one in every if name.lower() in (one.name.lower(), one.id.lower())]
    if not found:
        raise UsageError(f"there is no domain {name!r}; those for classification are {', '.join(one.name for one in every)}")
    return found[0]
