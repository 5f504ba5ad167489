"""What is noted of a job for its results, and that they are made of nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from models import machine, prices
from models.repository import Repository
from models.scoring.facts import Terms
from service.domain import Identity
from service.registry import Registry
from service.scoring.summary import Summary
from service.settings import Settings
from service.tuning import CUDA_PROVIDER
from tests.support.images import labelled, write_folder
from tests.support.models import tiny_model
from tests.unit.service.scoring.desks import office

HERE = Identity("a", "onnx", "1", "fp32", "CPUExecutionProvider", ("a", "b"))


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    return Summary(Repository(tmp_path), Registry(Settings(models_dir=tmp_path)), 4)


def test_an_hour_has_the_price_of_what_a_backend_runs_on(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    there = replace(HERE, provider=CUDA_PROVIDER)
    for gpu, price in (("Tesla T4", prices.usd_per_hour(1, "gpu-t4")), ("Riva 128", None), (None, None)):
        monkeypatch.setattr(machine, "gpu", lambda gpu=gpu: gpu)
        assert summary.terms(there).usd_per_hour == price
        on_cpu = summary.terms(HERE)
        assert on_cpu.usd_per_hour == prices.usd_per_hour(4)
        assert (on_cpu.price_source or "").startswith("4 cores, models/prices.toml: ")
    assert summary.terms(replace(HERE, provider="none")) == Terms()


@pytest.mark.parametrize("provider", ["CPUExecutionProvider", CUDA_PROVIDER])
def test_who_runs_the_service_has_the_last_word(tmp_path: Path, provider: str) -> None:
    mine = Summary(Repository(tmp_path), Registry(Settings(models_dir=tmp_path)), 4, usd_per_hour=1.25)
    terms = mine.terms(replace(HERE, provider=provider))
    assert (terms.usd_per_hour, terms.price_source) == (1.25, "PARALLAX_USD_PER_HOUR")


async def test_results_stay_the_same_whatever_becomes_of_prices_models_and_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "sets" / "set", labelled({"a": 2, "b": 2}))
    settings = Settings(data_dir=tmp_path / "data", datasets_dir=tmp_path / "sets", models_dir=tmp_path / "store")
    terms = Terms(usd_per_hour=3, price_source="somebody", training=None)
    monkeypatch.setattr(Summary, "terms", lambda _self, _pinned: terms)
    async with office(settings) as here:
        job = await here.ended(await here.hand_in(dataset="set"))
        first = await here.desk.results(job)
    monkeypatch.setattr(Summary, "terms", lambda _self, _pinned: pytest.fail("it is over"))
    monkeypatch.setattr(machine, "processor", lambda: "a newer one")
    async with office(settings) as here:
        again = await here.desk.results(await here.desk.get(job.id))
    assert first is not None
    assert first == again
    assert [one.facts.usd_per_hour for one in first.backends] == [3, 3]
    assert (first.run.machine or "").endswith(", 2 cores")


def test_training_is_the_versions_own(tmp_path: Path) -> None:
    tiny_model(tmp_path, "a")
    summary = Summary(Repository(tmp_path), Registry(Settings(models_dir=tmp_path)), 4)
    assert summary.terms(HERE).training is None, "it was trained elsewhere"
    assert summary.terms(replace(HERE, version="99")).training is None, "it is not there"
