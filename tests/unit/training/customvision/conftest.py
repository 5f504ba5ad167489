"""The stand-in, and clients of it that lose no time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support.custom_vision.accounts import both
from tests.support.custom_vision.script import Script
from tests.support.custom_vision.server import serving
from tests.support.custom_vision.state import PREDICTION_KEY, TRAINING_KEY, Account, Iteration, Project, StoredImage, Tag
from tests.support.custom_vision.training import learn
from training.customvision.access import Access
from training.customvision.client import Service, prediction_service, training_service
from training.customvision.rate import Rate

RESOURCE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/prediction"


@dataclass
class Time:
    """A clock that goes on when somebody sleeps."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Cloud:
    account: Account
    script: Script
    url: str
    time: Time = field(default_factory=Time)

    def training(self, key: str = TRAINING_KEY) -> Service:
        rate = Rate(1e6, clock=self.time.clock, sleep=self.time.sleep)
        service = training_service(Access(self.url, SecretStr(key)), rate)
        service.sleep = self.time.sleep
        return service

    def prediction(self, key: str = PREDICTION_KEY) -> Service:
        rate = Rate(1e6, clock=self.time.clock, sleep=self.time.sleep)
        service = prediction_service(Access(self.url, SecretStr(key)), rate)
        service.sleep = self.time.sleep
        return service

    def filled(self, files: dict[str, bytes], name: str = "scenes") -> Project:
        """A project that holds these images already."""
        project = Project(name)
        for path, data in files.items():
            label = path.split("/")[0]
            if label not in (tag.name for tag in project.tags):
                project.tags.append(Tag(label))
            tag = next(tag.id for tag in project.tags if tag.name == label)
            image = StoredImage(data, [tag])
            project.images[image.id] = image
        self.account.projects[project.id] = project
        return project

    def trained(self, project: Project, published: str | None = None) -> Iteration:
        """An iteration that has learnt from the project's images."""
        number = len(project.iterations) + 1
        tags = [tag.id for tag in project.tags]
        iteration = Iteration(f"Iteration {number}", tags=tags, domain=project.domain, publish_name=published)
        learn(project, iteration)
        project.iterations.append(iteration)
        return iteration


@contextmanager
def clouds(script: Script | None = None) -> Iterator[Cloud]:
    """One more."""
    account, play = Account(), script or Script()
    with serving(both(account, play)) as url:
        yield Cloud(account, play, url)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with clouds() as found:
        yield found


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No resource of a developer is found by accident."""
    for name in ("TRAINING_ENDPOINT", "TRAINING_KEY", "_ENDPOINT", "_KEY", "_PROJECT", "_PUBLISHED_NAME", "PREDICTION_RESOURCE"):
        monkeypatch.delenv(f"PARALLAX_CUSTOM_VISION_{name}", raising=False)
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(tmp_path / "data"))
