"""If these fail, there is a known bug that `parity check` passes, or a sound package that it fails.

Every fault of the catalogue that a package can have is saved as one, in FP32 and in a mixed recipe,
and must be red; every harmless rewrite of the sound packages must be green.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.faults.packaged import FaultPackager, savable_faults
from harness.verdicts import Run, Verdict
from harness.workbench import Workbench
from suites.selftest.structure.rewrites import REWRITES

pytestmark = pytest.mark.exhaustive

RECIPES = ("fp32", "mini_elementwise")
ENOUGH_FAULTS, ENOUGH_REWRITES = 60, 20

Judge = Callable[..., Run]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_known_bug_is_red(
    recipe: str, bench: Workbench, judged: Judge, tmp_path: Path
) -> None:
    packager = FaultPackager(bench, recipe)
    verdicts: dict[str, Verdict] = {}
    for fault in savable_faults():
        saved = packager.save(fault, tmp_path / f"{fault.name}.mlpackage")
        if saved.path is not None:
            verdicts[fault.name] = judged(saved.path).verdict
            shutil.rmtree(saved.path)
    assert len(verdicts) >= ENOUGH_FAULTS
    assert {name for name, verdict in verdicts.items() if verdict is not Verdict.FAIL} == set()


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_harmless_rewrite_is_green(
    recipe: str, bench: Workbench, judged: Judge, tmp_path: Path
) -> None:
    assert len(REWRITES) >= ENOUGH_REWRITES
    sound = bench.packages.path("mini", recipe)
    said = {}
    for number, (name, rewrite) in enumerate(REWRITES.items()):
        rewrite(sound, tmp_path / f"{number}.mlpackage")
        run = judged(tmp_path / f"{number}.mlpackage")
        if run.verdict is not Verdict.PASS:
            said[name] = run.sentence()
        shutil.rmtree(tmp_path / f"{number}.mlpackage")
    assert said == {}
