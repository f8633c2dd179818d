"""If these fail, an option takes NaN or infinity: a gate of -inf dB can't fail, of NaN neither."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from harness.cli.app import app, main


def numbers(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every option of every command that takes a number with a fraction."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from numbers(inner, (*path, name))
    for parameter in command.params:
        if parameter.type_descriptor.annotation is float:
            yield path, parameter.opts[0]


OPTIONS = list(numbers(typer.main.get_command(app)))


def test_they_are_found() -> None:
    assert {
        (("check",), "--min-snr"),
        (("tune",), "--margin"),
        (("pack", "run"), "--timeout"),
    }.issubset(OPTIONS)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_what_is_no_number_is_refused(
    command: tuple[str, ...], option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, f"{option}={value}"]) == 2
    said = capsys.readouterr().err
    assert option in said
    assert "finite number" in said or "Input should be" in said
