"""What a package remembers of the PyTorch side, in its user-defined metadata.

A saved program has no module paths. They are written into the package's metadata, which every
reader of packages carries along and Core ML ignores: a file of our own inside the package would not
be in its manifest, and one beside it would be lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.bounded import parse_json
from harness.conversion.recipes import DescribedOperation, PrecisionRecipe, parse_recipe
from harness.conversion.tap_mapping import TapLocation, TapMapping
from harness.errors import PackageError, RecipeError
from harness.mil import Model
from harness.mil.model import opened
from harness.mil.package import Package

PREFIX = "htdemucs_parity."


@dataclass(frozen=True)
class VanishedOperation:
    """An operation that had a precision, and that a later step of the conversion took out.

    In FP16 a multiplication by 1 + 1e-6 becomes one by 1 and goes; the rounding of what it read
    stays.

    Attributes:
        operation: as recipes see it.
        reads: names of the values that it read, without suffixes.
    """

    operation: DescribedOperation
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Sidecar:
    """What is known of a package's making.

    Attributes:
        recipe: the precision recipe that it was made by.
        modules: for each value of the program, the path of the PyTorch module that makes it.
        taps: where the taps are in the program.
        vanished: operations that are in no package of this recipe, though a rule may concern them.
        facts: the rest, as text: subject, fingerprint, versions, ...
    """

    recipe: PrecisionRecipe
    modules: Mapping[str, str]
    taps: TapMapping
    vanished: tuple[VanishedOperation, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """Return the entries of the user-defined metadata."""
        by_module: dict[str, list[str]] = {}
        for name, module in self.modules.items():
            by_module.setdefault(module, []).append(name)
        found = {
            name: [location.output, location.permutation]
            for name, location in self.taps.found.items()
        }
        vanished = {
            item.operation.name: [item.operation.type, item.operation.module, item.reads]
            for item in self.vanished
        }
        entries = {
            **self.facts,
            "recipe": self.recipe.name,
            "recipe_toml": self.recipe.to_toml(),
            "modules": _dump(by_module),
            "taps": _dump(found),
            "missing_taps": _dump(dict(self.taps.missing)),
            "vanished": _dump(vanished),
        }
        return {PREFIX + key: value for key, value in entries.items()}


def read_sidecar(package: str | Path | Package | Model) -> Sidecar | None:
    """Return what ``package`` remembers; None if it was not made by this project.

    Raises:
        PackageError: it is no package, or its metadata is damaged.
    """
    package = opened(package)
    metadata = {
        key.removeprefix(PREFIX): value
        for key, value in package.metadata.items()
        if key.startswith(PREFIX)
    }
    if "modules" not in metadata:
        return None
    try:
        recipe = parse_recipe(metadata.pop("recipe_toml"), "recorded recipe")
        by_module = _load_table(metadata.pop("modules"))
        taps = _load_table(metadata.pop("taps"))
        missing = _load_table(metadata.pop("missing_taps"))
        vanished = _load_table(metadata.pop("vanished"))
        return Sidecar(
            recipe=recipe,
            modules={str(name): path for path, names in by_module.items() for name in names},
            taps=TapMapping(
                {
                    name: TapLocation(str(output), order and tuple(map(int, order)))
                    for name, (output, order) in taps.items()
                },
                {name: str(reason) for name, reason in missing.items()},
            ),
            vanished=tuple(
                VanishedOperation(DescribedOperation(type_, name, module), tuple(reads))
                for name, (type_, module, reads) in vanished.items()
            ),
            facts=metadata,
        )
    except (KeyError, TypeError, ValueError, RecipeError) as error:
        raise PackageError(
            f"{package.path}: the metadata that starts with {PREFIX!r} is damaged ({error}); "
            "convert the model again"
        ) from error


def module_paths(package: str | Path | Package | Model) -> dict[str, str]:
    """Return the PyTorch module path of every value of a package's program, by name.

    Paths are spelled as the checkpoint does (``encoder.0.dconv.layers.0.3``); the network itself is
    "". Constants are left out.

    Raises:
        PackageError: it is no package, or one that has no module paths.
    """
    return dict(_sidecar(package).modules)


def tap_operations(package: str | Path | Package | Model) -> dict[str, TapLocation]:
    """Return where each tap is in a package's program; taps that are missing are left out.

    Raises:
        PackageError: it is no package, or one that records no taps.
    """
    return dict(_sidecar(package).taps.found)


def _sidecar(package: str | Path | Package | Model) -> Sidecar:
    package = opened(package)
    sidecar = read_sidecar(package)
    if sidecar is None:
        raise PackageError(
            f"{package.path} doesn't record the PyTorch modules that it was made from; "
            "packages that 'parity convert' makes do"
        )
    return sidecar


def _load_table(text: str) -> dict[str, Any]:
    table = parse_json(text)
    if not isinstance(table, dict):
        raise TypeError(f"expected a JSON object, found {type(table).__name__}")
    return table


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
