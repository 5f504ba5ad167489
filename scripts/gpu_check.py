"""Says on a machine with a GPU whether everything is as it should be, and how fast it is: `make gpu-check`.

For every model of the store: the provider in use, golden vectors on the GPU, images/s by batch size on GPU and CPU. Exit status 1
if a model does not run on CUDA or does not reproduce its golden vectors.
"""

import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from models import golden
from models.errors import ParallaxError
from models.machine import usable_cpus
from models.repository import Repository, StoredModel
from models.runtime import CPU, OnnxModel
from service.backends.devices import choose_device
from service.settings import load_settings
from service.tuning import CUDA_BATCHES, CUDA_PROVIDER

SECONDS = 1.0

console = Console()


def main() -> int:
    """Return the exit status."""
    settings = load_settings(device="cuda")
    try:
        device = choose_device(settings, usable_cpus())
    except ParallaxError as exc:
        console.print(f"[red]{exc}[/]")
        return 1
    failed = 0
    table = Table("model", "variant", "golden difference", *(f"batch {size}" for size in CUDA_BATCHES), "CPU, batch 1")
    listing = Repository(settings.models_dir).scan()
    if not listing.models:
        console.print(f"[red]{settings.models_dir} holds no sound model[/]")
        return 1
    for stored in listing.models:
        for variant in stored.card.variants:
            path = stored.folder / variant.file
            try:
                stored.verify([variant, stored.card.golden])
                model = OnnxModel(path, threads=1, providers=device.providers)
                if model.provider != CUDA_PROVIDER:
                    raise ParallaxError(f"runs on {model.provider}")
                file = stored.folder / stored.card.golden.file
                difference = golden.check(file, stored.card.input, variant.precision, model.run, model.provider)
            except ParallaxError as exc:
                failed += 1
                console.print(f"[red]{stored.card.name}/{stored.card.version} {variant.precision}: {exc}[/]")
                continue
            speeds = [f"{_images_per_second(model, stored, size):,.0f}/s" for size in CUDA_BATCHES]
            cpu = _images_per_second(OnnxModel(path, threads=usable_cpus(), providers=CPU), stored, 1)
            name = f"{stored.card.name}/{stored.card.version}"
            table.add_row(name, variant.precision, f"{difference:.1e}", *speeds, f"{cpu:,.0f}/s")
    console.print(table)
    return 1 if failed else 0


def _images_per_second(model: OnnxModel, stored: StoredModel, batch: int) -> float:
    spec = stored.card.input
    images = np.random.default_rng(1).integers(0, 256, (batch, spec.height, spec.width, 3), np.uint8)
    for _ in range(3):
        model.run(images)
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        model.run(images)
        count += batch
    return count / elapsed


if __name__ == "__main__":
    sys.exit(main())
