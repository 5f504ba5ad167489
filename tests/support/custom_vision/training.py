"""The training contract, v3.4-preview, as Microsoft's SDK 3.1.1 sends and reads it.

Training is real: it finds the mean colour of each tag, and the iteration, its published name and its export all answer by that.
"""

import base64
import functools
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from models import imaging
from models.errors import ImageError
from models.headers import read_header
from tests.support.custom_vision import exports
from tests.support.custom_vision.bodies import (
    DOMAINS,
    S1_COMPACT,
    STORAGE,
    image_body,
    iteration_body,
    project_body,
    shares,
    storage_address,
    summary,
    tag_body,
)
from tests.support.custom_vision.script import Script, gateway, refusal, until_gone
from tests.support.custom_vision.state import (
    TRAINING_KEY,
    Account,
    Iteration,
    Project,
    StoredImage,
    Tag,
    new_id,
)

BASE = "/customvision/v3.4-preview/training"
CAPS = {"F0": (2, 5_000, 50), "S0": (100, 100_000, 500)}
"""Projects, images of one and tags of one."""

MAX_BYTES = 6_000_000
RESOURCE = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.CognitiveServices/accounts/[^/]+", re.IGNORECASE
)
Handler: TypeAlias = Callable[["Contract", Request], Awaitable[Response]]


