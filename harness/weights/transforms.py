"""Transforms of a state dict, from a TOML file: one step after the other, each with its report.

    [[step]]
    strip_prefix = "module."          # of the names that have it

    [[step]]
    rename = "^encoder\\\\.(\\\\d+)"      # a regular expression, searched in each name
    to = "blocks.\\\\1"

    [[step]]
    transpose = "*.linear?.weight"    # names by glob; all axes reversed without `axes`
    axes = [1, 0]

A step has one of the verbs `VERBS`. ``names = "metal"`` (or ``"demucs"``) renames by convention. A
step that matches nothing is reported, since it is how a mistyped pattern shows; two tensors that
would get one name are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from harness.bounded import TOML_LIMIT_BYTES, parse_toml, read_text
from harness.errors import UnknownNameError, one_line
from harness.weights.conventions import CONVENTIONS, renamed
from harness.weights.files import WeightsError

TYPES: Final = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


@dataclass(frozen=True)
class Step:
    """One transform.

    Attributes:
        verb: one of `VERBS`.
        value: what the file says to it.
        options: the step's other keys.
    """

    verb: str
    value: Any
    options: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.verb} = {one_line(repr(self.value), 80)}"


@dataclass(frozen=True)
class StepReport:
    """What a step did.

    Attributes:
        step: in words.
        matched: names that it changed, or for a selection those that it keeps or takes out.
        before, after: how many tensors there were and are.
    """

    step: str
    matched: tuple[str, ...]
    before: int
    after: int


def read_steps(path: Path) -> tuple[Step, ...]:
    """Return the steps of a TOML file.

    Raises:
        WeightsError: the file is missing, no TOML, or has a step that says no verb, two, or
            something that its verb can't take.
    """
    try:
        document = parse_toml(read_text(path, TOML_LIMIT_BYTES, WeightsError))
    except ValueError as error:
        raise WeightsError(f"{path} is no TOML that can be used: {one_line(str(error))}") from error
    rows = document.get("step")
    if set(document) != {"step"} or not isinstance(rows, list) or not rows:
        raise WeightsError(f"{path} must hold [[step]] tables and nothing else")
    return tuple(_step(row, f"step {place} of {path}") for place, row in enumerate(rows, 1))


def _step(row: Any, place: str) -> Step:
    keys = set(row) if isinstance(row, dict) else set()
    verbs = keys & VERBS.keys()
    if len(verbs) != 1:
        raise WeightsError(
            f"{place} has {len(verbs)} verbs ({', '.join(sorted(verbs)) or 'none'}), expected one "
            f"of {', '.join(VERBS)}"
        )
    (verb,) = verbs
    options = {key: row[key] for key in keys - verbs}
    _, needed, allowed = VERBS[verb]
    if not needed <= options.keys() or not options.keys() <= needed | allowed:
        takes = ", ".join(sorted(needed | allowed)) or "nothing"
        given = ", ".join(sorted(options)) or "nothing"
        raise WeightsError(f"{place}: beside {verb} there is {given}, and it takes {takes}")
    step = Step(verb, row[verb], options)
    try:
        VERBS[verb][0](step, {})
    except (TypeError, ValueError, re.error) as error:
        raise WeightsError(f"{place}: {step} can't be: {one_line(str(error), 200)}") from error
    return step


def apply_steps(
    state: Mapping[str, Tensor], steps: Iterable[Step]
) -> tuple[dict[str, Tensor], tuple[StepReport, ...]]:
    """Return the transformed tensors, in their order, and what each step did.

    Raises:
        WeightsError: two tensors get one name, or a tensor doesn't have the axes of a step.
    """
    current, reports = dict(state), []
    for step in steps:
        made, matched = VERBS[step.verb][0](step, current)
        reports.append(StepReport(str(step), tuple(matched), len(current), len(made)))
        current = made
    return current, tuple(reports)


_Made = tuple[dict[str, Tensor], list[str]]


def _by_name(state: Mapping[str, Tensor], rename: Callable[[str], str], step: Step) -> _Made:
    found: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, tensor in state.items():
        new = rename(name)
        if new in found:
            raise WeightsError(f"{step}: {origin[new]!r} and {name!r} would both become {new!r}")
        found[new], origin[new] = tensor, name
    return found, [name for new, name in origin.items() if new != name]


def _rename(step: Step, state: Mapping[str, Tensor]) -> _Made:
    pattern, to = re.compile(_text(step.value)), _text(step.options["to"], least=0)
    re.sub(pattern, to, "")  # a group that isn't there shows now
    return _by_name(state, lambda name: pattern.sub(to, name), step)


def _prefix(step: Step, state: Mapping[str, Tensor]) -> _Made:
    """Give names another beginning: to strip one is to put nothing there, to add is the reverse."""
    value, to = _text(step.value), _text(step.options.get("to", ""), least=0)
    old, new = ("", value) if step.verb == "add_prefix" else (value, to)

    def rename(name: str) -> str:
        return new + name.removeprefix(old) if name.startswith(old) else name

    return _by_name(state, rename, step)


def _names(step: Step, state: Mapping[str, Tensor]) -> _Made:
    if step.value not in CONVENTIONS:
        raise ValueError(f"there are the conventions {', '.join(CONVENTIONS)}")
    return _by_name(state, lambda name: renamed(name, step.value), step)


def _transpose(step: Step, state: Mapping[str, Tensor]) -> _Made:
    globs, axes = _globs(step.value), step.options.get("axes")
    if axes is not None and not _is_order(axes):
        raise ValueError(f"axes are {axes!r}, expected a list of every axis once, as [1, 0]")
    matched = [name for name in state if _fits(name, globs)]
    found = dict(state)
    for name in matched:
        tensor = state[name]
        if axes is not None and len(axes) != tensor.dim():
            raise WeightsError(
                f"{step}: {name!r} has shape {list(tensor.shape)}, and {len(axes)} axes are named"
            )
        order = tuple(axes if axes is not None else range(tensor.dim())[::-1])
        found[name] = tensor.permute(order).contiguous()
    return found, matched


def _is_order(axes: Any) -> bool:
    return (
        isinstance(axes, list)
        and all(type(axis) is int for axis in axes)
        and sorted(axes) == list(range(len(axes)))
    )


def _select(step: Step, state: Mapping[str, Tensor]) -> _Made:
    globs = _globs(step.value)
    kept = {name: tensor for name, tensor in state.items() if _fits(name, globs)}
    for glob in globs if kept else ():  # whoever runs the steps says where nothing fits at all
        if not any(fnmatchcase(name, glob) for name in kept):
            raise UnknownNameError("tensor", glob, state)
    return kept, list(kept)


def _exclude(step: Step, state: Mapping[str, Tensor]) -> _Made:
    globs = _globs(step.value)
    gone = [name for name in state if _fits(name, globs)]
    return {name: tensor for name, tensor in state.items() if name not in gone}, gone


def _dtype(step: Step, state: Mapping[str, Tensor]) -> _Made:
    wanted, globs = TYPES.get(_text(step.value)), _globs(step.options.get("only", "*"))
    if wanted is None:
        raise ValueError(f"there are the types {', '.join(TYPES)}")
    found = {
        name: tensor.to(wanted) if tensor.is_floating_point() and _fits(name, globs) else tensor
        for name, tensor in state.items()
    }
    return found, [name for name in state if found[name].dtype != state[name].dtype]


def _text(value: Any, *, least: int = 1) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{one_line(repr(value), 60)} is no text")
    if len(value) < least:
        raise ValueError("an empty text fits nothing")
    return value


def _globs(value: Any) -> tuple[str, ...]:
    return tuple(map(_text, value if isinstance(value, list) else [value]))


def _fits(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


_Work = Callable[[Step, Mapping[str, Tensor]], _Made]
VERBS: Final[Mapping[str, tuple[_Work, frozenset[str], frozenset[str]]]] = {
    "names": (_names, frozenset(), frozenset()),
    "rename": (_rename, frozenset({"to"}), frozenset()),
    "rename_prefix": (_prefix, frozenset({"to"}), frozenset()),
    "strip_prefix": (_prefix, frozenset(), frozenset()),
    "add_prefix": (_prefix, frozenset(), frozenset()),
    "transpose": (_transpose, frozenset(), frozenset({"axes"})),
    "select": (_select, frozenset(), frozenset()),
    "exclude": (_exclude, frozenset(), frozenset()),
    "dtype": (_dtype, frozenset(), frozenset({"only"})),
}
"""What a step can do, the keys that it needs beside its verb, and those that it may have."""
