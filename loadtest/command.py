"""What `parallax loadtest` does, apart from its options."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from loadtest import driver
from loadtest.capacity import Capacity, Probe, cost, probe_of, search
from loadtest.credentials import read_key
from loadtest.driver import LocustError
from loadtest.images import ImagesError
from loadtest.plan import KINDS, Plan
from loadtest.preflight import ServerError, look
from loadtest.report import write_json, write_report
from loadtest.shapes import SECONDS
from loadtest.tables import Table, milliseconds, tables
from loadtest.terminal import Watcher, show, wide
from loadtest.thresholds import DEFAULT, ThresholdsError, read_thresholds
from loadtest.verdict import Exit, doubts, judge


class OptionsError(ValueError):
    """Options make no sense: the message says why."""


FORESEEN = (ImagesError, LocustError, OptionsError, OSError, ServerError, ThresholdsError)


@dataclass(frozen=True)
class Files:
    """What a test reads and writes."""

    thresholds: Path | None
    report: Path | None
    json: Path | None


def run(url: str, options: Mapping[str, Any], mix: str, files: Files, *, allow_remote: bool, lead: tuple[str, int] | None) -> int:
    """Run one test and judge it. Returns the exit status; raises one of `FORESEEN`."""
    kept = read_thresholds(files.thresholds or DEFAULT)
    seconds = options["seconds"] or SECONDS[options["shape"]]
    plan = _plan({**options, "seconds": seconds, **({"mix": read_mix(mix)} if mix else {})})
    ready = look(url, plan, read_key(), allow_remote=allow_remote)
    console = wide()
    for note in ready.notes:
        console.print(f"[yellow]{note}[/]", highlight=False)
    with Watcher(console, ready.plan) as watcher:
        ran = driver.run(url, ready.plan, ready.backend, watcher.tell, lead=lead)
    verdict = judge(ready.plan, ran.results, kept, interrupted=ran.interrupted)
    for table in tables(ready.plan, ran.results, verdict):
        show(console, table)
    if files.report:
        write_report(files.report, url, ready.plan, ran.results, verdict, ready.notes)
        console.print(f"report: {files.report}", highlight=False, soft_wrap=True)
    if files.json:
        write_json(files.json, ready.plan, ran.results, verdict)
    console.print(verdict.sentence, style="bold green" if verdict.exit is Exit.PASSED else "bold red", highlight=False)
    for doubt in verdict.doubts:
        console.print(f"  {doubt}", highlight=False)
    return verdict.exit


@dataclass(frozen=True)
class Wanted:
    """What a capacity search is for."""

    p99_ms: float
    start: float
    max_rate: float
    precision: float
    seconds: float
    rate: float | None
    headroom: float
    usd_per_hour: float | None


def capacity(url: str, options: Mapping[str, Any], wanted: Wanted, *, allow_remote: bool) -> int:
    """Search, and tell. Returns the exit status; raises one of `FORESEEN`."""
    first = _plan({**options, "rate": wanted.start, "seconds": wanted.seconds})
    ready = look(url, first, read_key(), allow_remote=allow_remote)
    console = wide()

    def attempt(rate: float, confirms: bool) -> Probe:
        plan = ready.plan.model_copy(update={"rate": rate, "seconds": wanted.seconds * (2 if confirms else 1)})
        with Watcher(console, plan, quiet=True) as watcher:
            ran = driver.run(url, plan, ready.backend, watcher.tell)
        if ran.interrupted:
            raise KeyboardInterrupt
        probe = probe_of(rate, ran.results, wanted.p99_ms, doubts(plan, ran.results), confirms=confirms)
        console.print(f"{rate:9,.1f}/s  p99 {milliseconds(probe.p99):>7} ms  {_word(probe)}", highlight=False)
        return probe

    found = search(attempt, wanted.start, wanted.max_rate, wanted.precision)
    show(console, _probes(ready.backend, wanted, found))
    if not found.rate:
        doubt = next((probe.doubt for probe in found.probes if probe.doubt), "")
        console.print(f"[bold red]No rate keeps a p99 of {wanted.p99_ms:g} ms.[/] {doubt}", highlight=False)
        return Exit.VOID if doubt else Exit.MISSED
    least = "" if found.bounded else "at least "
    console.print(f"[bold]Capacity: {least}{found.rate:,.1f} requests/s[/] at a p99 of {wanted.p99_ms:g} ms.", highlight=False)
    if wanted.rate:
        needed = cost(wanted.rate, found.rate, wanted.headroom, wanted.usd_per_hour)
        money = "" if needed.usd_a_month is None else f", {needed.usd_a_month:,.0f} USD a month"
        console.print(
            f"For {wanted.rate:,g} requests/s at {wanted.headroom:.0%} of capacity: {needed.replicas:,} replicas{money}.",
            highlight=False,
        )
    if not found.bounded and any(probe.doubt for probe in found.probes):
        console.print("[yellow]Locust was the bottleneck before the server was: more --processes, or another machine.[/]")
        return Exit.VOID
    return Exit.PASSED


def join(master: str, port: int) -> int:
    """Returns locust's exit status."""
    return driver.join(master, port)


def read_mix(text: str) -> dict[str, float]:
    """Shares out of `classify=90,bad=10`. Raises `OptionsError`."""
    shares: dict[str, float] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        kind, equals, value = (part.strip() for part in word.partition("="))
        try:
            share = float(value)
        except ValueError:
            share = -1
        if not equals or kind not in KINDS or kind in shares or not 0 <= share < float("inf"):
            raise OptionsError(f"--mix {word}: say USER=SHARE, each user once; there are: {', '.join(KINDS)}")
        shares[kind] = share
    return shares


def _plan(values: Mapping[str, Any]) -> Plan:
    try:
        return Plan.model_validate(values)
    except ValidationError as exc:
        raise OptionsError("; ".join(error["msg"].removeprefix("Value error, ") for error in exc.errors())) from None


def _word(probe: Probe) -> str:
    if probe.doubt:
        return f"does not count: {probe.doubt}"
    return "kept" if probe.met else "missed"


def _probes(backend: str, wanted: Wanted, found: Capacity) -> Table:
    rows = [
        [
            f"{probe.rate:,.1f}",
            milliseconds(probe.p50),
            milliseconds(probe.p99),
            f"{probe.failure_ratio:.2%}",
            ("confirmed" if probe.confirms and probe.met and not probe.doubt else _word(probe).partition(":")[0]),
        ]
        for probe in sorted(found.probes, key=lambda probe: (probe.rate, probe.confirms))
    ]
    title = f"Capacity of {backend} at a p99 of {wanted.p99_ms:g} ms"
    return Table(
        title,
        ("requests/s", "p50 ms", "p99 ms", "failed", ""),
        rows,
        "failed: of what fell due, with what was shed or never sent.",
    )