class Refused(Exception):
    """A request ends here."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.response = refusal(status, code, message)


class Contract:
    """The handlers, over one account."""

    def __init__(self, account: Account, script: Script) -> None:
        self.account = account
        self.script = script

    def project(self, request: Request) -> Project:
        found = self.account.projects.get(request.path_params["project"])
        if found is None:
            raise Refused(404, "NotFoundProject", "Invalid project")
        return found

    def iteration(self, request: Request) -> tuple[Project, Iteration]:
        project = self.project(request)
        found = next((one for one in project.iterations if one.id == request.path_params["iteration"]), None)
        if found is None:
            raise Refused(404, "NotFoundIteration", "Invalid iteration")
        return project, found

    async def domains(self, _request: Request) -> Response:
        rows = [
            {"id": id_, "name": name, "type": "Classification", "exportable": exportable, "enabled": True}
            for id_, (name, exportable) in DOMAINS.items()
        ]
        detection = {"id": new_id(), "name": "General", "type": "ObjectDetection", "exportable": False, "enabled": True}
        return JSONResponse([*rows, detection])

    async def create_project(self, request: Request) -> Response:
        asked = request.query_params
        if len(self.account.projects) >= CAPS[self.account.tier][0]:
            raise Refused(400, "BadRequestExceedProjectLimit")
        domain = asked.get("domainId", next(iter(DOMAINS)))
        if domain not in DOMAINS:
            raise Refused(400, "BadRequestProjectUnknownDomain")
        kind = asked.get("classificationType", "Multilabel")
        project = Project(asked["name"], domain=domain, classification_type=kind)
        self.account.projects[project.id] = project
        return JSONResponse(project_body(project))

    async def list_projects(self, _request: Request) -> Response:
        return JSONResponse([project_body(one) for one in self.account.projects.values()])

    async def get_project(self, request: Request) -> Response:
        return JSONResponse(project_body(self.project(request)))

    async def create_tag(self, request: Request) -> Response:
        project, name = self.project(request), request.query_params["name"]
        if name in (tag.name for tag in project.tags):
            raise Refused(400, "BadRequestTagNameNotUnique")
        if len(project.tags) >= CAPS[self.account.tier][2]:
            raise Refused(400, "BadRequestExceedTagPerProjectLimit")
        project.tags.append(tag := Tag(name))
        return JSONResponse(tag_body(project, tag))

    async def list_tags(self, request: Request) -> Response:
        project = self.project(request)
        return JSONResponse([tag_body(project, tag) for tag in project.tags])

    async def create_from_files(self, request: Request) -> Response:
        project, batch = self.project(request), await request.json()
        entries, shared = batch["images"], batch.get("tagIds") or []
        asked = [[*(entry.get("tagIds") or []), *shared] for entry in entries]
        if len(entries) > 64:
            raise Refused(400, "BadRequestExceededBatchSize", "A batch has at most 64 images")
        if len({tag for tags in asked for tag in tags}) > 20:
            raise Refused(400, "BadRequestImageTags", "A batch has at most 20 tags")
        pairs = zip(entries, asked, strict=True)
        rows = [self._keep(request, project, entry["name"], base64.b64decode(entry["contents"]), tags) for entry, tags in pairs]
        if self.script.answered_uploads is not None:
            self.script.answered_uploads -= 1
            if self.script.answered_uploads < 0:
                return await until_gone(request)
        return summary(rows)

    async def create_from_data(self, request: Request) -> Response:
        project, tags = self.project(request), request.query_params.get("tagIds", "").split(",")
        data = part_of(await request.body(), request.headers["content-type"])
        return summary([self._keep(request, project, "", data, [tag for tag in tags if tag])])

    def _keep(self, request: Request, project: Project, name: str, data: bytes, tags: Sequence[str]) -> dict[str, Any]:
        image = StoredImage(data, list(tags))
        self.script.received[image.digest] = self.script.received.get(image.digest, 0) + 1
        status = self.script.status_of(data) or self._fault(project, data, tags)
        held = next((one for one in project.images.values() if one.digest == image.digest), None)
        if status is None and held is None:
            project.images[image.id] = image
        found = held or image
        shown = None if status else image_body(request, project, found)
        return {"sourceUrl": name, "status": status or ("OKDuplicate" if held else "OK"), "image": shown}

    def _fault(self, project: Project, data: bytes, tags: Sequence[str]) -> str | None:
        if len(data) > MAX_BYTES:
            return "ErrorImageSize"
        if not set(tags) <= {tag.id for tag in project.tags}:
            return "ErrorInvalidTag"
        try:
            if read_header(data).kind == "WEBP":
                return "ErrorImageFormat"
            imaging.decode(data)
        except ImageError:
            return "ErrorImageFormat"
        return "ErrorLimitExceed" if len(project.images) >= CAPS[self.account.tier][1] else None

    async def list_images(self, request: Request) -> Response:
        project, asked = self.project(request), request.query_params
        rows = list(project.images.values())
        if asked.get("taggingStatus") == "Tagged" or request.url.path.endswith("/tagged"):
            rows = [one for one in rows if one.tags]
        if wanted := asked.get("tagIds"):
            rows = [one for one in rows if set(one.tags) & set(wanted.split(","))]
        if asked.get("orderBy") != "Oldest":
            rows = rows[::-1]
        skip, take = int(asked.get("skip", 0)), int(asked.get("take", 50))
        if take > 256:
            raise Refused(400, "BadRequest", "take is at most 256")
        return JSONResponse([image_body(request, project, one) for one in rows[skip : skip + take]])

    async def count_images(self, request: Request) -> Response:
        rows = self.project(request).images.values()
        tagged = request.url.path.endswith("/tagged/count") or request.query_params.get("taggingStatus") == "Tagged"
        return JSONResponse(sum(1 for one in rows if one.tags or not tagged))

    async def stored(self, request: Request) -> Response:
        if (stop := self.script.interferes(request)) is not None:
            return stop
        self.script.keys_at_storage += any(name in request.headers for name in ("training-key", "prediction-key"))
        if request.query_params.get("sig") != "may-read":
            return Response(status_code=403)
        name = request.path_params["name"]
        images = {one.id: one.data for project in self.account.projects.values() for one in project.images.values()}
        data = self.account.artifacts.get(name) or images.get(name)
        return Response(status_code=404) if data is None else Response(data)

    async def train(self, request: Request) -> Response:
        project, asked = self.project(request), request.query_params
        counts = [sum(tag.id in one.tags for one in project.images.values()) for tag in project.tags]
        if any(one.status == "Training" for one in project.iterations):
            raise Refused(400, "BadRequestTrainingAlreadyInProgress")
        if len(counts) < 2 or min(counts) < 5:
            raise Refused(
                400,
                "BadRequestMultiClassClassificationTrainingValidationFailed",
                "Must have at least 2 tags, each with at least 5 images",
            )
        state = frozenset((one.id, tuple(one.tags)) for one in project.images.values())
        if asked.get("forceTrain") != "true" and any(one.learnt_from == state for one in project.iterations):
            raise Refused(400, "BadRequestTrainingNotNeeded", "Nothing changed since last training")
        if len(project.iterations) >= 20:
            raise Refused(400, "BadRequestExceedIterationPerProjectLimit")
        iteration = Iteration(
            f"Iteration {len(project.iterations) + 1}",
            status="Training",
            tags=[tag.id for tag in project.tags],
            domain=project.domain,
            budget_hours=int(asked.get("reservedBudgetInHours", 0)),
            looks=self.script.looks,
            learnt_from=state,
        )
        project.iterations.append(iteration)
        return JSONResponse(iteration_body(project, iteration))

    async def list_iterations(self, request: Request) -> Response:
        project = self.project(request)
        return JSONResponse([iteration_body(project, one) for one in project.iterations])

    async def get_iteration(self, request: Request) -> Response:
        project, iteration = self.iteration(request)
        if iteration.status == "Training":
            iteration.looks -= 1
            if iteration.looks < 0:
                iteration.status = self.script.outcome
                if iteration.status == "Completed":
                    learn(project, iteration)
        return JSONResponse(iteration_body(project, iteration))

    async def performance(self, request: Request) -> Response:
        project, iteration = self.iteration(request)
        if iteration.classifier is None:
            raise Refused(400, "BadRequestIterationIsNotTrained")
        said = [
            (one.tags[0], iteration.tags[int(np.argmax(iteration.classifier(one.data)))])
            for one in project.images.values()
            if len(one.tags) == 1
        ]
        rows = [{"id": tag.id, "name": tag.name, **shares(said, tag.id)} for tag in project.tags if tag.id in iteration.tags]
        right = sum(true == named for true, named in said) / len(said)
        total = {"precision": right, "recall": right, "averagePrecision": right}
        return JSONResponse({"perTagPerformance": rows, **total, "precisionStdDeviation": 0.0, "recallStdDeviation": 0.0})

    async def publish(self, request: Request) -> Response:
        project, iteration = self.iteration(request)
        asked = request.query_params
        name = asked.get("publishName", "")
        if iteration.status != "Completed":
            raise Refused(400, "BadRequestIterationIsNotTrained")
        if not RESOURCE.fullmatch(asked.get("predictionId", "")):
            raise Refused(400, "BadRequestInvalidPublishTarget", "Invalid prediction resource id")
        if iteration.publish_name:
            raise Refused(400, "BadRequestIterationIsPublished")
        holders = [one for one in project.iterations if one.publish_name == name]
        if not name or (holders and asked.get("overwrite") != "true"):
            raise Refused(400, "BadRequestInvalidPublishName", "The name is in use")
        for holder in holders:
            holder.publish_name = None
        iteration.publish_name = name
        return JSONResponse(True)

    async def unpublish(self, request: Request) -> Response:
        _, iteration = self.iteration(request)
        if iteration.publish_name is None:
            raise Refused(400, "BadRequestIterationNotPublished")
        iteration.publish_name = None
        return Response(status_code=204)

    async def export(self, request: Request) -> Response:
        project, iteration = self.iteration(request)
        platform, flavor = request.query_params["platform"], request.query_params.get("flavor")
        if not DOMAINS[iteration.domain][1] or platform != "ONNX" or iteration.status != "Completed":
            raise Refused(400, "BadRequestExportValidationFailed")
        if any(one["flavor"] == flavor for one in iteration.exports):
            raise Refused(400, "BadRequestExportAlreadyInProgress")
        labels = [tag.name for tag_id in iteration.tags for tag in project.tags if tag.id == tag_id]
        plain, half = iteration.domain == S1_COMPACT, flavor == "OnnxFloat16"
        name = f"{new_id()}.zip"
        self.account.artifacts[name] = exports.archive(exports.network(iteration.means, labels, plain=plain, half=half), labels)
        made = {"platform": platform, "flavor": flavor, "status": "Exporting", "newerVersionAvailable": False}
        iteration.exports.append(made | {"looks": self.script.looks, "artifact": name, "downloadUri": None})
        return JSONResponse(made)

    async def list_exports(self, request: Request) -> Response:
        _, iteration = self.iteration(request)
        for one in iteration.exports:
            left = one["looks"] = int(str(one["looks"])) - 1
            if left < 0 and one["status"] == "Exporting":
                one |= {"status": "Done", "downloadUri": storage_address(request, str(one["artifact"]))}
        hidden = ("looks", "artifact")
        return JSONResponse([{key: value for key, value in one.items() if key not in hidden} for one in iteration.exports])


def training_routes(account: Account, script: Script | None = None) -> list[BaseRoute]:
    """The contract under `BASE`, and the storage account that its addresses lead to."""
    contract = Contract(account, script or Script())
    images, iteration = "/projects/{project}/images", "/projects/{project}/iterations/{iteration}"
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/domains", Contract.domains),
        ("POST", "/projects", Contract.create_project),
        ("GET", "/projects", Contract.list_projects),
        ("GET", "/projects/{project}", Contract.get_project),
        ("POST", "/projects/{project}/tags", Contract.create_tag),
        ("GET", "/projects/{project}/tags", Contract.list_tags),
        ("POST", f"{images}/files", Contract.create_from_files),
        ("POST", images, Contract.create_from_data),
        ("GET", images, Contract.list_images),
        ("GET", f"{images}/tagged", Contract.list_images),
        ("GET", f"{images}/count", Contract.count_images),
        ("GET", f"{images}/tagged/count", Contract.count_images),
        ("POST", "/projects/{project}/train", Contract.train),
        ("GET", "/projects/{project}/iterations", Contract.list_iterations),
        ("GET", iteration, Contract.get_iteration),
        ("GET", f"{iteration}/performance", Contract.performance),
        ("POST", f"{iteration}/publish", Contract.publish),
        ("DELETE", f"{iteration}/publish", Contract.unpublish),
        ("POST", f"{iteration}/export", Contract.export),
        ("GET", f"{iteration}/export", Contract.list_exports),
    ]
    routes: list[BaseRoute] = [
        Route(BASE + path, guarded(contract, handler), methods=[method]) for method, path, handler in table
    ]
    return [*routes, Route(STORAGE + "/{name}", contract.stored)]


def training_app(account: Account, script: Script | None = None) -> Starlette:
    """The contract alone."""
    return Starlette(routes=training_routes(account, script))


def guarded(contract: Contract, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """A handler behind the gateway."""

    @functools.wraps(handler)
    async def endpoint(request: Request) -> Response:
        if (stop := contract.script.interferes(request)) is not None:
            return stop
        if request.headers.get("training-key") != TRAINING_KEY:
            return gateway(401, "Access denied due to invalid subscription key or wrong API endpoint.")
        try:
            return await handler(contract, request)
        except Refused as refused:
            return refused.response

    return endpoint


def learn(project: Project, iteration: Iteration) -> None:
    """Mean colours of the tags, and a classifier by them."""
    images = [(one, imaging.decode(one.data).mean(axis=(0, 1))) for one in project.images.values()]
    iteration.means = [
        [float(value) for value in np.mean([colour for one, colour in images if tag in one.tags], axis=0)]
        for tag in iteration.tags
    ]
    iteration.classifier = exports.classifier(exports.network(iteration.means, iteration.tags, plain=True))


def part_of(body: bytes, content_type: str) -> bytes:
    """The bytes of the one part of a form, whatever its headers."""
    boundary = parse_options_header(content_type)[1][b"boundary"]
    parts: list[bytes] = []
    parser = MultipartParser(boundary, {"on_part_data": lambda data, start, end: parts.append(data[start:end])})
    parser.write(body)
    parser.finalize()
    return b"".join(parts)
