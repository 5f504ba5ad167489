"""Settings of backends that answer from elsewhere, a group each."""

from typing import Annotated, Self
from urllib.parse import quote, urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from models.custom_vision_limits import LIMITS, Tier
from service.addresses import checked_endpoint, host_of

DATABASES = ("postgresql://", "postgres://", "postgresql+psycopg://")


def _header_value(text: str) -> str:
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("only printable ASCII can stand in a header")
    return text


def checked_database(url: SecretStr) -> SecretStr:
    """An address of a PostgreSQL, or none. Raises `ValueError`, which repeats nothing of it."""
    if url.get_secret_value() and not url.get_secret_value().startswith(DATABASES):
        raise ValueError("postgresql://USER:PASSWORD@HOST/DATABASE is wanted")
    return url


def _resource(text: str) -> str:
    """The address of a resource: what goes before `/customvision/...`."""
    checked_endpoint(text)
    if urlsplit(text).query or "/customvision/" in text.lower():
        raise ValueError("only the resource's address is wanted, as in https://NAME.cognitiveservices.azure.com")
    return text.rstrip("/")


def _published(text: str) -> str:
    if not text.strip() or text in {".", ".."}:
        raise ValueError("the name under which an iteration is published is wanted")
    return text


class AzureMLSettings(BaseModel):
    """A model behind an online endpoint of Azure ML, as one more backend, named `azure_ml`: `PARALLAX_AZURE_ML__<FIELD>`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    endpoint: Annotated[str, AfterValidator(checked_endpoint)] | None = None
    """The scoring address of an online endpoint that serves an AutoML image classifier, as in
    `https://NAME.REGION.inference.ml.azure.com/score`; unset: there is no backend `azure_ml`."""
    key: SecretStr = SecretStr("")
    """Its key, or a token. It is sent to that address only, in the Authorization header."""
    deployment: Annotated[str, AfterValidator(_header_value)] | None = None
    """The deployment to ask; unset: whichever the endpoint's traffic goes to."""
    labels: list[str] = Field(default_factory=list)
    """Its labels, in the order to show them, as a JSON list; unset: as the endpoint answers them."""
    timeout_s: float = Field(default=15, gt=0, le=300, allow_inf_nan=False)
    """For an image in all, with every new attempt."""
    max_in_flight: int = Field(default=8, ge=1, le=1000)
    """Images that it is asked about at the same time."""
    max_request_bytes: int = Field(default=1_500_000, ge=10_000)
    """A request larger than this is not sent: the image is scaled down before."""
    usd_per_1000: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What a thousand images cost there, for reports. Endpoints are billed by the hour, so only you know."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _header_value(self.key.get_secret_value())
        if self.endpoint and not self.key.get_secret_value():
            raise ValueError("an endpoint needs its key: PARALLAX_AZURE_ML__KEY")
        if len(set(self.labels)) != len(self.labels) or len(self.labels) == 1:
            raise ValueError("PARALLAX_AZURE_ML__LABELS takes two or more different labels")
        return self

    def shared_by(self, workers: int) -> "AzureMLSettings":
        """One worker's part."""
        return self.model_copy(update={"max_in_flight": max(1, self.max_in_flight // workers)})


class CustomVisionSettings(BaseModel):
    """A published iteration of Azure Custom Vision, as one more backend, `custom_vision`: `PARALLAX_CUSTOM_VISION__<FIELD>`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    endpoint: Annotated[str, AfterValidator(_resource)] | None = None
    """Address of the prediction resource, as in `https://NAME.cognitiveservices.azure.com`; unset: there is no backend
    `custom_vision`. The service ends on 25 September 2028."""
    key: SecretStr = SecretStr("")
    """The prediction resource's key. It is sent to that address only, in the Prediction-Key header."""
    project: UUID | None = None
    """The project's id."""
    published_name: Annotated[str, AfterValidator(_published)] | None = None
    """The name under which the iteration to ask is published."""
    store: bool = False
    """Let the service keep the images for 30 days, to train on; it takes fewer a second then."""
    tier: Tier = "S0"
    """The prediction resource's tier: F0 takes 2 images a second, S0 20, or 10 if it stores them."""
    rate: int | None = Field(default=None, ge=1, le=5000)
    """Calls within any second, over all replicas, instead of the tier's."""
    timeout_s: float = Field(default=20, gt=0, le=300, allow_inf_nan=False)
    """For an image in all, with every new attempt and with waiting for the rate."""
    attempt_timeout_s: float = Field(default=6, gt=0, le=100, allow_inf_nan=False)
    """For one call; one that takes longer is made anew."""
    max_in_flight: int = Field(default=32, ge=1, le=1000)
    """Images that it is asked about, or that wait for the rate, at the same time."""
    monthly_calls: int | None = Field(default=None, ge=0)
    """Calls a calendar month (UTC) at most, over all replicas, new attempts and checks at the start included; unset: no bound."""
    labels: list[str] = Field(default_factory=list)
    """Its tags, in the order to show them, as a JSON list; unset: as it answers them, by name."""
    usd_per_1000: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What a thousand calls cost you, for reports."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _header_value(self.key.get_secret_value())
        if self.endpoint:
            given = {"KEY": self.key.get_secret_value(), "PROJECT": self.project, "PUBLISHED_NAME": self.published_name}
            if missing := [f"PARALLAX_CUSTOM_VISION__{name}" for name, value in given.items() if not value]:
                raise ValueError(f"an endpoint needs {' and '.join(missing)} too")
        if len(set(self.labels)) != len(self.labels) or len(self.labels) == 1:
            raise ValueError("PARALLAX_CUSTOM_VISION__LABELS takes two or more different labels")
        return self

    @property
    def host(self) -> str:
        """Who is asked, for people."""
        return host_of(self.endpoint or "")

    @property
    def address(self) -> str | None:
        """Where an image is posted to: the name's every reserved character is encoded, as the SDK does."""
        if self.endpoint is None or self.published_name is None:
            return None
        name = quote(self.published_name, safe="")
        base = f"{self.endpoint}/customvision/v3.1/prediction/{self.project}/classify/iterations/{name}/image"
        return base if self.store else f"{base}/nostore"

    @property
    def allowed_rate(self) -> int:
        """Calls within any second."""
        tier = LIMITS[self.tier]
        return self.rate or int(tier.stored_prediction_rate if self.store else tier.prediction_rate)

    def shared_by(self, workers: int) -> "CustomVisionSettings":
        """One worker's part. The rate and the budget are shared through the database."""
        return self.model_copy(update={"max_in_flight": max(1, self.max_in_flight // workers)})
