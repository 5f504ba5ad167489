"""The variants of one version, each behind a service of its own, in rounds that take turns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from loadtest.bench.contenders import Contender, ask_parallax, copy_version, parallax
from loadtest.bench.images import Known, Pictures, label_pictures
from loadtest.bench.jobs import Request
from loadtest.bench.measure import Disturbances, Measured, measure
from loadtest.bench.processes import BenchError
from loadtest.bench.report import Sheet, noise_note, spread_of
from loadtest.bench.speed import load_of
from loadtest.bench.stage import CONNECTIONS, ok
from models.errors import UsageError
from models.metadata import Precision
from models.repository import StoredModel
from models.runtime import OnnxModel

HEADER = ("variant", "requests/s", "range", "p50 ms", "p99 ms", "CPU µs", "MB", "to the first")


def variants(
    stored: StoredModel, pictures: Pictures, seconds: float, rounds: int, disturbances: Disturbances, tell: Callable[[str], None]
) -> Sheet:
    """Medians of rounds. Raises `UsageError` without two variants, `BenchError` if one does not start or answers wrongly."""
    name = f"{stored.card.name}/{stored.card.version}"
    if len(stored.card.variants) < 2:
        raise UsageError(f"{name} has {stored.card.variants[0].precision} only: there is nothing to compare it with")
    measured: dict[str, list[Measured]] = {}
    with ExitStack() as stack:
        tell(f"{name}: starting {', '.join(variant.precision for variant in stored.card.variants)}")
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        known = _known_to_all(stored, pictures)
        contenders = list(_start(stored, known, folder, stack))
        for number in range(rounds):
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                tell(f"{name}: round {number + 1} of {rounds}, {contender.name}")
                load = load_of(contender, CONNECTIONS, seconds)
                one = disturbances.quietly(partial(measure, contender.server, load))
                measured.setdefault(contender.name, []).append(one)
    first = measured[contenders[0].name]
    rows = [_row(contender.name, measured[contender.name], first) for contender in contenders]
    notes = [
        f"{CONNECTIONS} connections, medians of {rounds} rounds of {seconds:g} s that took turns. {noise_note(disturbances)}",
        f"To the first: requests/s, round by round. Images: {pictures.kind}, {len(contenders[0].requests)} used.",
    ]
    return Sheet(f"{name}, by its variants", HEADER, rows, notes)


def _known_to_all(stored: StoredModel, pictures: Pictures) -> dict[Precision, list[Known]]:
    """The same images for every variant: those that each is sure about."""
    card = stored.card
    known = {
        variant.precision: label_pictures(
            pictures.files, OnnxModel(stored.folder / variant.file, threads=1), card.input, card.labels
        )
        for variant in card.variants
    }
    common = set.intersection(*({one.data for one in ones} for ones in known.values()))
    if not common:
        raise BenchError(f"{card.name}'s variants are sure about none of the images together; give others with --images")
    return {precision: [one for one in ones if one.data in common] for precision, ones in known.items()}


def _start(
    stored: StoredModel, known: Mapping[Precision, Sequence[Known]], folder: Path, stack: ExitStack
) -> Iterator[Contender]:
    store = copy_version(stored, folder / "store")
    for precision, ones in known.items():
        server = stack.enter_context(parallax(store, folder / precision, precision=precision))
        yield Contender(precision, server, [_as(precision, one) for one in ask_parallax(stored.card.name, ones)])


def _as(precision: str, request: Request) -> Request:
    """A right reply comes from this variant."""
    label, number = request.needles
    return replace(request, needles=(f'"precision":"{precision}","provider":"CPUExecutionProvider",'.encode() + label, number))


def _row(name: str, rounds: Sequence[Measured], first: Sequence[Measured]) -> list[str]:
    replies = [one.outcomes[0] for one in rounds]
    rates = [reply.rate for reply in replies]
    # Round by round, for a machine is faster in one than in another.
    ratio = median(one / other.outcomes[0].rate for one, other in zip(rates, first, strict=True))
    return [
        name,
        f"{median(rates):,.0f}",
        spread_of(rates),
        f"{median(ok(reply).p50 for reply in replies):.2f}",
        f"{median(ok(reply).p99 for reply in replies):.2f}",
        f"{median(one.cpu_us for one in rounds):,.0f}",
        f"{max(one.watched.peak_mb for one in rounds):,.0f}",
        f"{ratio:.2f} x",
    ]
