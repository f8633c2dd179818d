"""No false errors: programs that are known to be right, or that Core ML's own tests run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness._coremltools import import_coremltools
from harness.conversion import (
    convert_to_coreml,
    load_recipe,
    read_sidecar,
    trace_inner_model,
)
from harness.lint import Severity, lint_package
from harness.subjects import extract_inner_model, load_subject
from suites.ops.cases import all_cases
from suites.ops.packages import build_program, write_package
from suites.selftest.mil.converting import converted
from suites.selftest.mil.models import Enhancer, ImageNetwork, Iterated, OpenUnmix, live

CASES = [case for case in all_cases() if case.opset == "iOS18"]
REFUSED = {"pad_replicate": "pad_of_other_axes"}
"""Cases of what the executor computes and Core ML refuses."""


def errors(package):
    return [f for f in lint_package(package) if f.severity is Severity.ERROR]


def lint_case(case, dtype, path):
    found = {finding.rule for finding in errors(write_package(build_program(case, dtype), path))}
    assert found == {REFUSED[case.id]} if case.id in REFUSED else not found, f"{case.id}: {found}"


@pytest.mark.parametrize("start", range(4))
def test_a_sample_of_operations_is_without_errors(tmp_path, start):
    for number, case in enumerate(CASES[start::16]):
        lint_case(case, case.dtypes[-1], tmp_path / f"{number}.mlpackage")


@pytest.mark.exhaustive
def test_every_operation_is_without_errors(tmp_path):
    for number, case in enumerate(CASES):
        for dtype in case.dtypes:
            lint_case(case, dtype, tmp_path / f"{number}{dtype}.mlpackage")


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.exhaustive
@pytest.mark.parametrize("precision", ["FLOAT32", "FLOAT16"])
@pytest.mark.parametrize("target", ["iOS15", "iOS17", "iOS18"])
def test_converted_models_are_without_errors(tmp_path, precision, target):
    ct = import_coremltools()
    options = {
        "compute_precision": ct.precision[precision],
        "minimum_deployment_target": ct.target[target],
    }
    models = {
        "recurrent": (OpenUnmix(), noise(12, 1, 2, 65).abs(), False),
        "image": (ImageNetwork(), noise(1, 3, 64, 48), False),
        "loop": (Iterated(), noise(1, 6), True),
        "waveform": (Enhancer(), noise(1, 1, 64), False),
    }
    for name, (module, example, script) in models.items():
        inputs = [ct.TensorType("x", shape=tuple(example.shape), dtype=np.float32)]
        path = tmp_path / f"{name}.mlpackage"
        converted(path, live(module), inputs, example, script=script, **options)
        assert not [str(error) for error in errors(path)], name


@pytest.mark.exhaustive
@pytest.mark.parametrize("recipe", ["fp32", "fp16", "mini_60db", "int8"])
def test_mini_is_without_errors(tmp_path, recipe):
    loaded = load_subject("mini")
    made = convert_to_coreml(
        trace_inner_model(extract_inner_model(loaded.model)),
        recipe=load_recipe(recipe),
        out=tmp_path / "mini.mlpackage",
        subject=loaded.name,
        fingerprint=loaded.fingerprint,
    )
    sidecar = read_sidecar(made.path)
    assert sidecar is not None
    found = lint_package(made.path, modules=sidecar.modules)
    assert not [str(finding) for finding in found if finding.severity is Severity.ERROR]
    rules = {finding.rule for finding in found}
    assert rules == (set() if recipe == "fp32" else {"epsilon_subnormal"})
    assert all(finding.module for finding in found)
