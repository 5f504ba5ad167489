"""What a process elsewhere needs to score images at one backend. It travels through Ray: nothing is expected on the nodes."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from models.errors import UnknownModel
from models.metadata import CARD_FILE
from models.repository import Repository
from service.domain import Identity
from service.remote_settings import AzureMLSettings, CustomVisionSettings
from service.scoring.jobs import Job
from service.scoring.options import Options
from service.settings import PlanSettings, Settings


@dataclass(frozen=True)
class Load:
    """One backend of one job."""

    settings: Settings
    options: Options
    dataset: Mapping[str, Any]
    """As the job has it: what opens its source again."""
    pinned: Identity
    files: Mapping[str, bytes]
    """Of the store, by path: the model's card, its variant and its golden vectors. None for a backend that is not from there."""
    code_of: Callable[[Exception], str]

    def unpack(self, store: Path) -> None:
        """Write the files into a store. Whoever loads the model holds them against the digests in its card."""
        for name, data in self.files.items():
            path = store / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def packed(settings: Settings, job: Job, pinned: Identity, processes: int, code_of: Callable[[Exception], str]) -> Load:
    """Pack for so many processes, which share a remote backend's calls under way. Raises `ModelError`, or `OSError`."""
    options = job.options
    if options.concurrency is not None:
        options = options.model_copy(update={"concurrency": max(1, options.concurrency // processes)})
    return Load(_settings(settings, pinned, processes), options, job.dataset, pinned, _files(settings, pinned), code_of)


def _settings(settings: Settings, pinned: Identity, processes: int) -> Settings:
    """Without what only others need, keys above all; and with the labels that are known, so that all have the same order."""
    known = {"labels": list(pinned.labels)} if pinned.labels else {}
    azure_ml, custom_vision = AzureMLSettings(), CustomVisionSettings()
    if pinned.name == "azure_ml":
        azure_ml = settings.azure_ml.shared_by(processes).model_copy(update=known)
    if pinned.name == "custom_vision":
        custom_vision = settings.custom_vision.shared_by(processes).model_copy(update=known)
    fixed = settings.fixed_plan(pinned.name)
    plan = PlanSettings(batch_size=fixed.batch_size, lanes=fixed.lanes, threads=fixed.threads)
    return settings.model_copy(
        update={
            "api_keys": SecretStr(""),
            "api_keys_file": None,
            "database_url": SecretStr(""),
            "azure_ml": azure_ml,
            "custom_vision": custom_vision,
            "device": "cuda" if settings.device == "cuda" else "cpu",
            "plans": {pinned.name: plan},
            "tune": "off",
            "keep_versions": 1,
        }
    )


def for_permits(settings: Settings) -> Settings:
    """What keeps the quota: the way to the database that counts, and no key of anybody else."""
    return settings.model_copy(update={"api_keys": SecretStr(""), "api_keys_file": None, "azure_ml": AzureMLSettings()})


def _files(settings: Settings, pinned: Identity) -> dict[str, bytes]:
    with suppress(UnknownModel):
        stored = Repository(settings.models_dir).get(pinned.name, pinned.version)
        wanted = [one.file for one in stored.card.variants if one.precision == pinned.precision]
        names = (CARD_FILE, *wanted, stored.card.golden.file)
        return {f"{pinned.name}/{pinned.version}/{name}": (stored.folder / name).read_bytes() for name in names}
    return {}
