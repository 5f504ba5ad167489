"""A model of the store on ONNX Runtime, on the CPU or on an NVIDIA GPU."""

import asyncio
import threading
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from models import imaging
from models.errors import BrokenModel, ModelError
from models.metadata import Variant
from models.repository import StoredModel
from models.runtime import CPU
from service.backends.base import Rival, Tunable, Tuning, TuningState
from service.backends.devices import Device, cuda_missing
from service.backends.inference import Inference, Item, Outcome
from service.backends.sessions import Sessions
from service.backends.variants import Choice, asked_for, expected_speeds, fastest_first, plan_key
from service.domain import Identity
from service.errors import BackendFailed, Closing, ConfigurationError
from service.lanes import Lanes, throughput
from service.memory import give_back
from service.plans import PlanBook
from service.settings import Settings
from service.tuning import BACKGROUND_HANDOVER, CUDA_PROVIDER, Plan, default_plan

MEASURE_S = 0.2
"""How long a plan is tried."""

PREFETCH_BELOW_S = 0.05
"""A lane finds its next image ready, instead of asking the event loop for it, if an image takes less than this: then what was
handed over can neither pass its deadline unseen nor outlive its caller by more."""

ALONE_THREADS = 4
"""For an image that is alone. Beyond these, waking threads costs a small network more than it wins."""

FIRST = Plan(1, 1, 1)
"""What is loaded before anything is known."""


