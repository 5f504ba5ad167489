"""Bodies of the Custom Vision API, and what its routes share in their OpenAPI entries."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, model_validator


class UrlBody(BaseModel):
    """Where an image is."""

    url: str

    @model_validator(mode="before")
    @classmethod
    def _any_case(cls, body: object) -> object:
        """Clients in .NET write `Url`."""
        return {str(name).lower(): value for name, value in body.items()} if isinstance(body, dict) else body


class Tagged(BaseModel):
    """One tag with its probability."""

    probability: float
    tagId: str  # noqa: N815  # the contract's name
    tagName: str  # noqa: N815
    tagType: str | None = Field(None, description="From v3.1 on; always Regular.")  # noqa: N815


class Predicted(BaseModel):
    """All tags of a backend, most probable first. Ids follow from names, and stay the same."""

    id: str = Field(description="Of this reply.")
    project: str
    iteration: str
    created: str
    predictions: list[Tagged]


class Refused(BaseModel):
    """An error of the Custom Vision API."""

    code: str = Field(examples=["BadRequestImageFormat"])
    message: str


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "model": Refused}
    for status, text in {
        400: "`BadRequestImageFormat`, `BadRequestImageSizeBytes` (over 4 MB), `BadRequestImageDimensions`, `BadRequestImageUrl` "
        "or `BadRequestImageStream`.",
        401: "`401`: the Prediction-Key is wrong or missing.",
        404: "`NotFoundProject`, or `NotFoundIteration` for an unknown published name.",
        429: "`429`: come back after Retry-After.",
        500: "`ErrorPrediction`.",
        503: "`ErrorPredictionServiceUnavailable`.",
    }.items()
}

_PARAMETERS: list[dict[str, Any]] = [
    {"name": "version", "in": "path", "required": True, "schema": {"type": "string", "enum": ["v3.0", "v3.1"]}},
    {"name": "prediction", "in": "path", "required": True, "schema": {"type": "string", "enum": ["prediction", "Prediction"]}},
    {"name": "project", "in": "path", "required": True, "schema": {"type": "string"}},
    {"name": "published_name", "in": "path", "required": True, "schema": {"type": "string"}},
    {
        "name": "application",
        "in": "query",
        "required": False,
        "description": "Ignored: it says where a stored prediction is filed, and none is stored.",
        "schema": {"type": "string"},
    },
    {
        "name": "Prediction-Key",
        "in": "header",
        "required": False,
        "description": "An API key of this service, if it has any.",
        "schema": {"type": "string"},
    },
]

BODIES: Mapping[str, dict[str, Any]] = {
    "image": {
        "parameters": _PARAMETERS,
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["imageData"],
                        "properties": {"imageData": {"type": "string", "format": "binary"}},
                    }
                },
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        },
    },
    "url": {
        "parameters": _PARAMETERS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": UrlBody.model_json_schema()}}},
    },
}
