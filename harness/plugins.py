"""Engines and networks of one's own: modules that are imported before any name is looked up.

Importing a plugin registers what it defines, by the decorators `harness.engines.engine` and
`harness.subjects.network`. Plugins are what the environment variable ``PARITY_PLUGINS`` names
(modules, or Python files, separated as in ``PATH``), and the entry points of the group
``htdemucs_parity.plugins``. A ``parity.toml`` that the variable names, or that lies in the working
directory, declares a network (`harness.subjects.declared`); it is no code. One that can't be
imported is an error of whatever looks a name up: a run without it would be green for what it was
never asked.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from harness.errors import ParityError

PLUGINS: Final = "PARITY_PLUGINS"
DECLARATION: Final = "parity.toml"
GROUP: Final = "htdemucs_parity.plugins"

_UNIMPORTABLE: Final = (
    ImportError, OSError, SyntaxError, NameError, AttributeError, LookupError, TypeError,
    ValueError, ParityError,
)  # fmt: skip
"""What importing somebody's module raises when it is wrong."""

_begun: set[str] = set()


def load_plugins() -> None:
    """Import every plugin that was not imported before.

    Raises:
        ParityError: one can't be imported; the message says which, where it is named, and why.
    """
    named = {name: PLUGINS for name in _named() if not name.endswith(".toml")}
    named |= {point.value: f"entry points {GROUP}" for point in entry_points(group=GROUP)}
    for name, place in named.items():
        if name in _begun:
            continue
        _begun.add(name)  # before it is imported: it may look names up itself
        try:
            _load(name)
        except _UNIMPORTABLE as error:
            _begun.discard(name)
            raise ParityError(
                f"plugin {name!r} of {place} can't be imported ({type(error).__name__}: {error}); "
                f"correct it, or take it out of {place}"
            ) from error


def declaration_files() -> tuple[Path, ...]:
    """Return the files that declare networks: those that are named, and the one that lies here."""
    named = [Path(name) for name in _named() if name.endswith(".toml")]
    here = [Path(DECLARATION)] if Path(DECLARATION).is_file() else []
    return tuple({path.resolve(): path for path in (*here, *named)}.values())


def _named() -> list[str]:
    return [name for name in os.environ.get(PLUGINS, "").split(os.pathsep) if name]


def _load(name: str) -> None:
    if not name.endswith(".py"):
        importlib.import_module(name)
        return
    spec = importlib.util.spec_from_file_location(f"parity_plugin_{Path(name).stem}", name)
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pickle and dataclasses look a module up by its name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
