"""The program: its groups of commands, and how an error becomes a sentence and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, Final

import typer
from rich.text import Text

import harness
from harness.allocation import seldom_collect
from harness.cli.console import (
    escape_what_cannot_be_printed,
    log,
    print_json,
    warnings_as_lines,
)
from harness.errors import ParityError, one_line

# Typer brings its own copy of click or uses the installed one; this leads to the class in both.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_CLEAN = "nothing was left half-written"
_INTERRUPTED = 130  # what Typer makes of KeyboardInterrupt; no command ends with it by itself

_REQUESTS: Final = ("SIGTERM", "SIGHUP")

EPILOG = (
    "Exit codes: 0 pass, 1 a check failed, 2 bad usage or bad input, 3 not evaluated (an engine, "
    "golden or layer that is required was missing)."
)

COMMANDS: Final = (
    "doctor",
    "run",
    "convert",
    "core_ai",
    "lint",
    "predict",
    "export",
    "captures",
    "check",
    "adapt",
    "compare",
    "separate",
    "lab",
    "sweep",
    "inspect",
    "faults",
    "report",
    "figures",
    "attest",
    "inventory",
    "conformance",
    "reduce",
    "golden",
    "pack",
    "weights",
    "store",
)
"""The modules of commands, in the order of the help."""

app = typer.Typer(
    name="parity",
    help="Prove that a converted HTDemucs still computes what PyTorch computes.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name in COMMANDS:
    app.add_typer(import_module(f"harness.cli.{name}").commands)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"htdemucs-parity {harness.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:  # the process is this program's own
        seldom_collect()
    as_json = "--json" in words
    escape_what_cannot_be_printed()
    asked: list[signal.Signals] = []
    try:
        with _requests_as_interrupts(asked), warnings_as_lines():
            code = int(app(words, prog_name="parity", standalone_mode=False) or 0)
        return _interrupted(asked, as_json) if code == _INTERRUPTED else code
    except ParityError as error:
        return _complain(str(error), error.exit_code, as_json)
    except (typer.Abort, KeyboardInterrupt):
        return _interrupted(asked, as_json)
    except _UsageError as error:
        return _complain(_usage(error), 2, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _complain(_system_error(error), 2, as_json)


@contextmanager
def _requests_as_interrupts(asked: list[signal.Signals]) -> Iterator[None]:
    """Unwind the program as Ctrl-C does when a scheduler or a closed terminal asks it to end.

    By default SIGTERM ends Python on the spot: no ``finally``, so temporary folders stay. A job
    that is cancelled gets one, and SIGKILL some seconds later, if it is still there.

    A signal that the caller ignores or handles, as ``nohup`` does, stays as it is.

    Args:
        asked: gets the signal that came; the first one counts.
    """
    owner = os.getpid()
    held = [
        number
        for name in _REQUESTS
        if (number := getattr(signal, name, None)) is not None
        and signal.getsignal(number) is signal.SIG_DFL
        and threading.current_thread() is threading.main_thread()
    ]

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker: its parent cleans up
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for other in held:
            signal.signal(other, signal.SIG_IGN)  # a second one must not cut the cleaning short
        asked.append(signal.Signals(number))
        raise KeyboardInterrupt

    for number in held:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, signal.SIG_DFL)


def _interrupted(asked: Sequence[signal.Signals], as_json: bool) -> int:
    """Say what ended the program, and return what a shell reports then: 128 and the signal."""
    if asked:
        return _complain(f"ended by {asked[0].name}; {_CLEAN}", 128 + asked[0], as_json)
    return _complain(f"interrupted; {_CLEAN}", _INTERRUPTED, as_json)


def _usage(error: Any) -> str:
    """Say what was wrong, and which help tells what would be right: that of the command."""
    command = error.ctx.command_path if error.ctx else "parity"
    return f"{error.format_message().rstrip('.')}; see '{command} --help'"


def _system_error(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" while writing {error.filename}" if error.filename else ""
        return f"the disk is full{place}; {_CLEAN}, older files are untouched"
    return f"{error.strerror or error}: {error.filename}" if error.filename else str(error)


def _complain(message: str, code: int, as_json: bool) -> int:
    message = one_line(message)
    if as_json:
        print_json({"error": message, "exit_code": code})
    log.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    return code
