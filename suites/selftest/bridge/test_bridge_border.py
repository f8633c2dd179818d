"""Where the bridge ends: what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.mil import bridge
from suites.selftest.bridge.conftest import Convert
from suites.selftest.mil.printing import write_compiled

X = np.ones((2, 3), np.float32)
GUARDS = ("_IS_MACOS", "_is_macos", "_macos_version", "_MLModelProxy")
LATE = "coremltools.converters.mil.testing_utils"  # copies a guard when it is imported


def double(mb: Any, x: Any) -> Any:
    return mb.mul(x=x, y=np.float32(2.0), name="y")


def guards() -> dict[str, object]:
    modules = [(n, m) for n, m in sorted(sys.modules.items()) if n.startswith("coremltools")]
    return {f"{n}.{g}": vars(m)[g] for n, m in modules for g in GUARDS if g in vars(m)} | {
        name: module for name, module in modules if name.endswith("libcoremlpython")
    }


def test_nothing_is_patched_by_an_import(ct: Any) -> None:
    assert ct.utils._is_macos() is (sys.platform == "darwin")


def test_everything_is_taken_back(ct: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, LATE, raising=False)
    before = guards()
    with bridge.installed():
        assert ct.utils._is_macos()
        __import__(LATE)
        assert vars(sys.modules[LATE])["_IS_MACOS"] is True
    after = guards()
    assert {name: after[name] for name in before} == before
    assert after[f"{LATE}._IS_MACOS"] is before["coremltools._deps._IS_MACOS"]
    assert len(before) >= 6


def test_it_is_taken_back_after_an_error(ct: Any) -> None:
    before = guards()
    with pytest.raises(ZeroDivisionError), bridge.installed():
        1 / 0  # noqa: B018
    assert guards() == before


def test_installed_twice_it_counts_in_the_inner_one(convert: Convert) -> None:
    before = guards()
    with bridge.installed() as outer:
        with bridge.installed() as inner:
            convert(double).predict({"x": X})
        assert (outer.predictions, inner.predictions) == (0, 1)
        convert(double).predict({"x": X})
        assert (outer.predictions, inner.predictions) == (1, 1)
    assert guards() == before


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML answers there")
def test_without_it_predict_raises_as_ever(convert: Convert) -> None:
    with pytest.raises(Exception, match=r"macOS version 10\.13 or later"):
        convert(double).predict({"x": X})


def test_a_model_that_was_not_loaded_does_not_predict(
    ledger: bridge.Ledger, convert: Convert
) -> None:
    model = convert(double, skip_model_load=True)
    with pytest.raises(Exception, match="Cannot make predictions"):
        model.predict({"x": X})
    assert ledger.loadings == []


def test_a_neural_network_is_refused_as_core_ml_refuses(
    ledger: bridge.Ledger, convert: Convert, ct: Any
) -> None:
    with pytest.warns(RuntimeWarning, match="this model is a neuralNetwork"):
        model = convert(
            double,
            convert_to="neuralnetwork",
            compute_precision=None,
            minimum_deployment_target=ct.target.iOS14,
        )
    with pytest.raises(RuntimeError, match="only ML Programs can be run"):
        model.predict({"x": X})
    assert [loading.kind for loading in ledger.loadings] == ["neuralNetwork"]
    assert ledger.predictions == 0


def test_an_unknown_operation_is_refused_by_name(
    ledger: bridge.Ledger, convert: Convert, ct: Any
) -> None:
    sound = convert(double)
    specification = sound.get_spec()
    block = next(iter(specification.mlProgram.functions["main"].block_specializations.values()))
    next(o for o in block.operations if o.type == "mul").type = "frobnicate"
    with pytest.warns(RuntimeWarning, match="frobnicate"):
        model = ct.models.MLModel(specification, weights_dir=sound.weights_dir)
    with pytest.raises(RuntimeError, match="operation frobnicate"):
        model.predict({"x": X})
    assert "frobnicate" in ledger.loadings[-1].refusal
    assert ledger.loadings[-1].operations == {"frobnicate"}


@pytest.mark.usefixtures("ledger")
def test_a_compiled_model_runs(convert: Convert, ct: Any, tmp_path: Path) -> None:
    convert(double).save(str(tmp_path / "model.mlpackage"))
    compiled = ct.models.utils.compile_model(
        str(tmp_path / "model.mlpackage"), str(tmp_path / "model.mlmodelc")
    )
    model = ct.models.CompiledMLModel(compiled)
    np.testing.assert_array_equal(model.predict({"x": X})["y"], 2 * X)


@pytest.mark.usefixtures("ledger")
def test_a_model_that_xcode_compiled_runs(convert: Convert, ct: Any, tmp_path: Path) -> None:
    weights = np.arange(64 * 3, dtype=np.float32).reshape(64, 3)
    package = convert(lambda mb, x: mb.linear(x=x, weight=weights, name="y")).package_path
    compiled = write_compiled(Path(package), tmp_path / "model.mlmodelc")
    result = ct.models.CompiledMLModel(str(compiled)).predict({"x": X})["y"]
    np.testing.assert_array_equal(result, X @ weights.T)


TEST = """
import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_it(factor):
    @mb.program(input_specs=[mb.TensorSpec((2,))])
    def program(x):
        return mb.mul(x=x, y=np.float32(factor), name="y")
    model = ct.convert(program, convert_to="mlprogram")
    assert model.predict({"x": np.ones(2, np.float32)})["y"].tolist() == [factor, factor]
"""


@pytest.mark.exhaustive
def test_pytest_runs_under_it_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST, encoding="utf-8")
    words = ["-m", "pytest", "-n", "1", "-q", "-p", "no:cacheprovider", "test_it.py"]
    result = subprocess.run(
        [sys.executable, "-m", "harness.mil.bridge", *words],
        cwd=tmp_path,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0


def test_it_explains_itself() -> None:
    from harness.mil.bridge.__main__ import main

    with pytest.raises(SystemExit) as helped:
        main(["--help"])
    assert helped.value.code == 0
    with pytest.raises(SystemExit) as empty:
        main([])
    assert empty.value.code == 2


def _environment() -> dict[str, str]:
    import os

    import harness

    root = str(Path(harness.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return os.environ | {"PYTHONPATH": path}
