"""What the training contract answers: bodies, and how many of them are right."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from models.headers import read_header
from tests.support.custom_vision.state import GENERAL_COMPACT, Iteration, Project, StoredImage, Tag, now

STORAGE = "/storage-account"
S1_COMPACT = "a1db07ca-a19a-4830-bae8-e004a42dc863"
DOMAINS: Mapping[str, tuple[str, bool]] = {
    "ee85a74c-405e-4adc-bb47-ffa8ca0c9f31": ("General", False),
    "a8e3c40f-fb4a-466f-832a-5e457ae4a344": ("General [A1]", False),
    "2e37d7fb-3a54-486a-b4d6-cfc369af0018": ("General [A2]", False),
    GENERAL_COMPACT: ("General (compact)", True),
    S1_COMPACT: ("General (compact) [S1]", True),
}
"""Names, and whether a model can be exported."""


def shares(said: Sequence[tuple[str, str]], tag: str) -> dict[str, float]:
    """Of pairs (true, named): precision and recall of a tag."""
    both = sum(true == named == tag for true, named in said)
    named, there = sum(named == tag for _, named in said), sum(true == tag for true, _ in said)
    precision, recall = both / named if named else 0.0, both / there if there else 0.0
    spread = {"precisionStdDeviation": 0.0, "recallStdDeviation": 0.0}
    return {"precision": precision, "recall": recall, "averagePrecision": precision, **spread}


def summary(rows: Sequence[Mapping[str, Any]]) -> Response:
    """Of a batch: 207 unless every image is new and well."""
    well = all(row["status"] == "OK" for row in rows)
    return JSONResponse({"isBatchSuccessful": well, "images": list(rows)}, 200 if well else 207)


def project_body(project: Project) -> dict[str, Any]:
    settings = {"domainId": project.domain, "classificationType": project.classification_type, "targetExportPlatforms": []}
    body = {"id": project.id, "name": project.name, "description": "", "settings": settings, "drModeEnabled": False}
    return body | {"created": project.created, "lastModified": project.created, "status": "Succeeded"}


def tag_body(project: Project, tag: Tag) -> dict[str, Any]:
    count = sum(tag.id in one.tags for one in project.images.values())
    return {"id": tag.id, "name": tag.name, "description": None, "type": "Regular", "imageCount": count}


def image_body(request: Request, project: Project, image: StoredImage) -> dict[str, Any]:
    names = {tag.id: tag.name for tag in project.tags}
    header, address = read_header(image.data), storage_address(request, image.id)
    body = {"id": image.id, "created": image.created, "width": header.width, "height": header.height}
    body |= {"originalImageUri": address, "resizedImageUri": address, "thumbnailUri": address}
    return body | {"tags": [{"tagId": tag, "tagName": names[tag], "created": image.created} for tag in image.tags], "regions": []}


def iteration_body(project: Project, iteration: Iteration) -> dict[str, Any]:
    exportable, trained = DOMAINS[iteration.domain][1], iteration.status == "Completed"
    body: dict[str, Any] = {"id": iteration.id, "name": iteration.name, "status": iteration.status, "projectId": project.id}
    body |= {"created": iteration.created, "lastModified": iteration.created, "trainedAt": now() if trained else None}
    body |= {"exportable": exportable, "exportableTo": ["ONNX"] if exportable else [], "domainId": iteration.domain}
    body |= {"classificationType": project.classification_type, "publishName": iteration.publish_name}
    body |= {"trainingType": "Advanced" if iteration.budget_hours else "Regular"}
    body |= {"reservedBudgetInHours": iteration.budget_hours, "trainingTimeInMinutes": 1 if trained else 0}
    return body | {"trainingErrorDetails": "It was scripted to." if iteration.status == "Failed" else None}


def storage_address(request: Request, name: str) -> str:
    return f"{str(request.base_url).rstrip('/')}{STORAGE}/{name}?sig=may-read"
