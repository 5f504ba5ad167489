"""Which class answers for what: the one place that asks for a backend's kind."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from models.errors import UnknownModel
from models.repository import Repository, StoredModel
from service.backends.base import Backend, Candidate
from service.backends.devices import Device, choose_device
from service.backends.fake import FakeBackend
from service.backends.onnx import OnnxBackend
from service.plans import PlanBook
from service.settings import Settings
from service.tally import Tally
from service.tuning import Plan

if TYPE_CHECKING:
    from service.backends.custom_vision import Quota
    from service.backends.remote import Door

Find: TypeAlias = Callable[[], Mapping[str, Sequence[Candidate]]]


def finder(repository: Repository, settings: Settings, cpus: int, book: PlanBook, door: "Door | None" = None) -> Find:
    """A function that tells what could be served: for every name its versions, newest first, each with what loads it.

    `door`: of `custom_vision`, if another process keeps its rate. Raises `ConfigurationError` if the asked-for device is missing.
    """
    device = choose_device(settings, cpus)
    tally = Tally()  # of custom_vision, however often it is loaded anew

    def find() -> Mapping[str, Sequence[Candidate]]:
        found: dict[str, list[Candidate]] = {}
        listing = repository.scan()
        for stored in listing.models:
            found.setdefault(stored.card.name, []).append(_from_store(stored, settings, device, book))
        for broken in listing.broken:
            found.setdefault(broken.name, []).append(Candidate(broken.version, reason=broken.reason))
        for versions in found.values():
            versions.sort(key=lambda candidate: int(candidate.version), reverse=True)
        if settings.fake.labels:
            found["fake"] = [Candidate("1", lambda _inherited: FakeBackend(settings))]
        if settings.azure_ml.endpoint:
            found["azure_ml"] = [_azure_ml(settings)]
        if settings.custom_vision.endpoint:
            found["custom_vision"] = [_custom_vision(settings, tally, door)]
        return found

    return find


def _from_store(stored: StoredModel, settings: Settings, device: Device, book: PlanBook) -> Candidate:
    def load(inherited: Plan | None) -> Backend[object]:
        return OnnxBackend.load(stored, settings, device, book, inherited)  # type: ignore[return-value]  # blind to the prepared type

    def load_as(precision: str) -> Backend[object]:
        variant = next((one for one in stored.card.variants if one.precision == precision), None)
        if variant is None:
            raise UnknownModel(f"{stored.card.name}/{stored.card.version} has no variant in {precision}.")
        return OnnxBackend.load_variant(stored, variant, settings, device, book)  # type: ignore[return-value]  # as above

    return Candidate(stored.card.version, load, load_as=load_as, stamp=stored.card)


def _azure_ml(settings: Settings) -> Candidate:
    from service.backends.azure_ml import AzureMLBackend  # it brings an HTTP client, which a service without it need not load

    # A stamp of its own each time: a reload that is asked for makes a new one, which learns its labels anew.
    return Candidate("1", lambda _inherited: AzureMLBackend(settings), stamp=object())


def _custom_vision(settings: Settings, tally: Tally, door: "Door | None") -> Candidate:
    from service.backends.custom_vision import CustomVisionBackend  # and this one a database

    return Candidate("1", lambda _inherited: CustomVisionBackend(settings, tally, door), stamp=object())


def quota(settings: Settings) -> "Quota":
    """What `custom_vision` is asked under, for who hands it out to others."""
    from service.backends.custom_vision import Quota

    return Quota(settings, Tally())
