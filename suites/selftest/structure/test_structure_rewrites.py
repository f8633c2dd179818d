"""If these fail, a sound package that another tool wrote is called wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import mil
from harness.conversion import audit_package, load_recipe
from harness.mil import Model
from harness.structure import compare_programs
from harness.subjects import load_subject
from harness.workbench import Workbench, paper_checks
from suites.selftest.structure.rewrites import REWRITES

MANY = 20


@pytest.fixture(scope="module")
def predicted(narrow: Model) -> dict[str, np.ndarray]:
    return narrow.predict(_inputs(narrow))


def _inputs(model: Model) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        feature.name: (0.1 * random.standard_normal(feature.shape)).astype(np.float32)
        for feature in model.inputs
    }


@pytest.mark.parametrize("name", REWRITES)
def test_a_harmless_rewrite_is_no_difference(
    name: str,
    narrow: Model,
    narrow_path: Path,
    predicted: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    path = tmp_path / "rewritten.mlpackage"
    REWRITES[name](narrow_path, path)
    assert _content(path) != _content(narrow_path), "the rewrite rewrote nothing"
    rewritten = mil.load(path)
    found = compare_programs(narrow, rewritten)
    assert (found.verdict, found.differences) == ("pass", ())
    for output, array in rewritten.predict(_inputs(narrow)).items():
        np.testing.assert_allclose(array, predicted[output], rtol=1e-5, atol=1e-7)


def test_there_are_many_rewrites() -> None:
    assert len(REWRITES) >= MANY


def _content(package: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(package)): file.read_bytes()
        for file in sorted(package.rglob("*"))
        if file.is_file()
    }


@pytest.mark.exhaustive
@pytest.mark.parametrize("recipe", ["fp32", "mini_60db"])
def test_every_rewrite_of_the_trained_network_is_sound(
    recipe: str, workbench: Workbench, tmp_path: Path
) -> None:
    """Its program, its constants and its precision are those of the package that was rewritten."""
    source = workbench.packages.path("mini", recipe)
    expected, subject = mil.load(source), load_subject("mini")
    for number, (name, rewrite) in enumerate(REWRITES.items()):
        path = tmp_path / f"{number}.mlpackage"
        rewrite(source, path)
        rewritten = mil.load(path)
        assert compare_programs(expected, rewritten).differences == (), name
        audit = audit_package(rewritten, load_recipe(recipe))
        for check in paper_checks(rewritten, subject, audit, {}):
            assert check.verdict.value == "pass", f"{name}: {check.outcome.reason}"
