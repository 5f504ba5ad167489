"""Which class answers for what: the one place that asks for a backend's kind."""

from collections.abc import Mapping, Sequence

from models.repository import Repository, StoredModel
from service.backends.base import Backend, Candidate
from service.backends.fake import FakeBackend
from service.backends.onnx import Device, OnnxBackend, choose_device
from service.settings import Settings


def candidates(repository: Repository, settings: Settings, cpus: int) -> Mapping[str, Sequence[Candidate]]:
    """What could be served: for every name its versions, newest first, each with the function that loads it.

    Raises `ConfigurationError` if the asked-for device is missing.
    """
    device = choose_device(settings, cpus)
    found: dict[str, list[Candidate]] = {}
    listing = repository.scan()
    for stored in listing.models:
        found.setdefault(stored.card.name, []).append(_from_store(stored, settings, device))
    for broken in listing.broken:
        found.setdefault(broken.name, []).append(Candidate(broken.version, reason=broken.reason))
    for versions in found.values():
        versions.sort(key=lambda candidate: int(candidate.version), reverse=True)
    if settings.fake.labels:
        found["fake"] = [Candidate("1", lambda: FakeBackend(settings))]
    return found


def _from_store(stored: StoredModel, settings: Settings, device: Device) -> Candidate:
    def load() -> Backend[object]:
        return OnnxBackend.load(stored, settings, device)  # type: ignore[return-value]  # the registry is blind to the prepared type

    return Candidate(stored.card.version, load)