class OnnxBackend:
    """Lanes of threads over one session, and a session of several threads for an image alone."""

    remote = False
    tally = None
    plan: Plan

    def __init__(self, stored: StoredModel, variant: Variant, settings: Settings, device: Device, choice: Choice) -> None:
        """Use `load`, which checks everything first. Blocks, as it opens a session. Raises `ModelError`."""
        card = stored.card
        self._card, self._variant = card, variant
        self._device = device
        self._sessions = Sessions(stored, variant, device, imaging.Limits(settings.max_body_bytes, settings.max_pixels))
        self._sample = self._sessions.golden_image()
        self._lanes: Lanes[Item, Outcome] | None = None
        self._inference: Inference | None = self._sessions.open(FIRST)
        self._shape = self._sessions.shape(FIRST)
        self._alone: Inference | None = None
        self._threads_alone = 1
        self._seconds = 0.0
        provider = self._inference.model.provider
        self.identity = Identity(card.name, "onnx", card.version, variant.precision, provider, tuple(card.labels))
        self.cpus = device.cpus
        self.fixed = settings.fixed_plan(card.name)
        self.plan_key = plan_key(card, variant, provider, self.fixed)
        self._untuned: TuningState = "off" if settings.tune == "off" or self.fixed.whole else "waiting"
        self.tuning = Tuning(self._untuned, "default")
        self.rivals = [] if self._untuned == "off" else list(choice.rivals)
        self._choice = choice

    @classmethod
    def load(
        cls, stored: StoredModel, settings: Settings, device: Device, book: PlanBook, inherited: Plan | None = None
    ) -> "OnnxBackend":
        """Load the variant that is asked for, or the fastest that is sound. Blocks: call it on a thread.

        `inherited`: the plan of the version before. Raises `ModelError` if this version can't be served,
        `ConfigurationError` if the asked-for device fails it.
        """
        card, asked = stored.card, settings.precision
        keys = {one.precision: plan_key(card, one, device.provider, settings.fixed_plan(card.name)) for one in card.variants}
        here = {precision: speed for precision, key in keys.items() if (speed := book.speed(key))}
        ranked = fastest_first(card, here, device.provider) if asked == "auto" else [asked_for(card, asked)]
        unknown = [one for one in ranked if book.find(keys[one.precision]) is None]
        choice = Choice(expected_speeds(card, here, device.provider))
        for variant in ranked:
            rivals = [
                Rival(one.precision, partial(cls.load_variant, stored, one, settings, device, book))
                for one in unknown
                if one is not variant and one.precision not in choice.faults
            ]
            try:
                return cls.load_variant(stored, variant, settings, device, book, inherited, replace(choice, rivals=rivals))
            except ModelError as exc:
                choice = replace(choice, faults={**choice.faults, variant.precision: exc})
        raise choice.fault

    @classmethod
    def load_variant(
        cls,
        stored: StoredModel,
        variant: Variant,
        settings: Settings,
        device: Device,
        book: PlanBook,
        inherited: Plan | None = None,
        choice: Choice | None = None,
    ) -> "OnnxBackend":
        """Verify digests, open a session, check the golden vectors and warm it. Raises as `load` does."""
        card = stored.card
        stored.verify([variant, card.golden])  # what is served: the Keras original may be left at home
        backend = cls(stored, variant, settings, device, choice or Choice())
        inference = backend._open()
        model = inference.model
        if model.provider != device.provider:
            note = cuda_missing(f"the session for {variant.file} fell back to {model.provider}")
            if settings.device == "cuda":
                raise ConfigurationError(note)
            on_cpu = replace(device, provider=model.provider, providers=CPU, note=note)
            return cls.load_variant(stored, variant, settings, on_cpu, book, inherited, choice)
        if model.classes not in (None, len(card.labels)):
            raise BrokenModel(f"{variant.file} gives {model.classes} scores for {len(card.labels)} labels")
        backend._sessions.checked(inference)
        backend._seconds = min(inference.times())
        backend._plan_from(book, inherited)
        give_back()
        return backend

    @property
    def tunable(self) -> Tunable:
        """Its plan is measured."""
        return self

    @property
    def default(self) -> Plan:
        """Made of what one image takes."""
        return default_plan(self.identity.provider, self.cpus, self._seconds)

    @property
    def threads_alone(self) -> int:
        """One, until somebody has measured it."""
        return self._threads_alone

    @property
    def most_alone(self) -> int:
        """A few of the processors; a GPU needs no second session, and what the settings state holds for who is alone too."""
        return 1 if self.fixed.threads or not self.decodes else min(self.cpus, ALONE_THREADS)

    @property
    def decodes(self) -> bool:
        """On the CPU a lane decodes what it infers; a GPU's lanes wait for the card, and decoding threads feed them."""
        return self.identity.provider != CUDA_PROVIDER

    @property
    def max_batch_size(self) -> int:
        """What a lane takes at a time."""
        return self.plan.handover(self.identity.provider, self._seconds)

    @property
    def max_background(self) -> int:
        """What it takes of images that nobody sits and waits for."""
        return self.plan.handover(self.identity.provider, self._seconds, BACKGROUND_HANDOVER)

    @property
    def max_in_flight(self) -> int:
        """The plan's lanes, and one handover more, if they are short, that waits at the lanes' door."""
        return self.plan.lanes + (self.max_batch_size * self._seconds < PREFETCH_BELOW_S)

    async def start(self) -> None:
        """Make the lanes, here and not where it was loaded: threads inherit the niceness of who makes them."""
        await self.adopt(self.plan)

    async def adopt(self, plan: Plan, threads_alone: int | None = None) -> None:
        """Go over to a plan: a session that suits it, if this one does not, and new lanes."""
        inference, shape = self._open(), self._sessions.shape(plan)
        if shape != self._shape:
            inference = await asyncio.to_thread(lambda: self._sessions.checked(self._sessions.open(plan)))
        threads = 1 if self.fixed.threads else threads_alone or self._threads_alone
        alone = self._alone if threads == self._threads_alone else None
        if alone is None and plan.threads < threads:
            alone = await asyncio.to_thread(self._sessions.sound_alone, threads)
            threads = alone.model.threads if alone else 1
        self._open()
        self._inference, self._shape = inference.in_batches_of(plan.batch_size), shape
        self._alone, self._threads_alone = alone, threads
        before = self._lanes
        self.plan = plan
        self._lanes = Lanes(self._inference, plan.lanes, self.identity.name, self._device.crowd)
        if before is not None:
            before.close()

    def prepare(self, data: bytes) -> imaging.Pixels:
        """Decode and resize to the model's input."""
        return self._open().load(data)

    def infer(self, batch: Sequence[Item]) -> Awaitable[Sequence[Outcome]]:
        """Run one batch on a lane."""
        if self._lanes is None:
            raise BackendFailed(f"{self.identity.name} was not started.")
        is_alone = len(batch) == 1 and not self._device.crowd.busy and self.plan.threads < self._threads_alone
        return self._lanes.run(batch, self._alone if is_alone else None)

    def describe(self) -> Mapping[str, Any]:
        """Input, plan, threads of an image that is alone, accuracies, images/s by which the variant was chosen, and notes."""
        validation = self._card.validation(self._variant)
        return {
            "input": self._card.input.model_dump(),
            "plan": asdict(self.plan),
            "threads_alone": max(self.plan.threads, self._threads_alone),
            "tuning": asdict(self.tuning),
            "test_accuracy": self._variant.test_accuracy,
            "validation_accuracy": validation.value if validation else None,
            "variants": {one.precision: self._choice.speeds.get(one.precision) for one in self._card.variants},
            "note": "; ".join(filter(None, [self._device.note, self._choice.note])),
        }

    async def close(self) -> None:
        """End the lanes' threads, without waiting for one that hangs, and let go of the session, whoever still knows of this."""
        if self._lanes is not None:
            self._lanes.close()
        self._lanes = self._inference = self._alone = None  # now, and not when the garbage collector comes

    def measure(self, plan: Plan, stop: threading.Event) -> float:
        """Decode and infer a golden image over and over on as many threads as the plan has lanes."""
        # A session of its own: memory that a big batch took goes back with it.
        work = self._sessions.open(plan)
        item: Item = self._sample if self.decodes else self.prepare(self._sample)
        return throughput(work, [item] * plan.handover(self.identity.provider, self._seconds), plan.lanes, MEASURE_S, stop)

    def measure_alone(self, threads: int, stop: threading.Event) -> float:
        """Decode and infer a golden image over and over, with nobody beside."""
        return throughput(self._sessions.open_alone(threads), [self._sample], 1, MEASURE_S, stop)

    def _open(self) -> Inference:
        if self._inference is None:
            raise Closing(f"{self.identity.name}/{self.identity.version} is served no longer.")
        return self._inference

    def _plan_from(self, book: PlanBook, inherited: Plan | None) -> None:
        """Start on the best plan that is known. What is fixed holds in any case."""
        kept, self.plan = book.find(self.plan_key), self.default
        if kept is not None:
            self.plan, self.tuning = kept.plan, Tuning("waiting" if self.rivals else "tuned", "kept", kept.measured)
            self._threads_alone = kept.threads_alone
        elif inherited is not None:
            self.plan, self.tuning = inherited, Tuning(self._untuned, "inherited")
        self.plan = self.fixed.apply(self.plan)
        if self.fixed.whole:
            self.tuning = Tuning("off", "settings")
