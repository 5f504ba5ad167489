"""A run's result for a terminal: the verdict, the backends, and who is better than whom."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from models.scoring import words
from models.scoring.results import BackendResult, Percentiles, Scoring

NOTHING = "[dim]n/a[/]"

WIDEST = 1000
"""Characters: a table is measured as if it had so many."""

QUALITY = ("right (95 % interval)", "macro F1", "log loss", "off by")
PRICE = ("images/s", "USD per 1,000", "training", "no answer")
"""What stands beside a backend's name: in one table, or in two where a terminal is too narrow for it."""


def print_scoring(console: Console, result: Scoring) -> None:
    """Print it whole. Names are shown as they are, whatever they hold."""
    verdict = result.verdict
    console.print(f"[bold]{escape(verdict.headline)}[/]", highlight=False)
    if verdict.trade_off:
        console.print(escape(verdict.trade_off), highlight=False)
    console.print()
    quality = QUALITY if any(one.quality for one in result.backends) else ()
    whole = _backends(result, quality + PRICE)
    needed = console.measure(whole, options=console.options.update(width=WIDEST)).maximum
    narrow = quality and needed > console.width
    for table in (_backends(result, quality), _backends(result, PRICE)) if narrow else (whole,):
        console.print(table, "")
    if any(one.latency for one in result.backends):
        console.print(_stages(result), "")
    if result.pairs:
        console.print(_pairs(result), "")
    for advice in verdict.advice:
        console.print(
            f"[bold]{escape(advice.backend)}[/]: {escape(advice.choose)} [dim]{escape(advice.because)}[/]", highlight=False
        )
    for note in verdict.notes:
        console.print(f"[dim]- {escape(note)}[/]", highlight=False)


def _backends(result: Scoring, columns: Sequence[str]) -> Table:
    table = _table("backend", *columns)
    for one in result.backends:
        cells = dict(zip(QUALITY + PRICE, (*_quality(one), *_price(one)), strict=True))
        name = f"{escape(one.name)} [dim]{escape(f'{one.facts.version} {one.facts.precision}')}[/]"
        table.add_row(name, *(cells[column] for column in columns))
    return table


def _price(one: BackendResult) -> tuple[str, ...]:
    return (
        words.number(one.images_per_second) if one.images_per_second else NOTHING,
        words.usd(one.cost.usd_per_1000) if one.cost else NOTHING,
        _training(one),
        escape(", ".join(f"{code} {count:,}" for code, count in one.errors.items())) or "0",
    )


def _quality(one: BackendResult) -> tuple[str, ...]:
    found = one.quality
    if found is None:
        return (NOTHING,) * 4
    loss = NOTHING if found.log_loss is None else f"{found.log_loss:.3f}"
    return words.interval(found.accuracy), f"{found.macro_f1:.3f}", loss, words.percent(found.calibration.error)


def _training(one: BackendResult) -> str:
    made = one.facts.training
    time = words.minutes(made.minutes) if made and made.minutes is not None else None
    money = f"{words.usd(made.usd)} USD" if made and made.usd is not None else None
    return ", ".join(part for part in (time, money) if part) or NOTHING


def _stages(result: Scoring) -> Table:
    table = _table("ms", "p50", "p90", "p95", "p99", "longest", "queue p50", "decode p50", "infer p50")
    for one in result.backends:
        if one.latency:
            total = one.latency.total
            stages = (one.latency.queue, one.latency.decode, one.latency.infer)
            table.add_row(
                escape(one.name),
                *(words.number(value) for value in (total.p50, total.p90, total.p95, total.p99, total.max)),
                *map(_half, stages),
            )
    return table


def _half(stage: Percentiles | None) -> str:
    return words.number(stage.p50) if stage else NOTHING


def _pairs(result: Scoring) -> Table:
    table = _table("pair", "say the same", "only first right", "only second right", "first less second", "p, adjusted", "better")
    for pair in result.pairs:
        test, agreement = pair.test, pair.agreement
        row = [f"{escape(pair.first)} and {escape(pair.second)}", NOTHING if agreement is None else words.percent(agreement)]
        if test is None:
            table.add_row(*row, *[NOTHING] * 5)
            continue
        change = test.difference
        difference = f"{change.value * 100:+.1f} ({change.low * 100:+.1f} to {change.high * 100:+.1f})"
        better = escape(pair.first if change.value > 0 else pair.second) if test.significant else "can't be told"
        table.add_row(*row, f"{test.only_first:,}", f"{test.only_second:,}", difference, words.chance(test.p_holm), better)
    return table


def _table(first: str, *columns: str) -> Table:
    """Narrow enough for 80 columns: a cell that is too long goes on below, whole."""
    table = Table(Column(first, overflow="fold"), box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for column in columns:
        table.add_column(column, justify="right", overflow="fold", min_width=6)
    return table
