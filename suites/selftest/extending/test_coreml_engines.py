"""If these fail, a Mac is asked about another compute unit than the one that was named.

Core ML is not here: under the bridge coremltools predicts with the executor, so what is tried is
what the engines ask of coremltools, and not what a device answers.
"""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

from harness import mil
from harness._coremltools import import_coremltools
from harness.engines import availability, open_engine
from harness.errors import EngineUnavailableError, ParityError
from harness.mil import bridge
from harness.mil.saving import save_package
from suites.ops.packages import write_package

UNITS = {
    "coreml": "CPU_AND_NE",
    "coreml-cpu": "CPU_ONLY",
    "coreml-gpu": "CPU_AND_GPU",
    "coreml-all": "ALL",
}


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "mac_ver", lambda: ("26.0", ("", "", ""), "arm64"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    program = Program()
    with Function({"x": mb.placeholder((2, 8), types.fp32)}, ct.target.iOS18) as function:
        function.set_outputs([mb.gelu(x=function.inputs["x"], mode="EXACT", name="y")])
    program.add_function("main", function)
    folder = tmp_path_factory.mktemp("coreml")
    model, path = mil.load(write_package(program, folder / "a.mlpackage")), folder / "p.mlpackage"
    save_package(path, model.plan.function, model.package.constants.array)
    return path


@pytest.mark.parametrize(("name", "unit"), UNITS.items())
def test_each_engine_asks_for_its_own_compute_unit(
    name: str, unit: str, package: Path, mac: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.linspace(-3, 3, 16, dtype=np.float32).reshape(2, 8)
    with bridge.installed():
        ct, asked = import_coremltools(), []
        load = ct.models.MLModel

        def noted(path: str, compute_units: object) -> object:
            asked.append(compute_units)
            return load(path, compute_units=compute_units)

        monkeypatch.setattr(ct.models, "MLModel", noted)
        session = open_engine(name, package)
        given = {"x": x}
        made = session.predict(given)
        with pytest.raises(ParityError, match=f"engine '{name}' can't show taps"):
            session.predict(given, taps=["y"])
    assert asked == [ct.ComputeUnit[unit]]
    assert given["x"] is x  # coremltools replaces entries of what it is given
    expected = open_engine("mil", package).predict({"x": x})
    assert np.array_equal(made["y"], expected["y"])


@pytest.mark.parametrize("name", UNITS)
def test_without_a_mac_none_is_there(
    name: str, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert not availability(name).available
    with pytest.raises(EngineUnavailableError, match="runs on macOS only"):
        open_engine(name, package)
