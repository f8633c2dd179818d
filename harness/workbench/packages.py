"""Packages: each subject and recipe converted once, whoever asks first.

Files under a folder are shared by parallel test processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from harness.conversion import (
    PrecisionRecipe,
    TracedModel,
    convert_to_coreml,
    load_recipe,
    trace_inner_model,
)
from harness.locks import file_lock
from harness.mil import functional, load
from harness.precision.sweep import content_key
from harness.precision.virtual import VirtualPrecision
from harness.store import Store, pack_folder
from harness.subjects import Subject
from harness.workbench.stored import fetched

PACKAGE_ROOMS: Final = ("conversion", "devices", "mil", "rewriting", "subjects", "audio")
"""The rooms whose code decides what is in a package."""


def as_recipe(recipe: str | PrecisionRecipe) -> PrecisionRecipe:
    """Return a precision recipe, or the one of a name."""
    return recipe if isinstance(recipe, PrecisionRecipe) else load_recipe(recipe)


class Packages:
    """The packages of subjects, in one folder.

    Args:
        folder: where they are kept; it need not be there yet.
        subject: returns a subject by its name.
        store: where packages of other machines are, and ours go.
    """

    def __init__(
        self, folder: Path, subject: Callable[[str], Subject], store: Store | None = None
    ) -> None:
        self._folder, self._subject, self._store = folder, subject, store
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
                self._make(out, subject, rules, target)
        return out

    def key(self, subject: str, recipe: str | PrecisionRecipe, target: str = "iOS18") -> str:
        """Return what names in a store the package that this installation makes of weights."""
        made_of = self._subject(subject).fingerprint, as_recipe(recipe).to_toml(), target
        return content_key("package", *made_of, rooms=PACKAGE_ROOMS)

    def _make(self, out: Path, subject: str, rules: PrecisionRecipe, target: str) -> None:
        """Fetch a package, or convert and keep it."""
        key = self.key(subject, rules, target)
        if self._store is not None and fetched(self._store, key, out):
            _mark_of(out).touch()
            return
        convert_to_coreml(
            self.trace(subject),
            recipe=rules,
            target=target,
            out=out,
            subject=subject,
            fingerprint=self._subject(subject).fingerprint,
        )
        if self._store is not None:
            self._store.keep("packages", key, pack_folder(out))

    def is_reused(self, package: Path) -> bool:
        """Return whether a package came from the store, whichever process asked for it."""
        return _mark_of(package).exists()

    def _trace(self, subject: str) -> TracedModel:
        return trace_inner_model(self._subject(subject).extract())

    def fp32(self, subject: str, rewrites: Sequence[str] = ()) -> Path:
        """Return the FP32 package of a subject, written in the forms ``rewrites``."""
        plain = load_recipe("fp32")
        return self.path(subject, replace(plain, rewrites=tuple(rewrites)) if rewrites else plain)

    def _lab(self, subject: str, rewrites: tuple[str, ...] = ()) -> VirtualPrecision:
        """Return the lab of a subject: of its FP32 package in the forms ``rewrites``."""
        return VirtualPrecision(functional(load(self.fp32(subject, rewrites))))


def _mark_of(package: Path) -> Path:
    return package.with_suffix(".reused")
