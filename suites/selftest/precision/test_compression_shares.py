"""If these fail, what a compression of weights is said to cost is not what it costs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import mil
from harness._coremltools import import_coremltools
from harness.conversion.quiet import quiet_coremltools
from harness.conversion.recipes import PrecisionRecipe, PrecisionRule, Weights
from harness.diagnosis.profile import profile_operations
from harness.metrics import snr_db
from harness.precision.sensitivity import Probing, Sensitivity, measure_sensitivity, output_measure
from harness.precision.tuning import weight_bytes
from harness.precision.virtual import VirtualPrecision
from suites.ops.packages import write_package

_random = np.random.default_rng(7)
FILTERS = (0.1 * _random.standard_normal((48, 16, 3))).astype(np.float32)
TRANSPOSED = (0.1 * _random.standard_normal((48, 24, 2))).astype(np.float32)
MATRIX = (0.2 * _random.standard_normal((64, 40))).astype(np.float32)
LAST = (0.2 * _random.standard_normal((48, 64))).astype(np.float32)
LINEAR_DB = 0.1
"""Shares are first order; the error of four bits is large."""
TABLE = _random.standard_normal((1, 24, 100)).astype(np.float32)
BOTH = (output_measure("made"), output_measure("inner"))


def network_program() -> Any:
    """A convolution, a transposed one, a large constant and two linear layers."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    program = Program()
    with Function({"x": mb.placeholder((1, 16, 40), types.fp32)}, ct.target.iOS18) as function:
        y = mb.conv(x=function.inputs["x"], weight=FILTERS, pad_type="same", name="conv")
        y = mb.gelu(x=y, mode="EXACT", name="gelu")
        y = mb.conv_transpose(
            x=mb.slice_by_size(x=y, begin=[0, 0, 0], size=[-1, -1, 20], name="cut"),
            weight=TRANSPOSED,
            strides=[5],
            output_shape=[1, 24, 100],
            pad_type="same",
            name="up",
        )
        y = mb.add(x=y, y=TABLE, name="table")
        y = mb.slice_by_size(x=y, begin=[0, 0, 0], size=[-1, -1, 40], name="rows")
        y = mb.linear(x=y, weight=MATRIX, name="first")
        inner = mb.tanh(x=y, name="inner")
        function.set_outputs([mb.linear(x=inner, weight=LAST, name="made"), inner])
    program.add_function("main", function)
    return program


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> VirtualPrecision:
    path = tmp_path_factory.mktemp("weights") / "fp32.mlpackage"
    return VirtualPrecision(mil.load(write_package(network_program(), path)))


@pytest.fixture(scope="module")
def signal() -> dict[str, torch.Tensor]:
    return {"x": torch.from_numpy(np.random.default_rng(1).standard_normal((1, 16, 40))).float()}


def by_coremltools(fp16: bool, config: Any, path: Path) -> mil.Model:
    """Return the program as coremltools' own passes convert and compress it."""
    import_coremltools()
    from coremltools.converters.mil.mil.passes.defs.quantization import FP16ComputePrecision
    from coremltools.optimize.coreml import OpLinearQuantizerConfig, OptimizationConfig
    from coremltools.optimize.coreml._quantization_passes import (
        linear_quantize_weights,
        palettize_weights,
    )

    program = network_program()
    with quiet_coremltools():
        FP16ComputePrecision(op_selector=lambda op: fp16).apply(program)
        _fold_constants(program)
        linear = isinstance(config, OpLinearQuantizerConfig)
        run = linear_quantize_weights if linear else palettize_weights
        run(OptimizationConfig(global_config=config)).apply(program)
        return mil.load(write_package(program, path))


def _fold_constants(program: Any) -> None:
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

    for name in ("common::const_elimination", "common::dead_code_elimination"):
        PASS_REGISTRY[name](program)


