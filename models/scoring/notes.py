"""What to know before one believes a verdict."""

from collections.abc import Iterator, Sequence

from models.scoring import words
from models.scoring.facts import RunFacts
from models.scoring.results import BackendResult, Galleries
from models.scoring.standing import margin

HOURS_A_MONTH = 730


def notes(run: RunFacts, results: Sequence[BackendResult], galleries: Galleries) -> Iterator[str]:
    """Sentences, the weightiest first."""
    if known := learnt(run, results):
        yield known
    yield from _unfinished(run, results)
    yield from _unanswered(results)
    yield from _doubted(galleries)
    yield from _calibration(results)
    yield from _brief(results)
    yield from _break_even(results)
    yield from _reading(run, results)


def learnt(run: RunFacts, results: Sequence[BackendResult]) -> str | None:
    """Who learnt from the very file that the images came from, so that its accuracy says nothing; None: nobody is known to."""
    names = [one.name for one in results if one.quality and one.facts.training and run.sha256 in one.facts.training.data]
    if not names:
        return None
    whose = "their accuracies" if len(names) > 1 else "its accuracy"
    return (
        f"{words.listed(names)} learnt from this very set: {whose} here can't be believed. Score a set that no backend has seen."
    )


def _unfinished(run: RunFacts, results: Sequence[BackendResult]) -> Iterator[str]:
    if run.state == "succeeded":
        return
    counts = words.listed([f"{one.images:,} by {one.name}" for one in results]) if results else "none"
    state = "was cancelled" if run.state == "cancelled" else run.state if run.state == "failed" else f"is {run.state}"
    yield (
        f"The run {state}{f' ({run.reason})' if run.reason else ''}: "
        f"of {run.images:,} images there are rows of {counts}. All figures are of those."
    )


def _unanswered(results: Sequence[BackendResult]) -> Iterator[str]:
    for one in results:
        if failed := sum(one.errors.values()):
            codes = ", ".join(f"{code} {count:,}" for code, count in one.errors.items())
            yield f"{one.name} gave no answer to {failed:,} of {one.images:,} images ({codes}). Its figures are of the others."


def _doubted(galleries: Galleries) -> Iterator[str]:
    if galleries.doubted and galleries.doubted.total:
        count = galleries.doubted.total
        yield (
            f"No backend agrees with the label of {count:,} {'images' if count > 1 else 'image'}. "
            "Look at them first: a wrong label counts against whoever is right."
        )


def _calibration(results: Sequence[BackendResult]) -> Iterator[str]:
    off = [(one.name, one.quality.calibration) for one in results if one.quality and one.quality.calibration.error >= 0.03]
    for sign, how in ((1, "surer than it should be"), (-1, "less sure than it could be")):
        named = [
            f"{name} is {how} by {abs(found.overconfidence) * 100:.0f} points"
            for name, found in off
            if sign * found.overconfidence >= 0.03
        ]
        if named:
            rest = [name.replace(f" is {how} by", " by") for name in named[1:]]
            yield f"{words.listed([named[0], *rest])}, on average: a probability of it is not how often it is right."


def _brief(results: Sequence[BackendResult]) -> Iterator[str]:
    judged = [one for one in results if one.quality and one.facts.seconds]
    least = min(judged, key=lambda one: one.facts.seconds or 0, default=None)
    if least and least.facts.seconds and margin(least) > margin() and len(judged) > 1:
        yield (
            f"{least.name} was busy for {words.number(least.facts.seconds)} s only: speeds and costs closer to its own than "
            f"{words.times(margin(least))} are not told apart. Score more images."
        )


def _break_even(results: Sequence[BackendResult]) -> Iterator[str]:
    """From how many images a month a machine that always runs costs less than calls."""
    hosted = [one for one in results if one.facts.usd_per_hour and one.facts.usd_per_call is None]
    for one in results:
        if one.facts.usd_per_call and hosted:
            month = max(machine.facts.usd_per_hour or 0 for machine in hosted) * HOURS_A_MONTH
            yield (
                f"A machine that runs all month for the others costs {words.usd(month)} USD, whatever it does; {one.name} "
                f"costs that for {month / one.facts.usd_per_call:,.0f} images. With fewer a month, calls are cheaper."
            )


def _prices(results: Sequence[BackendResult]) -> Iterator[str]:
    """Each price once, with those whose it is and who says so."""
    said: dict[tuple[str, float, str], list[str]] = {}
    for one in results:
        facts = one.facts
        what, usd = ("a call", facts.usd_per_call) if facts.usd_per_call is not None else ("an hour", facts.usd_per_hour)
        if usd is not None and facts.price_source:
            said.setdefault((what, usd, facts.price_source), []).append(one.name)
    for (what, usd, source), names in said.items():
        yield f"Price of {what} of {words.listed(names)}: {words.usd(usd)} USD ({source})."


def _reading(run: RunFacts, results: Sequence[BackendResult]) -> Iterator[str]:
    if any(one.cost and one.cost.basis == "hour" for one in results):
        at = "asked for one image at a time" if run.mode == "latency" else "busy all the time"
        yield f"Costs by the hour are those of a machine that is {at}; an idle one costs the same."
    yield from _prices(results)
    if run.mode == "throughput" and any(one.latency for one in results):
        yield (
            "Images were sent as fast as they were taken, so latencies hold the wait for each other: they say nothing of a "
            "single image's. Mode latency measures that."
        )
    sizes = [one.quality.accuracy for one in results if one.quality]
    if sizes:
        half = max(value.high - value.low for value in sizes) / 2
        yield (
            f"Intervals are 95 %: each accuracy is known to about {half * 100:.1f} points either way; differences on the "
            "same images are known better."
        )
