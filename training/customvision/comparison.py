"""The migration report: what a duel came to, as tables for a terminal and as a file."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from models.metadata import Accuracy
from training.customvision.findings import Findings, verdict

SWAPS = 10
"""That are printed; the file has all."""


class Side(BaseModel):
    """One of the two: which version of what, and what a month of it costs."""

    model_config = ConfigDict(frozen=True)

    backend: str
    version: str
    kind: str
    usd_a_month: float | None


class Comparison(BaseModel):
    """Everything that the report says."""

    model_config = ConfigDict(frozen=True)

    cloud: Side
    local: Side
    sample: str
    monthly_images: int
    margin: float
    findings: Findings
    verdict: str


def comparison(cloud: Side, local: Side, sample: str, monthly_images: int, margin: float, found: Findings) -> Comparison:
    """Put it together, with its verdict."""
    return Comparison(
        cloud=cloud,
        local=local,
        sample=sample,
        monthly_images=monthly_images,
        margin=margin,
        findings=found,
        verdict=verdict(found, margin),
    )


def tell(report: Comparison, file: Path, console: Console) -> None:
    """Write the file, and print what one looks at first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    found = report.findings
    for why, images in found.failed.items():
        console.print(f"[red]no answer[/] for {images:,} images: {why}", highlight=False)
    console.print(_sides(report))
    console.print(_tags(found))
    if found.swaps:
        table = Table(report.cloud.backend, report.local.backend, "images")
        for swap in found.swaps[:SWAPS]:
            table.add_row(swap.cloud, swap.local, f"{swap.images:,}")
        console.print(table)
    console.print(f"[bold]{report.verdict}[/]", highlight=False)
    console.print(f"all of it, with the images that they differ on: {file}", highlight=False)


def _sides(report: Comparison) -> Table:
    found = report.findings
    table = Table("", f"{report.cloud.backend} ({report.cloud.kind})", f"{report.local.backend}/{report.local.version}")
    if found.cloud_accuracy and found.local_accuracy:
        table.add_row("accuracy", _share(found.cloud_accuracy), _share(found.local_accuracy))
    table.add_row("agreement", _share(found.agreement), "")
    for rank in found.cloud_ms:
        table.add_row(f"latency {rank}", f"{found.cloud_ms[rank]:,.1f} ms", f"{found.local_ms[rank]:,.1f} ms")
    table.add_row(f"USD for {report.monthly_images:,} images a month", *(_usd(side) for side in (report.cloud, report.local)))
    return table


def _tags(found: Findings) -> Table:
    labelled = found.change is not None
    table = Table(
        "label", "cloud says", "local says", "both say", *(["images", "cloud knows", "local knows"] if labelled else [])
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for tag in found.tags:
        counts = [tag.cloud, tag.local, tag.both]
        if tag.images is not None and tag.cloud_right is not None and tag.local_right is not None:
            counts += [tag.images, tag.cloud_right, tag.local_right]
        table.add_row(tag.label, *(f"{count:,}" for count in counts))
    return table


def _share(value: Accuracy) -> str:
    return f"{value.value:.1%} ({value.low:.1%} to {value.high:.1%})"


def _usd(side: Side) -> str:
    return "unknown: --usd-per-1000" if side.usd_a_month is None else f"{side.usd_a_month:,.2f}"
