"""The prediction contract: images in, probabilities out, for classification projects. Versions 3.0 and 3.1."""

import bisect
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import unquote
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.errors import EmptyImage, ImageError, ImageTooLarge
from tests.support.custom_vision.faults import Faults, Reply, gateway, problem
from tests.support.custom_vision.state import PREDICTION_KEY, Account, Iteration, Project, new_id, now

MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Asked:
    """A request as it came, and what became of it."""

    at: float
    """Of the monotonic clock."""
    path: str
    headers: Mapping[str, str]
    image: bytes
    status: int
    """0: never answered."""
    predicted: bool


@dataclass
class Predictions:
    """A prediction resource, and all that it was asked."""

    account: Account
    key: str = PREDICTION_KEY
    factor: float = 1.0
    """By which its tier's rates are multiplied, to save a test's time."""
    faults: Faults = field(default_factory=Faults)
    retry_after: bool = False
    """Send the header beside the words of a 429."""
    interferes: Callable[[Request], Response | None] = lambda _request: None
    """Asked first; what it gives is the answer, and the request does not count as one of a prediction."""
    asked: list[Asked] = field(default_factory=list)

    @property
    def routes(self) -> list[Route]:
        """For Starlette. Names are matched as they were encoded: `%2F` is no slash."""
        return [Route("/customvision/{rest:path}", self._answer, methods=["POST"])]

    @property
    def predicted(self) -> list[Asked]:
        """What was answered with probabilities."""
        return [one for one in self.asked if one.predicted]

    @property
    def busiest_second(self) -> int:
        """The most requests that came within any second."""
        times = sorted(one.at for one in self.asked)
        return max((index + 1 - bisect.bisect_right(times, at - 1.0) for index, at in enumerate(times)), default=0)

    def rate(self, *, store: bool) -> float:
        """Requests a second that it takes."""
        return self.factor * (2 if self.account.tier == "F0" else 10 if store else 20)

    async def _answer(self, request: Request) -> Response:
        if (stop := self.interferes(request)) is not None:
            return stop
        at = time.monotonic()
        body = await request.body()
        image = _image(request.headers.get("content-type", ""), body)
        path = request.scope["raw_path"].decode("ascii")
        reply = self._throttled(at, store=not path.endswith("/nostore")) or self._refused(request, path, image)
        fault = None if reply else self.faults.next()
        found = reply or fault or self._scored(path, image or b"")
        predicted = found.status == 200 and fault is None
        self.asked.append(Asked(at, path, dict(request.headers), image or b"", 0 if found.hangs else found.status, predicted))
        while found.hangs and (await request.receive())["type"] != "http.disconnect":
            pass
        headers = {"Content-Type": "application/json; charset=utf-8", **found.headers}
        return Response(found.body, found.status, headers)

    def _throttled(self, at: float, *, store: bool) -> Reply | None:
        times = [one.at for one in self.asked[-math.ceil(self.rate(store=False)) - 1 :] if one.at > at - 1.0]
        if len(times) < self.rate(store=store):
            return None
        of = "Requests to the ClassifyImage Operation under Custom Vision Prediction API (v3.1)"
        tier = f"have exceeded rate limit of your current CustomVision.Prediction {self.account.tier} pricing tier"
        headers = {"Retry-After": "1"} if self.retry_after else {}
        return gateway(429, f"{of} {tier}. Please retry after 1 second.", headers)

    def _refused(self, request: Request, path: str, image: bytes | None) -> Reply | None:
        if request.headers.get("prediction-key") != self.key:
            said = "Access denied due to invalid subscription key or wrong API endpoint."
            return gateway(401, f"{said} Make sure to provide a valid key for an active subscription.")
        if _place(path) is None:
            return Reply(404, json.dumps({"statusCode": 404, "message": "Resource not found"}))
        if image is None:
            return Reply(415, json.dumps({"code": "UnsupportedMediaType", "message": "The media type is not supported."}))
        return None

    def _scored(self, path: str, image: bytes) -> Reply:
        identifier, name, kind = _place(path) or ("", "", "")
        project = self.account.projects.get(identifier.lower())
        if project is None:
            known = _is_uuid(identifier)
            return problem(404 if known else 400, "NotFoundProject" if known else "BadRequestInvalidIds", "Invalid project id.")
        iteration = next((one for one in project.iterations if one.publish_name == name), None)
        if iteration is None or iteration.classifier is None:
            return problem(404, "NotFoundIteration", "Invalid iteration.")
        if kind.startswith("url"):
            return problem(400, "BadRequestImageUrl", "The image can't be fetched from here.")
        try:
            if len(image) > MAX_BYTES:
                raise ImageTooLarge
            probabilities = iteration.classifier(image)
        except ImageError as exc:
            code = {EmptyImage: "BadRequestImageStream", ImageTooLarge: "BadRequestImageSizeBytes"}.get(type(exc))
            return problem(400, code or "BadRequestImageFormat", f"Bad Request Image, Uri: {new_id()}")
        return Reply(200, json.dumps(_prediction(project, iteration, list(probabilities))))


def _prediction(project: Project, iteration: Iteration, probabilities: list[float]) -> dict[str, object]:
    names = {tag.id: tag.name for tag in project.tags}
    rows = [
        {
            "probability": probability,
            "tagId": tag,
            "tagName": names[tag],
            "tagType": "Negative" if names[tag] == "Negative" else "Regular",
        }
        for tag, probability in sorted(zip(iteration.tags, probabilities, strict=True), key=lambda pair: -pair[1])
    ]
    return {"id": new_id(), "project": project.id, "iteration": iteration.id, "created": now(), "predictions": rows}


def _place(raw: str) -> tuple[str, str, str] | None:
    """Project, published name and kind of a path as it came, whatever stands before `/customvision/`."""
    parts = raw.partition("/customvision/")[2].split("/")
    known = len(parts) >= 7 and parts[0] in {"v3.0", "v3.1"} and parts[1] in {"prediction", "Prediction"}
    kind = "/".join(parts[6:])
    if not known or parts[3:5] != ["classify", "iterations"] or kind not in {"image", "image/nostore", "url", "url/nostore"}:
        return None
    return parts[2], unquote(parts[5]), kind


def _image(content_type: str, body: bytes) -> bytes | None:
    """The image in a body, byte for byte; the JSON of a URL as it is; None for a kind of body that is not taken."""
    message = Message()
    message["Content-Type"] = content_type
    kind = message.get_content_type()
    if kind in {"application/octet-stream", "application/json"}:
        return body
    boundary = message.get_param("boundary")
    if kind != "multipart/form-data" or not isinstance(boundary, str):
        return None
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:]:
        head, _, data = part.partition(b"\r\n\r\n")
        if b'name="imageData"' in head:
            return data
    return None


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
