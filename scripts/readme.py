"""Writes the README's table of settings from `service/settings.py`, or with --check fails if it is another."""

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from service.settings import Settings

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- settings: made by `make readme` -->", "<!-- end of settings -->"

DERIVED = {"models_dir": "`models/store`", "data_dir": "`.parallax`"}
"""Defaults that depend on where the checkout is."""


def main() -> int:
    """Return the exit status."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = f"{before}{BEGIN}\n| setting | default | |\n|---|---|---|\n{''.join(_rows(Settings, 'PARALLAX_'))}{END}{after}"
    if "--check" not in sys.argv[1:]:
        README.write_text(made, encoding="utf-8")
        return 0
    if made == text:
        return 0
    print("README.md's settings are not those of service/settings.py. Run: make readme", file=sys.stderr)
    return 1


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _rows(field.annotation, f"{prefix}{name.upper()}__")
            continue
        default = field.default
        shown = DERIVED.get(name) or (
            "" if default in (None, PydanticUndefined) or isinstance(default, SecretStr) else f"`{default}`"
        )
        yield f"| `{prefix}{name.upper()}` | {shown} | {(field.description or '').replace(chr(10), ' ')} |\n"


if __name__ == "__main__":
    sys.exit(main())
