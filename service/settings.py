"""Everything that can be set, once. Each field is an environment variable `PARALLAX_<FIELD>` or a line of `.env`."""

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from models.hosts import is_loopback
from models.workspace import data_dir, models_dir
from service.custom_vision_api_settings import CustomVisionApiSettings
from service.errors import ConfigurationError
from service.otel_settings import OtelSettings
from service.remote_settings import AzureMLSettings, CustomVisionSettings, checked_database
from service.tuning import Fixed


class FakeSettings(BaseModel):
    """A stand-in backend named `fake`, for trying clients: `PARALLAX_FAKE__<FIELD>`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    labels: list[str] = Field(default_factory=list)
    """Its labels, as a JSON list; empty: there is no such backend."""
    latency_ms: float = Field(default=0, ge=0)
    """How long a batch takes."""
    max_batch_size: int = Field(default=8, ge=1)
    """Images in a batch at most."""
    max_in_flight: int = Field(default=1, ge=1)
    """Batches side by side."""


class PlanSettings(BaseModel):
    """What a plan must be, instead of what was measured: for one backend, or for all that have none of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int | None = Field(default=None, ge=1, le=1024)
    lanes: int | None = Field(default=None, ge=1, le=1024)
    threads: int | None = Field(default=None, ge=1, le=1024)


