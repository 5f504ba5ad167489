"""The bodies that callers see, as OpenAPI describes them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.metadata import InputSpec
from service.domain import Prediction
from service.telemetry import milliseconds


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(examples=["urn:parallax:problem:broken-image"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["broken-image"])
    request_id: str


class LabelProbability(BaseModel):
    """One class with its probability."""

    label: str = Field(examples=["forest"])
    probability: float = Field(examples=[0.987])


class TimingMs(BaseModel):
    """Milliseconds by stage."""

    queue: float
    decode: float
    infer: float
    total: float


class Classified(BaseModel):
    """What one backend says of one image, most probable first."""

    backend: str
    version: str
    precision: str
    provider: str
    predictions: list[LabelProbability]
    timing_ms: TimingMs
    request_id: str


class Compared(BaseModel):
    """What each backend says of one image: its result, or its problem."""

    results: dict[str, Classified | Problem]
    agree: bool | None = Field(description="Whether all who answered name the same label; null if fewer than two answered.")
    request_id: str


class Counters(BaseModel):
    """What became of the requests since the backend was loaded."""

    answered: int
    failed: int
    refused: int


class Queue(BaseModel):
    """Requests that the backend holds now."""

    held: int
    waiting: int
    running_batches: int
    max_queue: int


class PriceInfo(BaseModel):
    """What answers cost: an hour of the machine, or one call."""

    basis: Literal["hour", "call"]
    usd: float
    source: str = Field(description="Who says so, for people.")


class PlanInfo(BaseModel):
    """`lanes` batches of up to `batch_size` images side by side, each on `threads` threads."""

    batch_size: int
    lanes: int
    threads: int


class MeasuredPlan(BaseModel):
    """A plan that was tried on this machine."""

    plan: PlanInfo
    images_per_second: float


class TuningInfo(BaseModel):
    """Whether a plan was measured, and what came of it."""

    state: Literal["off", "waiting", "running", "tuned"]
    source: Literal["default", "settings", "inherited", "kept", "measured"] = Field(description="Where the plan came from.")
    measured: list[MeasuredPlan] = Field(
        description="One look each. Another plan takes the default's place only if it is 15 % faster, and so again in three more."
    )


class BackendInfo(BaseModel):
    """A backend: what it is, what it runs on, how it does."""

    model_config = ConfigDict(extra="allow")

    name: str
    kind: str
    version: str
    state: str = Field(
        description="`ready`, or `failed` with a reason; of a remote one as its last answer was: also `checking`, `failing`."
    )
    default: bool = False
    precision: str | None = None
    provider: str | None = None
    labels: list[str] | None = None
    queue: Queue | None = None
    counters: Counters | None = None
    price: PriceInfo | None = None
    reason: str | None = None
    input: InputSpec | None = Field(default=None, description="What images are stretched to, of a model of the store.")
    plan: PlanInfo | None = None
    threads_alone: int | None = Field(default=None, description="Threads for an image that finds no other there.")
    tuning: TuningInfo | None = None
    validation_accuracy: float | None = Field(
        default=None,
        description="Of the variant that serves; of the network as it was trained, if that was never measured by itself.",
    )
    test_accuracy: float | None = Field(default=None, description="Of the variant that serves.")
    variants: dict[str, float | None] | None = Field(
        default=None,
        description="Images per second expected of each: as measured here, else as `model.json` tells, brought to this machine.",
    )
    note: str | None = Field(
        default=None, description="Why it runs on the CPU, or a variant was passed over, if that needs a word."
    )


class BackendList(BaseModel):
    """All backends, those that failed to load among them."""

    backends: list[BackendInfo]
    default: str


def shown(probability: float) -> float:
    """A probability with six digits: what lies behind is noise of the arithmetic."""
    return int(probability * 1e6 + 0.5) / 1e6  # a third of what `round` takes


def classified(prediction: Prediction, request_id: str) -> dict[str, Any]:
    """Body of a `Classified`, built without validation: every value is ours."""
    identity = prediction.backend
    return {
        "backend": identity.name,
        "version": identity.version,
        "precision": identity.precision,
        "provider": identity.provider,
        "predictions": [{"label": label, "probability": shown(probability)} for label, probability in prediction.ranked],
        "timing_ms": milliseconds(prediction.timings),
        "request_id": request_id,
    }