@pytest.mark.parametrize("fp16", [True, False], ids=["fp16", "fp32"])
def test_int8_has_the_bits_of_coremltools_public_default(
    fp16: bool, lab: VirtualPrecision, signal: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Also along the axis of a transposed convolution, and for a constant that is added."""
    from coremltools.optimize.coreml import OpLinearQuantizerConfig

    real = by_coremltools(fp16, OpLinearQuantizerConfig(), tmp_path / "x.mlpackage")
    compressed = [o for o in real.operations if o.type == "constexpr_blockwise_shift_scale"]
    assert len(compressed) == 5
    recipe = everything("int8", "fp16" if fp16 else "fp32")
    virtual = lab.recipe_model(recipe).run(signal)
    expected = list(real.run(signal).values())
    for one, other in zip(expected, virtual.values(), strict=True):
        assert torch.equal(one, other)
    plain = lab.model(lab.by_recipe(recipe)).run(signal)
    assert not torch.equal(plain["made"], virtual["made"])


def test_the_error_of_a_compressed_weight_is_that_of_the_operation_that_reads_it(
    lab: VirtualPrecision, signal: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    from coremltools.optimize.coreml import OpLinearQuantizerConfig

    real = by_coremltools(True, OpLinearQuantizerConfig(), tmp_path / "x.mlpackage")
    profiles = {item.operation: item for item in profile_operations(lab.base, real, signal)}
    assert not any(item.type.startswith("constexpr_") for item in profiles.values())
    wide = {operation.name: "fp32" for operation in lab.operations}
    virtual = lab.model(wide, {"conv": "int8"})
    expected = lab.base.run(signal, taps=["conv"])["conv"].numpy()
    actual = virtual.run(signal, taps=["conv"])["conv"].numpy()
    local = profiles["conv"].value("local_db")
    assert local == pytest.approx(snr_db(expected, actual), abs=0.1)  # and of FP16's rounding


def everything(weights: Weights, precision: str = "fp16") -> PrecisionRecipe:
    return PrecisionRecipe("all", precision, (PrecisionRule(weights=weights, types=("*",)),))  # type: ignore[arg-type]


def shares_of(
    lab: VirtualPrecision, signal: dict[str, torch.Tensor], recipe: PrecisionRecipe, how: Probing
) -> Sensitivity:
    choice, weights = lab.by_recipe(recipe), lab.weights_by_recipe(recipe)
    cases = {"noise": signal}
    return measure_sensitivity(lab, cases, BOTH, choice=choice, weights=weights, probing=how)


@pytest.mark.parametrize("weights", ["int8", "palette4"])
def test_a_share_is_what_a_run_with_that_one_weight_compressed_has(
    weights: Weights, lab: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    """By brute force, and within what the share itself says of its uncertainty."""
    probes = 12
    wide = {operation.name: "fp32" for operation in lab.operations}
    packed = lab.weights_by_recipe(everything(weights))
    assert len(packed) == 5
    found = measure_sensitivity(
        lab,
        {"noise": signal},
        BOTH,
        choice=wide,
        weights=packed,
        probing=Probing(probes, at_once=2 * probes),
    )
    assert {share.error for share in found.operations} == {weights}
    expected = lab.base.run(signal)
    outside = []
    for share in found.operations:
        alone = lab.model(wide, {share.operation: weights}).run(signal)
        for measure in BOTH:
            truth = measure.of(expected, alone)
            if truth == 0:
                assert share.mean.get(measure.name, 0.0) == 0
                continue
            gap = 10 * math.log10(share.mean[measure.name] / truth)
            if abs(gap) > 1.96 * share.deviation_db[measure.name] + LINEAR_DB:
                outside.append((share.operation, measure.name, gap))
            assert share.deviation_db[measure.name] < 1.5
    assert outside == []


def test_the_reported_uncertainty_is_what_seeds_differ_by(
    lab: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    wide = {operation.name: "fp32" for operation in lab.operations}
    packed = lab.weights_by_recipe(everything("int8"))
    runs = [
        measure_sensitivity(
            lab, {"noise": signal}, BOTH[:1], choice=wide, weights=packed, probing=Probing(8, seed)
        )
        for seed in range(24)
    ]
    levels = np.array(
        [[10 * math.log10(s.mean["branch:made"]) for s in run.operations] for run in runs]
    )
    reported = runs[0].operations[0].deviation_db["branch:made"]
    assert 0.6 < levels.std(0, ddof=1).mean() / reported < 1.3


def test_both_errors_of_a_recipe_stand_side_by_side_and_predict_it(
    lab: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    recipe = everything("int8")
    found = shares_of(lab, signal, recipe, Probing(64, at_once=128))
    errors = [(share.operation, share.error) for share in found.operations]
    assert {name for name, error in errors if error == "int8"} == lab.weights_by_recipe(
        recipe
    ).keys()
    assert {"gelu", "conv"} <= {name for name, error in errors if error == "fp16"}
    expected, actual = lab.base.run(signal), lab.recipe_model(recipe).run(signal)
    for measure in BOTH:
        key = f"noise/{measure.name}"
        measured = -10 * math.log10(measure.of(expected, actual))
        assert found.measured_db[key] == pytest.approx(measured)
        assert abs(found.predicted_db[key] - measured) < 1.5
        total = sum(share.mean[measure.name] for share in found.operations)
        assert found.predicted_db[key] == pytest.approx(-10 * math.log10(total))
    rows = json.loads(json.dumps(found.to_dict()))["operations"]
    assert [(row["operation"], row["error"]) for row in rows] == errors


def test_a_recipe_that_compresses_nothing_has_shares_of_fp16_alone(
    lab: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    steps: list[tuple[int, int]] = []
    probing = Probing(advance=lambda done, total: steps.append((done, total)))
    found = shares_of(lab, signal, PrecisionRecipe("plain", "fp16"), probing)
    assert {share.error for share in found.operations} == {"fp16"}
    assert steps[-1][0] == steps[-1][1]


def test_weights_are_counted_as_a_package_holds_them(lab: VirtualPrecision) -> None:
    sizes = {"conv": 48 * 16 * 3, "up": 48 * 24 * 2, "table": 2400, "first": 2560, "last": 3072}
    elements = sum(sizes.values())
    channels = 48 + 24 + 1 + 64 + 48
    wide = {operation.name: "fp32" for operation in lab.operations}
    narrow = dict.fromkeys(wide, "fp16")
    biases = 4 * (weight_bytes(lab, wide, {}) // 4 - elements)
    assert weight_bytes(lab, wide, {}) == 4 * elements + biases
    for weights, expected in (
        ("int8", elements + 2 * channels),
        ("palette4", elements / 2 + 5 * 16 * 2),
        ("palette6", elements * 6 / 8 + 5 * 64 * 2),
    ):
        packed = dict.fromkeys(lab.weights_by_recipe(everything(weights)), weights)  # type: ignore[arg-type]
        assert weight_bytes(lab, narrow, packed) == math.ceil(expected + biases / 2)
