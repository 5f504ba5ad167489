"""Options that take several values after one name, as a shell's pattern gives them: `--data part*.zip`."""

from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperOption


class SeveralValues(TyperCommand):
    """A command whose repeatable options also take several values in a row: `--data A B` is `--data A --data B`.

    The parser alone would read B as an argument, or worse, as a value of something else.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # a type that typer keeps to itself
        names = {name for option in self.params if isinstance(option, TyperOption) and option.multiple for name in option.opts}
        return super().parse_args(ctx, list(_repeated(args, names)))


def _repeated(args: Iterable[str], names: set[str]) -> Iterable[str]:
    current: str | None = None
    fresh = False
    for arg in args:
        if arg.startswith("-"):
            name, _, value = arg.partition("=")
            current, fresh = (name, not value) if name in names else (None, False)
        elif current is not None:
            if not fresh:
                yield current
            fresh = False
        yield arg
