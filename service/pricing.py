"""What a backend's answers cost: an hour of what it runs on, or a call of whom it asks."""

from models import machine, prices
from models.prices import Price
from service.domain import Identity
from service.tally import Tally
from service.tuning import CUDA_PROVIDER


class Pricing:
    """Prices of this service: as set, else as `models/prices.toml` lists them."""

    def __init__(self, cpus: int, usd_per_hour: float | None = None, machines: int = 1) -> None:
        """`cpus`: what an hour of this service takes of a machine. `usd_per_hour`: what that costs, whatever the list says.

        `machines`: how many there are, each at that price.
        """
        self._cpus = cpus
        self._usd_per_hour = usd_per_hour
        self._machines = machines

    def hour(self, one: Identity) -> Price | None:
        """Of the machine that a backend runs on; None if it runs elsewhere, or nobody knows. It may read files."""
        on_gpu = one.provider == CUDA_PROVIDER
        if not on_gpu and one.provider != "CPUExecutionProvider":
            return None
        if self._usd_per_hour is not None:
            return self._of_all(Price(self._usd_per_hour, "PARALLAX_USD_PER_HOUR"))
        if not on_gpu:
            return prices.hour(self._cpus)
        gpu = machine.gpu()
        price = prices.hour(self._cpus, gpu) if gpu else None
        return price and self._of_all(price)

    def call(self, one: Identity, tally: Tally | None) -> Price | None:
        """Of one answer of a remote backend, whose calls `tally` counts; None for what runs here, or where nobody knows."""
        if tally is None:
            return None
        if tally.usd_per_call is not None:
            return Price(tally.usd_per_call, f"PARALLAX_{one.kind.upper()}__USD_PER_1000")
        return prices.call(one.kind)

    def _of_all(self, price: Price) -> Price:
        """Of all machines, by that of one."""
        return price if self._machines == 1 else Price(price.usd * self._machines, f"{self._machines} x {price.source}")
