"""Settings of backends that answer from elsewhere, a group each."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from service.addresses import checked_endpoint


def _header_value(text: str) -> str:
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("only printable ASCII can stand in a header")
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