class Settings(BaseSettings):
    """The service's settings, frozen once it runs."""

    model_config = SettingsConfigDict(
        env_prefix="PARALLAX_",
        env_nested_delimiter="__",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    host: str = "127.0.0.1"
    """Address to listen on. Beyond loopback it takes API keys, or `PARALLAX_ALLOW_ANONYMOUS=true`."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one and logs it."""
    workers: int = Field(default=1, ge=1, le=256)
    """Processes that serve, each with its share of the CPUs and of the queues. More than one pays where one event loop can't keep
    the cores busy: see docs/decisions/workers.md."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Serve `/metrics` on a port of its own as well, without a key."""
    models_dir: Path = Field(default_factory=models_dir)
    """The store to serve: folders `<name>/<version>/`."""
    data_dir: Path = Field(default_factory=data_dir)
    """What the service writes."""
    database_url: Annotated[SecretStr, AfterValidator(checked_database)] = SecretStr("")
    """`postgresql://USER:PASSWORD@HOST/DATABASE`: what replicas share is kept there; unset: in `parallax.db` in the data folder,
    which the workers of one machine share. Backends of the store need no database."""
    datasets_dir: Path | None = None
    """Sets that may be scored by name: folders of class folders, zips of such, JSONL files of `image_url` and `label`."""
    datasets_allow: list[str] = Field(default_factory=list)
    """What the addresses of images and annotations elsewhere must begin with, as a JSON list:
    `["https://example.blob.core.windows.net/images/", "s3://photos/"]`. Empty: none may be fetched."""
    max_dataset_bytes: int = Field(default=2_000_000_000, ge=1)
    """Bytes of one uploaded zip at most."""
    datasets_quota_bytes: int = Field(default=10_000_000_000, ge=1)
    """Bytes of all uploaded zips in the data folder together."""
    datasets_keep_h: float = Field(default=168, gt=0)
    """Hours that an uploaded zip is kept after its last use."""
    scoring_lease_s: float = Field(default=15, ge=1)
    """A scoring job whose replica was not heard of for so long goes on in another one."""
    scorings_keep_days: float = Field(default=30, gt=0)
    """Days that a scoring job, its rows and its results are kept after its end. One that has not ended is never deleted."""
    max_kept_scorings: int = Field(default=1000, ge=1)
    """Ended scoring jobs that are kept, the last ones."""
    usd_per_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What an hour of this machine costs, for scorings; unset: what `models/prices.toml` says of its cores or its GPU."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`cuda`: refuse to start without a working GPU; `auto`: use one if it is there, and say so if not."""
    precision: Literal["auto", "fp32", "int8", "fp16"] = "auto"
    """Which variant of a model to serve; `auto`: the fastest that is sound, as measured on this machine, else as `model.json`
    says; what is measured later counts from the next load."""
    gpu_mem_limit_bytes: int = Field(default=0, ge=0)
    """Bound on the CUDA memory arena of each model; 0: none."""
    cpus: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """CPUs to plan threads for; unset: the container's quota, else the affinity mask."""
    tune: Literal["auto", "off"] = "auto"
    """`auto`: a backend measures its plan (batch size, lanes, threads) once, while nobody asks for anything, and keeps
    it; `off`: what was not kept before stays at the default, and an image that is alone gets one thread."""
    plans: dict[str, PlanSettings] = Field(default_factory=dict)
    """Plans, or parts of them, that hold whatever was measured: `{"cnn": {"lanes": 2}, "*": {"batch_size": 8}}`.
    The rest is measured under them."""
    poll_s: float = Field(default=1, gt=0)
    """How often the store is looked at for new versions."""
    default_backend: str = "cnn"
    """Backend of a request that names none. If it is unset and there is no `cnn`, the first by name, remote ones last."""
    keep_versions: int = Field(default=1, ge=1)
    """How many versions of each model to serve, newest first."""
    api_keys: Annotated[SecretStr, NoDecode] = SecretStr("")
    """`name:key,name:key`; sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`. Keys have at least 16 characters."""
    api_keys_file: Path | None = None
    """A file with a `name:key` on each line, instead or as well."""
    allow_anonymous: bool = False
    """Listen beyond loopback without API keys."""
    max_body_bytes: int = Field(default=6_000_000, ge=1)
    """Bytes of one image at most."""
    max_inflight_bytes: int = Field(default=256_000_000, ge=1)
    """Bytes of all bodies in memory together. The images of a scoring run may take a quarter as much beside them."""
    max_pixels: int = Field(default=25_000_000, ge=64, le=100_000_000)
    """Pixels of one image at most, read from its header before it is decoded."""
    max_queue: int = Field(default=256, ge=1)
    """Requests that one backend holds at most, waiting and running; more are told 429."""
    max_wait_ms: float = Field(default=0, ge=0)
    """How long a batch that is not full waits for more images. 0: a batch is what came while the lanes were busy."""
    deadline_ms: int = Field(default=30_000, ge=1)
    """An image that waited longer is dropped before inference; a request may ask for less in `X-Deadline-Ms`."""
    body_timeout_s: float = Field(default=20, gt=0)
    """How long a body may take to arrive."""
    grace_s: int = Field(default=25, ge=0)
    """On SIGTERM, how long accepted requests may take to finish. Kubernetes kills after 30 s by default."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`info` logs start, stop and requests that were not answered, but for 429, which is counted; `debug` logs every request."""
    fake: FakeSettings = FakeSettings()
    azure_ml: AzureMLSettings = AzureMLSettings()
    custom_vision: CustomVisionSettings = CustomVisionSettings()
    custom_vision_api: CustomVisionApiSettings = CustomVisionApiSettings()
    otel: OtelSettings = OtelSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_inflight_bytes < self.max_body_bytes:
            raise ValueError("PARALLAX_MAX_INFLIGHT_BYTES must not be less than PARALLAX_MAX_BODY_BYTES: no upload would fit")
        return self

    def fixed_plan(self, backend: str) -> Fixed:
        """What `plans` says of a backend."""
        given = self.plans.get(backend, self.plans.get("*", PlanSettings()))
        return Fixed(given.batch_size, given.lanes, given.threads)

    def shared_by(self, workers: int) -> "Settings":
        """One worker's part of what all together may hold."""
        return self.model_copy(
            update={
                "max_queue": math.ceil(self.max_queue / workers),
                "max_inflight_bytes": max(self.max_body_bytes, self.max_inflight_bytes // workers),
                "usd_per_hour": None if self.usd_per_hour is None else self.usd_per_hour / workers,
                "azure_ml": self.azure_ml.shared_by(workers),
                "custom_vision": self.custom_vision.shared_by(workers),
            }
        )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)


def load_settings(**overrides: object) -> Settings:
    """Read environment and `.env`; overrides that are None say nothing.

    Raises `ConfigurationError` naming the variable at fault, never its value.
    """
    try:
        given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
        return Settings(**given)
    except SettingsError as exc:  # a group or a list that is no JSON; the message names the field, and no value
        raise ConfigurationError(f"{_variables_like(str(exc))}: {exc.__cause__ or exc}") from None
    except ValidationError as exc:
        lines = []
        for error in exc.errors(include_url=False, include_input=False, include_context=False):
            variable = "PARALLAX_" + "__".join(str(part) for part in error["loc"]).upper() if error["loc"] else "settings"
            lines.append(f"{variable}: {error['msg'].removeprefix('Value error, ')}")
        raise ConfigurationError("; ".join(lines)) from None  # the cause would repeat the values, secrets among them


def _variables_like(message: str) -> str:
    """The variables that a message of pydantic-settings about a `field "name"` can mean."""
    field = message.partition('"')[2].partition('"')[0]
    prefix = f"PARALLAX_{field.upper()}"
    return ", ".join(sorted(name for name in os.environ if name.upper().startswith(prefix))) or prefix
