"""Settings of the API that Custom Vision's own clients can use."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _lower_keys(projects: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    return {project.lower(): names for project, names in projects.items()}


class CustomVisionApiSettings(BaseModel):
    """What clients of Azure Custom Vision find under `/customvision`: `PARALLAX_CUSTOM_VISION_API__<FIELD>`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    projects: Annotated[Mapping[str, Mapping[str, str]], AfterValidator(_lower_keys)] = Field(default_factory=dict)
    """Which backend stands behind a project's id and a published name: `{"3be7...": {"production": "transfer"}}`. Any other id is
    then unknown. Unset: any id will do, and the published name is the backend's."""
    url: bool = False
    """Fetch images from addresses that callers name, public ones only. Off, because callers then make this service ask others."""
    url_hosts: list[str] = Field(default_factory=list)
    """Hosts, as a JSON list of `name` or `name:port`, that images may be fetched from although their addresses are not public."""
    url_timeout_s: float = Field(default=10, gt=0, le=100, allow_inf_nan=False)
    """How long fetching one image may take, redirects and all."""
