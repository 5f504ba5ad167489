"""What can be asked of a scoring run."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Mode: TypeAlias = Literal["throughput", "latency"]

MAX_TITLE = 200


def _split(value: object) -> object:
    """Names separated by commas, as a form field has them."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Options(BaseModel):
    """The body of `POST /v1/scorings`; in a form with a zip as `dataset`, each is a field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dataset: str | None = Field(default=None, max_length=1000, examples=["intel-test-public.zip"])
    """A name that `GET /v1/datasets` lists, followed by `#SPLIT` where it holds several; or an address: of a JSONL file of
    `image_url` and `label`, of a `.zip`, or of a folder, which ends with `/`. In a form, the zip itself."""
    title: str | None = Field(default=None, max_length=MAX_TITLE, examples=["Intel scenes, test set"])
    """What the report calls the set; left out: its name, or that of the zip's file."""
    backends: Annotated[list[str] | None, BeforeValidator(_split)] = Field(default=None, examples=[["cnn", "transfer"]])
    """Names; left out: all whose calls cost nothing."""
    limit: int | None = Field(default=None, ge=1)
    """So many images at most, drawn by `seed`."""
    concurrency: int | None = Field(default=None, ge=1, le=256)
    """Images under way at each backend; left out: what its plan can use, or 1 in mode `latency`."""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Of the order of the images."""
    warmup: int = Field(default=8, ge=0, le=1000)
    """Images that each backend is sent first, and that do not count. None goes to a remote one, which would have its price."""
    mode: Mode = "throughput"
    """`latency`: one image at a time, so that times tell of the backend; `throughput`: as many as it can use, so that images/s
    do."""
    label_map: dict[str, str] = Field(default_factory=dict)
    """What the set's classes are called by the backends, where the names differ: `{"street_scenes": "street"}`."""
    labelled: bool | None = None
    """Whether folder names are labels; left out: they are, unless there is only one folder and no backend knows its name."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mode == "latency" and self.concurrency not in (None, 1):
            raise ValueError("mode latency sends one image at a time: leave concurrency out, or ask for mode throughput")
        if self.backends is not None and not self.backends:
            raise ValueError("backends names none: leave it out for all whose calls cost nothing")
        return self
