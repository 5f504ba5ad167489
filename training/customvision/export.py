"""An iteration of a compact domain as a zip with an ONNX file."""

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from models.errors import UsageError
from models.files import written_whole
from training.customvision import projects
from training.customvision.client import Service
from training.customvision.download import Downloads
from training.customvision.projects import Entity

PLATFORM = "ONNX"
MAX_BYTES = 1_000_000_000
FIRST_LOOK_S, MAX_LOOK_S = 0.2, 5.0


def export(
    service: Service,
    project: Entity,
    iteration: Entity,
    out: Path,
    *,
    flavor: str | None,
    timeout_s: float,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Have an iteration exported, unless it is, and fetch the zip. Raises `UsageError` if it can't be, or takes too long."""
    if not iteration.exportable or PLATFORM not in (iteration.exportable_to or [PLATFORM]):
        raise UsageError(
            f"{iteration.name} of {project.name} can't be exported: only the compact domains can. Create a project with "
            f"--domain {projects.DEFAULT_DOMAIN!r}, or change the domain in the portal and train again"
        )
    found = _find(service, project, iteration, flavor)
    if found is None or found.status == "Failed" or found.newer_version_available:
        make = service.client.export_iteration
        found = service.call(f"exporting {iteration.name}", make, project.id, iteration.id, PLATFORM, flavor=flavor, again=False)
    began, pause = clock(), FIRST_LOOK_S
    while found is None or found.status == "Exporting":
        if clock() - began > timeout_s:
            raise UsageError(f"the export of {iteration.name} takes longer than {timeout_s:.0f} s; the same command waits again")
        tell(f"{iteration.name}: exporting")
        service.sleep(pause)
        pause = min(pause * 1.5, MAX_LOOK_S)
        found = _find(service, project, iteration, flavor)
    if found.status != "Done" or not found.download_uri:
        raise UsageError(f"the export of {iteration.name} has failed, and the service gives no reason")
    _fetch(service, project, found.download_uri, out)


def _find(service: Service, project: Entity, iteration: Entity, flavor: str | None) -> Entity | None:
    every = service.call(f"listing the exports of {iteration.name}", service.client.get_exports, project.id, iteration.id)
    return next((one for one in every if one.platform == PLATFORM and (one.flavor or None) == flavor), None)


def _fetch(service: Service, project: Entity, address: str, out: Path) -> None:
    downloads = Downloads(1)
    try:
        if urlsplit(address).scheme:
            downloads.file(address, out, MAX_BYTES, "the export")
            return
    finally:
        downloads.close()
    # With a virtual network of one's own the address is relative, and the service itself hands the file out.
    size = 0
    with written_whole(out) as file:
        for chunk in service.call("fetching the export", service.client.get_artifact, project.id, address):
            size += len(chunk)
            if size > MAX_BYTES:
                raise UsageError(f"the export has more than {MAX_BYTES:,} bytes")
            file.write(chunk)
