"""`/v1/scorings`: batch scoring of labelled sets, and `/v1/datasets`: what can be scored by name."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from models import errors as shared
from service import errors
from service.api import scoring_rows as rows
from service.api import scoring_streams as streams
from service.api.image_body import GUARD_ERRORS, IMAGE_ERRORS
from service.api.known import known_parameters
from service.api.problems import responses
from service.api.requests import call, services
from service.api.scoring_entry import BODY, ask_for, id_of
from service.api.scoring_schemas import DatasetList, RowInfo, ScoringInfo, ScoringList, described, moment
from service.scoring.rows import Chosen

router = APIRouter(prefix="/v1", tags=["scoring"], dependencies=[Depends(known_parameters)])

ASKING_ERRORS = (
    errors.BadParameter,
    errors.BadMultipart,
    errors.BodyTooLarge,
    errors.BodyTooSlow,
    errors.UploadsFull,
    errors.UnknownBackend,
    errors.UnknownDataset,
    errors.UnmatchedLabels,
    errors.KeyReused,
    errors.DatasetsFull,
    errors.NotReady,
    errors.DatabaseFailed,
    shared.DatasetError,
)
JOB_ERRORS = (*GUARD_ERRORS, errors.UnknownScoring, errors.DatabaseFailed, errors.BadParameter)


@router.post(
    "/scorings",
    status_code=202,
    response_model=ScoringInfo,
    responses=responses(*GUARD_ERRORS, *ASKING_ERRORS),
    openapi_extra=BODY,
    summary="Score a labelled set with several backends",
)
async def create_scoring(request: Request) -> Response:
    """Ask for a job: every image of a set through every backend, as requests go, in the background of what others ask for.

    The reply comes at once; `Location` says where to look. The job goes on whatever happens to the service.
    """
    job = await ask_for(request)
    return JSONResponse(described(job), 202, {"Location": f"/v1/scorings/{job.id}"})


@router.get("/scorings", response_model=ScoringList, responses=responses(*JOB_ERRORS), summary="All scoring jobs")
async def list_scorings(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200, description="How many.")] = 20,
    before: Annotated[str | None, Query(max_length=40, description="`next` of the page before.")] = None,
) -> Response:
    """Newest first, without their results."""
    desk = await services(request).scorings.desk()
    jobs = await desk.newest(limit, before)
    following = jobs[-1].id if len(jobs) == limit else None
    return JSONResponse({"scorings": [described(job) for job in jobs], "next": following})


@router.get(
    "/scorings/{scoring}", response_model=ScoringInfo, responses=responses(*JOB_ERRORS), summary="A scoring job and its results"
)
async def get_scoring(request: Request, scoring: str) -> Response:
    """How far it is; once it has ended, everything it found out."""
    desk = await services(request).scorings.desk()
    job = await desk.get(id_of(scoring))
    return JSONResponse(described(job, await desk.results(job)))


@router.delete(
    "/scorings/{scoring}", status_code=202, response_model=ScoringInfo, responses=responses(*JOB_ERRORS), summary="Cancel a job"
)
async def cancel_scoring(request: Request, scoring: str) -> Response:
    """Let it end with the rows that it has. A job that has ended stays as it is."""
    desk = await services(request).scorings.desk()
    return JSONResponse(described(await desk.cancel(id_of(scoring))), 202)


@router.get(
    "/scorings/{scoring}/events",
    response_class=StreamingResponse,
    responses=responses(*JOB_ERRORS) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    summary="A job's progress, as it goes",
)
async def scoring_events(request: Request, scoring: str) -> Response:
    """Server-sent events, to the end of the job.

    `progress` has done and total, by backend also images/s, time left and the accuracy so far. What happens to the job (`queued`,
    `started`, `resumed`, ...) has an id: with `Last-Event-ID`, only what came after is sent. The last one is `end`.
    """
    service = services(request)
    desk = await service.scorings.desk()
    job = await desk.get(id_of(scoring))
    last = call(request).headers.get(b"last-event-id", b"").decode("latin-1")
    after = int(last) if last.isascii() and last.isdigit() and len(last) < 10 else 0
    return StreamingResponse(
        streams.progress(desk, job.id, after, lambda: service.draining),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


@router.get(
    "/scorings/{scoring}/predictions",
    response_class=StreamingResponse,
    responses=responses(*JOB_ERRORS, errors.FormatUnavailable)
    | {
        200: {
            "description": "A line for each image and backend.",
            "content": {
                "application/x-ndjson": {"schema": RowInfo.model_json_schema(ref_template="#/components/schemas/{model}")},
                "text/csv": {"schema": {"type": "string"}},
                "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
    summary="A job's rows",
)
async def scoring_predictions(
    request: Request,
    scoring: str,
    form: Annotated[
        rows.FormName, Query(alias="format", description="JSON lines, CSV with a header, or Parquet with the CSV's columns.")
    ] = "jsonl",
    backend: Annotated[str | None, Query(max_length=100, description="Only its rows.")] = None,
    label: Annotated[str | None, Query(max_length=300, description="Only images that have it.")] = None,
    predicted: Annotated[str | None, Query(max_length=300, description="Only answers that name it.")] = None,
    limit: Annotated[int | None, Query(ge=1, description="So many rows at most.")] = None,
) -> Response:
    """What each backend said of each image, as far as the job is, by backend and path; labels in the backends' words."""
    desk = await services(request).scorings.desk()
    job = await desk.get(id_of(scoring))
    await asyncio.to_thread(rows.check, form)
    kind, write = rows.FORMS[form]
    chosen = Chosen(backend, label, predicted)
    headers = {"Content-Disposition": f'inline; filename="{job.id}.{form}"'}
    return StreamingResponse(write(desk.pages(job, chosen, limit)), media_type=kind, headers=headers)


@router.get(
    "/scorings/{scoring}/report",
    response_class=HTMLResponse,
    responses=responses(*JOB_ERRORS, errors.UnfinishedScoring),
    summary="A job's report",
)
async def scoring_report(request: Request, scoring: str) -> Response:
    """One HTML file with everything in it: verdict, figures, charts, pictures. It can be kept, mailed and printed."""
    from models.scoring.report import HEADER_POLICY

    desk = await services(request).scorings.desk()
    text = await desk.report(await desk.get(id_of(scoring)))
    return HTMLResponse(text, headers={"Content-Security-Policy": HEADER_POLICY, "Cache-Control": "private, no-cache"})


@router.get(
    "/scorings/{scoring}/images/{image:path}",
    response_class=Response,
    responses=responses(*JOB_ERRORS, *IMAGE_ERRORS, shared.UnreadableImage, shared.DatasetError, errors.UnknownDataset)
    | {200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
    summary="A small picture of a scored image",
)
async def scoring_image(request: Request, scoring: str, image: str) -> Response:
    """A JPEG that is small enough for lists, as long as the set is there."""
    desk = await services(request).scorings.desk()
    small = await desk.picture(await desk.get(id_of(scoring)), image)
    return Response(small, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@router.get(
    "/datasets",
    response_model=DatasetList,
    responses=responses(*GUARD_ERRORS, errors.BadParameter),
    summary="What can be scored by name",
)
async def list_datasets(request: Request) -> Response:
    """The folder of sets (`PARALLAX_DATASETS_DIR`), and uploaded zips by their digest."""
    desk = await services(request).scorings.desk()
    found = [one._asdict() | {"expires": moment(one.expires)} for one in await desk.datasets()]
    return JSONResponse({"datasets": found})
