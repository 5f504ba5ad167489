"""Writes what of the chart follows from elsewhere (its README's table, its schema), or with --check fails if it is another."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts.chart_schema import schema_of

CHART = Path(__file__).parent.parent / "helm" / "parallax"
BEGIN, END = "<!-- values: made by `make chart` -->", "<!-- end of values -->"


def main() -> int:
    """Return the exit status."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition(BEGIN)
    rows = "".join(f"| `{path}` | {default} | {told} |\n" for path, default, told in _rows(text, values))
    made = {
        "README.md": f"{before}{BEGIN}\n| value | default | |\n|---|---|---|\n{rows}{END}{rest.partition(END)[2]}",
        "values.schema.json": json.dumps(schema_of(values), indent=1) + "\n",
    }
    stale = [name for name, new in made.items() if not (CHART / name).exists() or (CHART / name).read_text("utf-8") != new]
    if "--check" not in sys.argv[1:]:
        for name in stale:
            (CHART / name).write_text(made[name], encoding="utf-8")
        return 0
    if stale:
        print(f"Of helm/parallax, {' and '.join(stale)} do not follow from values and settings. Run: make chart", file=sys.stderr)
    return 1 if stale else 0


def documented(text: str) -> dict[str, str]:
    """What the comments right above each key of a YAML file say, by dotted path; lines that begin with a dash hold no key."""
    found: dict[str, str] = {}
    above: list[str] = []
    path: list[str] = []
    for line in text.splitlines():
        comment = re.fullmatch(r" *# (.*)", line)
        key = re.match(r"( *)([A-Za-z0-9]+):", line)
        if comment:
            above.append(comment[1])
            continue
        if key:
            path = [*path[: len(key[1]) // 2], key[2]]
            found[".".join(path)] = " ".join(above)
        above = []
    return found


def _rows(text: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    told = documented(text)
    for path, value in _leaves(values, "", told):
        shown = json.dumps(value) if value not in ("", [], {}) else ""
        yield path, f"`{shown}`" if shown else "", told[path]


def _leaves(values: Mapping[str, Any], path: str, told: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Values that have a comment of their own, or that hold nothing below."""
    for name, value in values.items():
        if isinstance(value, dict) and value and not told.get(f"{path}{name}"):
            yield from _leaves(value, f"{path}{name}.", told)
        else:
            yield f"{path}{name}", value


if __name__ == "__main__":
    sys.exit(main())
