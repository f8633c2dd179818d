"""What stands in a ``parity.toml``, read and checked; nothing of it is imported or executed.

In: a TOML file. Out: a `Declaration`, whose parts are frozen values. The tables ``[case.NAME]`` are
not read here: `harness.golden.recipes` does that.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.bounded import TOML_LIMIT_BYTES, parse_toml, read_text
from harness.errors import DeclarationError, require_known
from harness.subjects.declared.inputs import Example, read_example

_KEYS: Final = (
    "name", "factory", "inputs", "states", "outputs", "taps", "audio", "recipes", "gates", "case",
)  # fmt: skip
_AUDIO_KEYS: Final = ("sources", "sample_rate", "output")
GATES: Final[Mapping[str, tuple[str, ...]]] = {
    "conversion": ("rtol", "atol", "min_snr_db"),
    "end_to_end": ("min_snr_db",),
}
"""The gates that a declaration may set, with their fields."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_FACTORY: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)
DEFAULT_RECIPES: Final = ("fp32", "fp16")


@dataclass(frozen=True)
class Audio:
    """The sound that a network takes and separates.

    Attributes:
        sources: names of the stems, in the order of the output.
        sample_rate: samples per second.
        output: name of the output with the stems, [1, S, C, n], or [1, S, n] of mono; empty for
            the only one.
    """

    sources: tuple[str, ...]
    sample_rate: int
    output: str = ""


@dataclass(frozen=True)
class Declaration:
    """One network as a file declares it.

    Attributes:
        path: the file.
        name: of the subject.
        factory: ``package.module:make``.
        inputs: the arguments of ``forward``, in order.
        states: for the path of each buffer that is a state, what it holds before a call.
        outputs: names of what ``forward`` returns; empty to have them named.
        taps: by name, the path of the module whose output it is; None for every block.
        audio: None where no audio goes in and no stems come out.
        recipes: precision recipes that a run converts by, paths of TOML files made absolute.
        gates: by the name of a gate, what holds instead of its fields.
    """

    path: Path
    name: str
    factory: str
    inputs: Mapping[str, Example]
    states: Mapping[str, Example]
    outputs: tuple[str, ...]
    taps: Mapping[str, str] | None
    audio: Audio | None
    recipes: tuple[str, ...]
    gates: Mapping[str, Mapping[str, float]]

    @property
    def identity(self) -> str:
        """What of inputs and stems decides what a golden of the network holds, as text."""
        return json.dumps(
            {
                "inputs": {name: example.identity for name, example in self.inputs.items()},
                "states": {name: example.identity for name, example in self.states.items()},
                "sources": self.audio.sources if self.audio else (),
            },
            sort_keys=True,
        )


def read_declaration(path: Path) -> Declaration:
    """Read the ``parity.toml`` at ``path``.

    Raises:
        DeclarationError: it can't be read, lacks something, or has a value of the wrong kind.
        UnknownNameError: a key that means nothing; the nearest one is suggested.
    """
    try:
        table = parse_toml(read_text(path, TOML_LIMIT_BYTES, DeclarationError))
    except ValueError as error:
        raise DeclarationError(f"{path} is no TOML file ({error}); correct it") from error
    require_known(f"key in {path}", _KEYS, *table)
    factory = _text(path, table, "factory", 'factory = "package.module:make"')
    if not _FACTORY.fullmatch(factory):
        raise DeclarationError(
            f"{path}: factory is {factory!r}; expected a module and a function in it, like "
            "'package.module:make'"
        )
    name = _text(path, table, "name", 'the name of the subject, like name = "classifier"')
    _check_name(path, "name", name)
    inputs = _examples(path, table, "inputs", required=True)
    for each in inputs:
        _check_name(path, "an input", each)
    outputs = _texts(path, "outputs", table.get("outputs", []))
    for each in outputs:
        _check_name(path, "an output", each)
    return Declaration(
        path=path,
        name=name,
        factory=factory,
        inputs=inputs,
        states=_examples(path, table, "states"),
        outputs=outputs,
        taps=_taps(path, table.get("taps")),
        audio=_audio(path, table.get("audio")),
        recipes=_recipes(path, table.get("recipes")),
        gates=_gates(path, table.get("gates", {})),
    )


def _text(path: Path, table: Mapping[str, Any], key: str, expected: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        found = "has no" if value is None else f"has {value!r} as"
        raise DeclarationError(f"{path} {found} {key!r}; expected {expected}")
    return value


def _texts(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise DeclarationError(f"{path}: {key} is {value!r}; expected a list of names")
    if len(set(value)) < len(value):
        raise DeclarationError(f"{path}: {key} names one twice: {', '.join(value)}")
    return tuple(value)


def _table(path: Path, key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DeclarationError(f"{path}: {key} is {value!r}; expected a table")
    return value


def _check_name(path: Path, what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise DeclarationError(
            f"{path}: {what} is called {name!r}; expected letters, digits and underscores"
        )


def _examples(
    path: Path, table: Mapping[str, Any], key: str, *, required: bool = False
) -> dict[str, Example]:
    rows = _table(path, key, table.get(key, {}))
    if required and not rows:
        raise DeclarationError(
            f"{path} has no 'inputs'; expected what forward takes, in its order, like "
            "inputs.x = { shape = [1, 3, 64, 64] }"
        )
    return {name: read_example(path, f"{key}.{name}", row) for name, row in rows.items()}


def _taps(path: Path, value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return dict(value)
    return {name: name for name in _texts(path, "taps", value)}


def _audio(path: Path, value: Any) -> Audio | None:
    if value is None:
        return None
    table = _table(path, "audio", value)
    require_known(f"key of audio in {path}", _AUDIO_KEYS, *table)
    sources = _texts(path, "audio.sources", table.get("sources", []))
    if not sources:
        raise DeclarationError(f"{path}: audio has no 'sources'; expected the names of the stems")
    rate = table.get("sample_rate")
    if type(rate) is not int or rate < 1:
        raise DeclarationError(
            f"{path}: audio.sample_rate is {rate!r}; expected samples per second, like 44100"
        )
    return Audio(sources, rate, str(table.get("output", "")))


def _recipes(path: Path, value: Any) -> tuple[str, ...]:
    if value is None:
        return DEFAULT_RECIPES
    names = _texts(path, "recipes", value)
    if not names:
        raise DeclarationError(f"{path}: recipes is empty; leave it out for fp32 and fp16")
    return tuple(str(path.parent / n) if n.endswith(".toml") else n for n in names)


def _gates(path: Path, value: Any) -> dict[str, Mapping[str, float]]:
    table = _table(path, "gates", value)
    require_known(f"gate in {path}", GATES, *table)
    for name, fields in table.items():
        require_known(f"field of gate {name!r} in {path}", GATES[name], *_table(path, name, fields))
        for key, number in fields.items():
            if (
                isinstance(number, bool)
                or not isinstance(number, int | float)
                or not 0 <= number < math.inf
            ):
                raise DeclarationError(
                    f"{path}: {key} of gate {name!r} is {number!r}; expected a number from 0"
                )
    return {
        name: {key: float(number) for key, number in row.items()} for name, row in table.items()
    }
