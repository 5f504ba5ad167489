"""What `--help` shows of what stands in the code."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from typer import rich_utils
from typer.main import get_command
from typer.testing import CliRunner

from parallax import app


def commands(command: Any, words: Sequence[str] = ()) -> Iterator[tuple[Sequence[str], Any]]:  # noqa: ANN401  # a type of typer's own
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


def plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


@pytest.mark.parametrize(
    ("words", "command"), [pytest.param(*one, id=" ".join(one[0]) or "parallax") for one in commands(get_command(app))]
)
def test_every_word_of_a_command_s_help_is_shown(words: Sequence[str], command: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", 1000)
    shown = plain(CliRunner().invoke(app, [*words, "--help"], catch_exceptions=False).output)
    texts = [command.help, *(option.help for option in command.params if getattr(option, "help", None))]
    assert [text for text in texts if plain(text) not in shown] == []
