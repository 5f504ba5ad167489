"""What is noted of a job for its results, and that they are made of nothing else."""

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from models import machine, prices
from models.repository import Repository
from models.scoring.facts import Terms
from service.backends.factory import finder
from service.domain import Identity
from service.plans import PlanBook
from service.registry import Registry
from service.scoring.summary import Summary
from service.settings import Settings, load_settings
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


@pytest.mark.parametrize("own", [None, 0.5])
def test_several_machines_cost_several_times_what_one_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: float | None
) -> None:
    monkeypatch.setattr(machine, "gpu", lambda: "Tesla T4")
    three = Summary(Repository(tmp_path), Registry(Settings(models_dir=tmp_path)), 12, own, "three of them", 3)
    one = own or prices.usd_per_hour(1, "gpu-t4")
    assert three.terms(replace(HERE, provider=CUDA_PROVIDER)).usd_per_hour == pytest.approx(3 * one)
    assert three.terms(HERE).usd_per_hour == pytest.approx(1.5 if own else prices.usd_per_hour(12)), "cores are counted already"


async def test_a_price_of_nothing_is_a_price(tmp_path: Path) -> None:
    free = {"endpoint": "http://127.0.0.1:1", "key": "k" * 20, "project": str(uuid4()), "published_name": "p", "usd_per_1000": 0}
    settings = load_settings(models_dir=tmp_path, data_dir=tmp_path, custom_vision=free)
    registry = Registry(settings)
    found = finder(Repository(tmp_path), settings, 1, PlanBook(tmp_path / "plans", 1))()
    await registry.open(found)
    (running,) = registry.running
    terms = Summary(Repository(tmp_path), registry, 1).terms(running.identity)
    await registry.close()
    assert (terms.usd_per_call, terms.price_source) == (0, "PARALLAX_CUSTOM_VISION__USD_PER_1000")


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
