"""Packages: each subject and recipe converted once, whoever asks first.

Files under a folder are shared by parallel test processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from harness.conversion import (
    PrecisionRecipe,
    TracedModel,
    convert_to_coreml,
    load_recipe,
    trace_inner_model,
)
from harness.locks import file_lock
from harness.mil import load
from harness.precision.virtual import VirtualPrecision
from harness.subjects import Subject


def as_recipe(recipe: str | PrecisionRecipe) -> PrecisionRecipe:
    """Return a precision recipe, or the one of a name."""
    return recipe if isinstance(recipe, PrecisionRecipe) else load_recipe(recipe)


class Packages:
    """The packages of subjects, in one folder.

    Args:
        folder: where they are kept; it need not be there yet.
        subject: returns a subject by its name.
    """

    def __init__(self, folder: Path, subject: Callable[[str], Subject]) -> None:
        self._folder, self._subject = folder, subject
        self.path = lru_cache(maxsize=None)(self._path)
        self.trace = lru_cache(maxsize=1)(self._trace)
        self.lab = lru_cache(maxsize=1)(self._lab)

    def _path(self, subject: str, recipe: str | PrecisionRecipe, target: str = "iOS18") -> Path:
        """Return the package of a subject and a recipe, converted by the first that asks."""
        loaded, rules = self._subject(subject), as_recipe(recipe)
        rules_hash = hashlib.sha256(rules.to_toml().encode()).hexdigest()[:8]
        name = f"{loaded.fingerprint[:16]}-{rules.name}-{rules_hash}-{target}.mlpackage"
        out = self._folder / name
        self._folder.mkdir(parents=True, exist_ok=True)
        with file_lock(self._folder / f"{name}.lock"):
            if not out.exists():
                convert_to_coreml(
                    self.trace(subject),
                    recipe=rules,
                    target=target,
                    out=out,
                    subject=subject,
                    fingerprint=loaded.fingerprint,
                )
        return out

    def _trace(self, subject: str) -> TracedModel:
        return trace_inner_model(self._subject(subject).extract())

    def fp32(self, subject: str, rewrites: Sequence[str] = ()) -> Path:
        """Return the FP32 package of a subject, written in the forms ``rewrites``."""
        plain = load_recipe("fp32")
        return self.path(subject, replace(plain, rewrites=tuple(rewrites)) if rewrites else plain)

    def _lab(self, subject: str, rewrites: tuple[str, ...] = ()) -> VirtualPrecision:
        """Return the lab of a subject: of its FP32 package in the forms ``rewrites``."""
        return VirtualPrecision(load(self.fp32(subject, rewrites)))
