"""Sessions on the file of one variant: of its lanes, of an image that is alone, and those that are only measured."""

import logging

from models import golden, imaging
from models.errors import ModelError
from models.metadata import Variant
from models.repository import StoredModel
from models.runtime import OnnxModel
from service.backends.devices import Device
from service.backends.inference import Inference
from service.tuning import CUDA_PROVIDER, Plan

log = logging.getLogger("parallax.backends")


class Sessions:
    """Opens them; each holds weights of its own. All methods block, and raise `ModelError` if the file is not what it was."""

    def __init__(self, stored: StoredModel, variant: Variant, device: Device, limits: imaging.Limits) -> None:
        self._path = stored.folder / variant.file
        self._golden = stored.folder / stored.card.golden.file
        self._spec = stored.card.input
        self._precision = variant.precision
        self._device = device
        self._limits = limits

    def golden_image(self) -> bytes:
        """An image to try, as the file of golden vectors has it."""
        return golden.images(self._golden)[0]

    def open(self, plan: Plan) -> Inference:
        """For lanes under a plan."""
        threads, one_by_one = self.shape(plan)
        model = OnnxModel(self._path, threads=threads, providers=self._device.providers, one_by_one=one_by_one)
        return Inference(model, self._spec, self._limits, plan.batch_size)

    def open_alone(self, threads: int) -> Inference:
        """For an image that is alone. Its threads spin during a call, for nobody else needs the processors then."""
        model = OnnxModel(self._path, threads=threads, providers=self._device.providers, spin=True)
        return Inference(model, self._spec, self._limits)

    def sound_alone(self, threads: int) -> Inference | None:
        """The same, checked; None if it can't be had, and an image alone will do with a lane."""
        try:
            return self.checked(self.open_alone(threads))
        except ModelError as exc:
            log.warning("no session for who is alone", extra={"file": self._path.name, "threads": threads, "reason": str(exc)})
            return None

    def checked(self, inference: Inference) -> Inference:
        """Hold one that is to serve against the golden vectors, and warm it."""
        model = inference.model
        golden.check(self._golden, self._spec, self._precision, model.run, model.provider)
        inference.warm()
        return inference

    def shape(self, plan: Plan) -> tuple[int, bool]:
        """What of a plan a session is made for: its threads, and whether it takes the images of a batch one by one."""
        return plan.threads, plan.batch_size == 1 and self._device.provider != CUDA_PROVIDER
