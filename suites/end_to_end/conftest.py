"""What a package makes of a case, from audio to stems: shared by the suites of this layer."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from harness.audio.contract import Geometry
from harness.audio.writers import StemWriter
from harness.golden import Golden
from harness.pytest_plugin import Recorder
from harness.workbench import Workbench


@pytest.fixture
def labels(bench: Workbench, subject: str, case: str, recipe: str, engine: str) -> dict[str, str]:
    where = {"subject": subject, "case": case, "recipe": recipe}
    return where | bench.predictions.labels(engine)


@pytest.fixture(scope="session")
def audio_file(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Write the mixture of a golden as an audio file, once."""
    folder = tmp_path_factory.mktemp("audio")

    @lru_cache
    def write(case: str, golden: Golden, geometry: Geometry) -> Path:
        with StemWriter(folder, [case], encoding="float32", geometry=geometry) as writer:
            writer.write(golden["audio"])
        return writer.paths[case]

    return write


@pytest.fixture
def actual(
    parity: Recorder,
    bench: Workbench,
    golden: Golden,
    audio_file: object,
    subject: str,
    case: str,
    recipe: str,
    engine: str,
) -> np.ndarray:
    """What the package makes of the case: stems [S, 2, n]."""
    package = bench.packages.path(subject, recipe)
    if bench.goldens.cases[case].is_file:
        assert callable(audio_file)
        audio = audio_file(case, golden, bench.goldens.subject(subject).geometry)
        stems = bench.predictions.file_stems(subject, audio, package, engine)
    else:
        stems = bench.predictions.of(subject, case, package, engine).stems
    parity.executed(engine)
    return stems
