"""Reads a request for a scoring job: JSON, or a form with the zip itself."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from models.errors import DatasetError, SeveralSets
from service.api.form import Sink, StreamedForm
from service.api.ids import RequestIds
from service.api.requests import call, services
from service.api.upload import MULTIPART_OVERHEAD, header_number
from service.errors import BadMultipart, BadParameter, BodyTooLarge, UnknownScoring
from service.scoring.jobs import Job
from service.scoring.library import Upload
from service.scoring.options import MAX_TITLE, Options

if TYPE_CHECKING:
    from service.scoring.desk import Desk

MAX_JSON_BYTES = 1_000_000
MAX_KEY = 200

_ids = RequestIds()
"""Of jobs: they sort by time, across processes too."""


def _body() -> dict[str, Any]:
    schema = Options.model_json_schema()
    form = {**schema, "properties": {**schema["properties"], "dataset": {"type": "string", "format": "binary"}}}
    return {
        "requestBody": {
            "required": True,
            "description": "Options. In a form `dataset` is the zip, `backends` are separated by commas, `label_map` is JSON.",
            "content": {
                "application/json": {"schema": {**schema, "required": ["dataset"]}},
                "multipart/form-data": {"schema": {**form, "required": ["dataset"]}},
            },
        },
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Sent again with the same request, it gives the job that is there, and makes no second one.",
                "schema": {"type": "string", "maxLength": MAX_KEY},
            }
        ],
    }


BODY = _body()


async def ask_for(request: Request) -> Job:
    """Make a job of a request. Raises what is wrong with either."""
    service, found = services(request), call(request)
    key = found.headers.get(b"idempotency-key", b"").decode("latin-1")
    if len(key) > MAX_KEY or not key.isprintable():
        raise BadParameter(f"Idempotency-Key has more than {MAX_KEY} characters, or some that can't be printed.")
    desk = await service.scorings.desk()
    if found.headers.get(b"content-type", b"")[:10].lower() != b"multipart/":
        with service.reader.admit(found.headers, MAX_JSON_BYTES) as upload:
            options = parsed(await upload.body(request.receive))
        return await desk.create(_ids(), found.caller, key or None, options)
    return await _uploaded(request, desk, key or None)


async def _uploaded(request: Request, desk: "Desk", key: str | None) -> Job:
    """Make a job of a form."""
    service, found = services(request), call(request)
    limit = service.settings.max_dataset_bytes
    declared = header_number(found.headers.get(b"content-length", b"").decode("latin-1"))
    if declared is not None and declared > limit + MULTIPART_OVERHEAD:
        raise BodyTooLarge(f"A set may have {limit:,} bytes at most (PARALLAX_MAX_DATASET_BYTES). Score it in parts.")
    upload_: Upload | None = None

    async def begin() -> Sink:
        nonlocal upload_
        upload_ = await desk.receive()
        return upload_

    form = StreamedForm(found.headers[b"content-type"], "dataset", service.settings.body_timeout_s)
    try:
        await form.read(request.receive, begin)
        if form.received and upload_ is None:
            raise BadMultipart("The `dataset` part is empty.")
        options = from_form(form.fields, uploaded=upload_ is not None)
        if upload_ is not None:
            title = options.title or form.title[:MAX_TITLE] or None
            options = options.model_copy(update={"dataset": await desk.keep(upload_), "title": title})
    finally:
        if upload_ is not None:
            await desk.drop(upload_)
    try:
        return await desk.create(_ids(), found.caller, key, options)
    except SeveralSets:
        raise  # it says how to name one of them
    except DatasetError:
        if upload_ is not None and options.dataset:
            await desk.forget(options.dataset)  # no zip that anybody could score
        raise


def parsed(body: bytes) -> Options:
    """Options out of JSON. Raises `RequestValidationError`."""
    try:
        options = Options.model_validate_json(body or b"{}")
    except ValidationError as exc:
        raise _invalid(exc) from None
    return _with_set(options)


def from_form(fields: Mapping[str, str], *, uploaded: bool) -> Options:
    """Options out of a form's fields, in which an empty one says nothing. Raises `RequestValidationError` or `BadParameter`."""
    values: dict[str, Any] = {name: value.strip() for name, value in fields.items() if value.strip()}
    if "label_map" in values:
        try:
            values["label_map"] = json.loads(values["label_map"])
        except ValueError:
            raise BadParameter('label_map is no JSON object, such as {"street_scenes": "street"}.') from None
    try:
        options = Options.model_validate(values)
    except ValidationError as exc:
        raise _invalid(exc) from None
    return options if uploaded else _with_set(options)


def id_of(text: str) -> str:
    """An id out of a path. Raises `UnknownScoring` for what none can be."""
    if not (text.isascii() and text.isalnum() and len(text) <= 32):
        raise UnknownScoring(f"{text[:40]!a} is no id of a scoring job. GET /v1/scorings lists them.")
    return text


def _with_set(options: Options) -> Options:
    if not options.dataset:
        raise BadParameter("dataset is missing: a name that GET /v1/datasets lists, or in a form the zip itself.")
    return options


def _invalid(exc: ValidationError) -> RequestValidationError:
    return RequestValidationError([{**error, "loc": ("body", *error["loc"])} for error in exc.errors(include_url=False)])
