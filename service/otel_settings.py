"""Settings of what is sent by OTLP."""

import os
from typing import Annotated, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from models.hosts import is_loopback
from service.addresses import web_address

ANY = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""OpenTelemetry's own variables count too, where there is no setting of ours."""


def _own(signal: str) -> str:
    """OpenTelemetry's variable for one signal's address."""
    return f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"


def _collector(text: str) -> str:
    """The address of a collector. Raises `ValueError`, which repeats nothing of it."""
    if web_address(text, "an address as in http://otel-collector:4318 is wanted").query:
        raise ValueError("an address without user, password, ?query or #fragment is wanted; headers have a setting of their own")
    return text.rstrip("/")


def _sendable(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _pairs(text: SecretStr) -> SecretStr:
    """Raise `ValueError` for what can be no headers, repeating nothing of it."""
    for pair in filter(None, text.get_secret_value().split(",")):
        name, sign, value = pair.partition("=")
        if not (name.strip() and sign and value.strip() and _sendable(pair) and _sendable(unquote(value))):
            raise ValueError("NAME=VALUE,NAME=VALUE is wanted, as OTEL_EXPORTER_OTLP_HEADERS has it")
    return text


class OtelSettings(BaseModel):
    """Traces and metrics for an OpenTelemetry collector, over OTLP/HTTP: `PARALLAX_OTEL__<FIELD>`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    endpoint: Annotated[str, AfterValidator(_collector)] | None = None
    """Where to send traces and metrics, without `/v1/traces`: `http://otel-collector:4318`. Unset: where
    `OTEL_EXPORTER_OTLP_ENDPOINT` says. If neither is set nothing is sent, nor loaded."""
    headers: Annotated[SecretStr, AfterValidator(_pairs)] = SecretStr("")
    """Headers for the collector, as in `api-key=SECRET,tenant=a`. Beyond this machine they take `https://`."""
    sample: float = Field(default=1.0, ge=0, le=1)
    """Which part of the requests is traced. Of a request with a `traceparent` its caller has decided."""
    metrics_s: float = Field(default=60, ge=1, le=86_400)
    """Seconds between two reports of the metrics."""
    max_spans: int = Field(default=4096, ge=512)
    """Spans that wait to be sent at most; more are dropped and counted, and no request waits for them."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        others = [os.environ.get(name, "") for name in (ANY, *map(_own, ("traces", "metrics")))]
        for address in [self.endpoint] if self.endpoint else others:
            parts = urlsplit(address)
            if self.headers.get_secret_value() and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
                raise ValueError("headers need an endpoint with https://: over http:// anybody on the way could read them")
        return self

    @property
    def pairs(self) -> dict[str, str]:
        """The headers, decoded as OpenTelemetry's own variable is."""
        split = (pair.partition("=") for pair in self.headers.get_secret_value().split(",") if pair)
        return {name.strip().lower(): unquote(value).strip() for name, _, value in split}

    def wants(self, signal: str) -> bool:
        """Whether `traces` or `metrics` are sent."""
        off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        return not off and bool(self.endpoint or os.environ.get(ANY) or os.environ.get(_own(signal)))

    def address(self, signal: str) -> str | None:
        """Where one signal goes; None: where OpenTelemetry's own variables say."""
        return f"{self.endpoint}/v1/{signal}" if self.endpoint else None
