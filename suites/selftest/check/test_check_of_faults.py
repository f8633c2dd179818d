"""If these fail, there is a known bug that `parity check` passes, or a sound package that it fails.

Every fault of the catalogue that a package can have is saved as one, in FP32 and in a mixed recipe,
and must be red; every harmless rewrite of the sound packages must be green.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.verdicts import Run, Verdict
from harness.workbench import Workbench
from suites.selftest.check.faulty_packages import FaultPackager, savable_faults
from suites.selftest.structure.rewrites import REWRITES

pytestmark = pytest.mark.exhaustive

RECIPES = ("fp32", "mini_elementwise")
FAULTS = {fault.name: fault for fault in savable_faults()}
ENOUGH_FAULTS, ENOUGH_REWRITES = 60, 20
BUGS = [
    (name, recipe)
    for name, fault in FAULTS.items()
    for recipe in RECIPES
    if recipe == "fp32" or fault.judge != "package"  # that is one of what is shipped as FP32
]

Judge = Callable[..., Run]


def test_enough_is_tried() -> None:
    assert len(FAULTS) >= ENOUGH_FAULTS
    assert len(REWRITES) >= ENOUGH_REWRITES


@pytest.mark.parametrize(("name", "recipe"), BUGS)
def test_a_known_bug_is_red(
    name: str, recipe: str, bench: Workbench, judged: Judge, tmp_path: Path
) -> None:
    saved = FaultPackager(bench, recipe).save(FAULTS[name], tmp_path / "x.mlpackage")
    if saved.path is None:  # a recipe that names operations refuses a network that lacks them
        assert recipe != "fp32", saved.reason
        assert saved.reason.startswith("RecipeError"), saved.reason
        return
    run = judged(saved.path)
    shutil.rmtree(saved.path)
    assert run.verdict is Verdict.FAIL, run.sentence()


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", REWRITES)
def test_a_harmless_rewrite_is_green(
    name: str, recipe: str, bench: Workbench, judged: Judge, tmp_path: Path
) -> None:
    REWRITES[name](bench.packages.path("mini", recipe), tmp_path / "x.mlpackage")
    run = judged(tmp_path / "x.mlpackage")
    shutil.rmtree(tmp_path / "x.mlpackage")
    assert run.verdict is Verdict.PASS, run.sentence()
