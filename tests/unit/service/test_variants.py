"""Which variant of a version serves: the fastest that is sound, by what is known when it is loaded."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from models.errors import BrokenModel, GoldenMismatch
from models.metadata import Accuracy, ModelCard, Precision, stored_file
from models.repository import Repository, StoredModel
from service.backends.onnx import OnnxBackend
from service.backends.variants import expected_speeds, fastest_first
from service.plans import Kept, PlanBook
from service.registry import Registry
from service.settings import load_settings
from service.tuning import CUDA_PROVIDER, Measured, Plan
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.unit.service.machines import CPU_PROVIDER
from tests.unit.service.stores import alter_golden, find_in, infer, load_tiny, plan_book

ALL: tuple[Precision, ...] = ("fp32", "fp16", "int8")
PLAN = Plan(4, 2, 1)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def card_of(tmp_path: Path, told: Mapping[Precision, float], precisions: tuple[Precision, ...] = ALL) -> ModelCard:
    return tiny_model(tmp_path / "cards", precisions=precisions, speeds=told).card


@pytest.mark.parametrize(
    ("told", "here", "provider", "order"),
    [
        ({}, {}, CPU_PROVIDER, "fp32 int8 fp16"),
        ({}, {}, CUDA_PROVIDER, "fp16 fp32 int8"),
        ({"fp32": 100, "int8": 200}, {}, CPU_PROVIDER, "fp32 int8 fp16"),  # fp16 may be the fastest for all one knows
        ({"fp32": 100, "int8": 200, "fp16": 50}, {}, CPU_PROVIDER, "int8 fp32 fp16"),
        ({"fp32": 100, "int8": 200, "fp16": 50}, {}, CUDA_PROVIDER, "fp16 fp32 int8"),  # that was on a CPU
        ({"fp32": 100, "int8": 104, "fp16": 50}, {}, CPU_PROVIDER, "fp32 int8 fp16"),  # no faster than noise
        ({"fp32": 100, "int8": 106, "fp16": 50}, {}, CPU_PROVIDER, "int8 fp32 fp16"),
        ({"fp32": 100, "int8": 106, "fp16": 110}, {}, CPU_PROVIDER, "int8 fp16 fp32"),  # of those as fast, the more exact
        ({"fp32": 100, "int8": 200, "fp16": 50}, {"fp32": 30, "int8": 20, "fp16": 10}, CPU_PROVIDER, "fp32 int8 fp16"),
        ({}, {"fp32": 30, "int8": 40, "fp16": 10}, CPU_PROVIDER, "int8 fp32 fp16"),
        ({}, {"fp32": 30, "int8": 20, "fp16": 70}, CUDA_PROVIDER, "fp16 fp32 int8"),
        ({}, {"fp32": 30, "int8": 40}, CPU_PROVIDER, "fp32 int8 fp16"),
        # one that was measured alone is no faster for that: the others are brought to this machine
        ({"fp32": 100, "int8": 200, "fp16": 50}, {"fp32": 1000}, CPU_PROVIDER, "int8 fp32 fp16"),
        ({"fp32": 100, "int8": 200, "fp16": 50}, {"int8": 20}, CPU_PROVIDER, "int8 fp32 fp16"),
        ({"fp32": 100, "int8": 200, "fp16": 50}, {"fp32": 1000, "int8": 900}, CPU_PROVIDER, "fp32 int8 fp16"),
        ({"fp32": 100, "int8": 200, "fp16": 180}, {"fp32": 1000, "int8": 900}, CPU_PROVIDER, "fp16 fp32 int8"),
    ],
)
def test_the_fastest_comes_first_by_what_is_known_of_this_machine_else_by_the_card(
    tmp_path: Path, told: Mapping[Precision, float], here: Mapping[Precision, float], provider: str, order: str
) -> None:
    ranked = fastest_first(card_of(tmp_path, told), here, provider)
    assert " ".join(variant.precision for variant in ranked) == order


def test_a_speed_that_was_measured_elsewhere_is_brought_to_this_machine(tmp_path: Path) -> None:
    card = card_of(tmp_path, {"fp32": 100, "int8": 150, "fp16": 50})
    assert expected_speeds(card, {}, CPU_PROVIDER) == {"fp32": 100, "int8": 150, "fp16": 50}
    assert expected_speeds(card, {"fp32": 30, "fp16": 1}, CPU_PROVIDER) == {"fp32": 30, "int8": 45, "fp16": 1}
    assert expected_speeds(card, {"fp32": 30}, CUDA_PROVIDER) == {"fp32": 30}


def keep(speeds: Mapping[Precision, float], stored: StoredModel, book: PlanBook | None = None) -> None:
    """Write down what a tuner has measured on this machine."""
    for precision, speed in speeds.items():
        variant = stored.card.variant(precision)
        assert variant
        key = ["tiny", variant.sha256, *load_tiny(stored.folder.parent.parent).plan_key[2:]]
        (book or plan_book()).keep(key, Kept(PLAN, [Measured(PLAN, speed), Measured(Plan(1, 1, 1), 9999)]))


TOLD: Mapping[Precision, float] = {"fp32": 100, "int8": 200, "fp16": 50}


def test_auto_takes_what_the_card_calls_fastest_until_this_machine_knows_better(store: Path) -> None:
    stored = tiny_model(store, precisions=ALL, speeds=TOLD)
    assert load_tiny(store).identity.precision == "int8"
    keep({"fp32": 90, "int8": 30}, stored)
    backend = load_tiny(store)
    assert backend.identity.precision == "fp32"
    assert (backend.plan, backend.tuning.source) == (PLAN, "kept")
    assert backend.describe()["variants"] == {"fp32": 90, "fp16": 45, "int8": 30}


def test_the_speed_of_the_chosen_plan_counts_and_no_other(store: Path) -> None:
    stored = tiny_model(store, precisions=ALL)
    keep({"fp32": 90, "int8": 80, "fp16": 100}, stored)
    assert load_tiny(store).identity.precision == "fp16"


def test_a_precision_that_is_asked_for_is_served_however_slow(store: Path) -> None:
    tiny_model(store, precisions=ALL, speeds=TOLD)
    backend = load_tiny(store, precision="fp16")
    assert (backend.identity.precision, backend.rivals) == ("fp16", [])


def break_file(stored: StoredModel, precision: Precision) -> None:
    variant = stored.card.variant(precision)
    assert variant
    (stored.folder / variant.file).write_bytes(b"corrupt")


def shift_golden(stored: StoredModel, precision: Precision) -> None:
    alter_golden(stored, lambda arrays: arrays.update({f"scores_{precision}": arrays[f"scores_{precision}"] + 0.5}))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(break_file, "is not the file that tiny's card describes"), (shift_golden, "golden scores differ by 0.5")],
)
async def test_a_variant_that_is_not_sound_is_passed_over_and_told_of(store: Path, spoil: Any, reason: str) -> None:  # noqa: ANN401
    spoil(tiny_model(store, precisions=ALL, speeds=TOLD), "int8")
    backend = load_tiny(store)
    assert backend.identity.precision == "fp32"
    assert "int8 is passed over: " in backend.describe()["note"]
    assert reason in backend.describe()["note"]
    assert [rival.precision for rival in backend.rivals] == ["fp16"], "what is not sound is not measured either"
    await backend.start()
    (scores,) = await infer(backend, backend.prepare(plain(255)))
    assert scores.argmax() == 1
    await backend.close()


def test_one_that_is_asked_for_and_not_sound_is_the_versions_fault(store: Path) -> None:
    shift_golden(tiny_model(store, precisions=ALL, speeds=TOLD), "int8")
    with pytest.raises(GoldenMismatch, match=r"^golden scores differ"):
        load_tiny(store, precision="int8")


def test_if_none_is_sound_the_reasons_are_all_told(store: Path) -> None:
    stored = tiny_model(store, precisions=ALL, speeds=TOLD)
    for precision in ALL:
        shift_golden(stored, precision)
    with pytest.raises(BrokenModel, match=r"no variant is sound: int8: golden scores differ.*; fp32: .*; fp16: "):
        load_tiny(store)


def test_the_others_are_to_be_measured_unless_their_speed_is_known_or_does_not_matter(store: Path) -> None:
    stored = tiny_model(store, precisions=ALL, speeds=TOLD)

    def rivals(**settings: Any) -> list[str]:  # noqa: ANN401
        return [rival.precision for rival in load_tiny(store, **settings).rivals]

    assert rivals() == ["fp32", "fp16"]
    assert rivals(tune="off") == rivals(plans={"*": {"batch_size": 1, "lanes": 1, "threads": 1}}) == []
    keep({"int8": 10}, stored)
    backend = load_tiny(store)
    assert (backend.tuning.state, backend.tuning.source) == ("waiting", "kept"), "its own plan is known, theirs are not"
    keep({"fp32": 1, "fp16": 1}, stored)
    backend = load_tiny(store)
    assert (backend.tuning.state, backend.rivals) == ("tuned", [])


async def test_a_rival_is_a_backend_of_its_own_that_can_be_measured(store: Path) -> None:
    tiny_model(store, precisions=ALL, speeds=TOLD)
    backend = load_tiny(store)
    rival = await asyncio.to_thread(backend.rivals[0].load)
    assert isinstance(rival, OnnxBackend)
    assert (rival.identity.precision, rival.rivals) == ("fp32", [])
    assert rival.plan_key != backend.plan_key
    await rival.close()


def test_speeds_that_were_kept_too_late_do_not_count_and_their_plans_do(store: Path) -> None:
    stored = tiny_model(store, precisions=ALL, speeds=TOLD)
    keep({"fp32": 90, "int8": 30}, stored)
    folder = load_settings().data_dir / "plans"
    for path in folder.iterdir():
        os.utime(path, (2000, 2000))
    key = load_tiny(store, precision="fp32").plan_key
    assert PlanBook(folder, 2, speeds_until=2000).speed(key) == 90
    early = PlanBook(folder, 2, speeds_until=1999)
    assert early.speed(key) is None
    assert early.find(key) == Kept(PLAN, [Measured(PLAN, 90), Measured(Plan(1, 1, 1), 9999)])


async def test_a_variant_that_joins_a_version_makes_it_load_anew_and_nothing_else(store: Path) -> None:
    whole = tiny_model(store, precisions=ALL, speeds=TOLD)
    repository = Repository(store)
    fp32, _, int8 = whole.card.variants
    repository.update(whole.card.model_copy(update={"variants": [fp32]}))
    files = repository.workspace()
    (whole.folder / int8.file).rename(files / int8.file)
    (files / "golden-2.npz").write_bytes((whole.folder / "golden.npz").read_bytes())
    registry = Registry(load_settings(models_dir=store))
    await registry.open(find_in(store))
    before = registry.get("tiny")
    golden = stored_file(files / "golden-2.npz")
    repository.extend(whole.card.model_copy(update={"variants": [fp32, int8], "golden": golden}), files)
    await registry.reload("tiny", find_in(store)["tiny"])
    after = registry.get("tiny")
    assert (before.identity.precision, after.identity.precision, after.identity.version) == ("fp32", "int8", "1")
    assert registry.failures == []
    await registry.reload("tiny", find_in(store)["tiny"])
    assert registry.get("tiny") is after
    await registry.close()


async def test_what_is_measured_while_it_serves_changes_nothing_before_the_next_load(store: Path) -> None:
    stored = tiny_model(store, precisions=ALL, speeds=TOLD)
    settings = load_settings(models_dir=store)
    registry = Registry(settings)
    await registry.open(find_in(store))
    assert registry.get("tiny").identity.precision == "int8"
    keep({"fp32": 90, "int8": 30}, stored, PlanBook(settings.data_dir / "plans", 1))
    await registry.reload("tiny", find_in(store)["tiny"])
    assert registry.get("tiny").identity.precision == "int8", "nothing of the version has changed"
    tiny_model(store, precisions=ALL, speeds=TOLD)
    await registry.reload("tiny", find_in(store)["tiny"])
    assert (registry.get("tiny").identity.version, registry.get("tiny").identity.precision) == ("2", "fp32")
    await registry.close()


def test_it_tells_the_accuracy_of_the_variant_that_serves(store: Path) -> None:
    stored = tiny_model(store, precisions=ALL, speeds=TOLD)
    found = [Accuracy(correct=right, images=4, value=right / 4, low=0.1, high=0.9) for right in (1, 2, 3)]
    variants = [
        one.model_copy(update={"validation": accuracy, "test_accuracy": accuracy.value / 2})
        for one, accuracy in zip(stored.card.variants, found, strict=True)
    ]
    Repository(store).update(stored.card.model_copy(update={"variants": variants}))
    for precision, accuracy in zip(ALL, found, strict=True):
        told = load_tiny(store, precision=precision).describe()
        assert (told["validation_accuracy"], told["test_accuracy"]) == (accuracy.value, accuracy.value / 2)
