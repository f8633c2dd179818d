"""A package's weights are stored as its recipe says, or an audit names what is stored otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness import mil
from harness._coremltools import import_coremltools
from harness.conversion import (
    ConvertedPackage,
    TracedModel,
    audit_package,
    compression,
    convert_to_coreml,
    load_recipe,
    read_sidecar,
)
from harness.conversion.compression import channel_axis, compress
from harness.conversion.quiet import quiet_coremltools
from harness.conversion.recipes import DescribedOperation, PrecisionRecipe, PrecisionRule, Weights
from harness.errors import NotEvaluatedError, RecipeError
from harness.precision.virtual import VirtualPrecision
from suites.ops.packages import write_package

_random = np.random.default_rng(0)
FILTERS = _random.standard_normal((48, 24, 2)).astype(np.float32)
TRANSPOSED = _random.standard_normal((48, 24, 2)).astype(np.float32)
MATRIX = _random.standard_normal((48, 48)).astype(np.float32)
OTHER = _random.standard_normal((48, 48)).astype(np.float32)
SMALL = _random.standard_normal((32, 64)).astype(np.float32)
"""2,048 elements: as many as coremltools leaves alone."""


def program(target: str = "iOS18") -> Any:
    """Two convolutions and three linear layers, one of them too small to be compressed."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    made = Program()
    placeholders = {"x": mb.placeholder((1, 24, 48), types.fp32)}
    with Function(placeholders, opset_version=ct.target[target]) as function:
        y = mb.conv(x=function.inputs["x"], weight=FILTERS, pad_type="same", name="conv")
        y = mb.conv_transpose(x=y, weight=TRANSPOSED, pad_type="same", name="up")
        y = mb.linear(x=y, weight=MATRIX, name="first")
        y = mb.linear(x=y, weight=OTHER, name="second")
        y = mb.concat(values=[y, y], axis=2, name="both")
        y = mb.slice_by_size(x=y, begin=[0, 0, 0], size=[-1, -1, 64], name="cut")
        function.set_outputs([mb.linear(x=y, weight=SMALL, name="small")])
    made.add_function("main", function)
    return made


def by_coremltools(path: Path, target: str = "iOS18", **by_name: Any) -> Path:
    """Write the program as coremltools' public configuration compresses it; ``rest`` is global."""
    import_coremltools()
    from coremltools.optimize.coreml import OpLinearQuantizerConfig, OptimizationConfig
    from coremltools.optimize.coreml._quantization_passes import (
        linear_quantize_weights,
        palettize_weights,
    )

    made = program(target)
    with quiet_coremltools():
        for name, config in by_name.items():
            linear = isinstance(config, OpLinearQuantizerConfig)
            run = linear_quantize_weights if linear else palettize_weights
            chosen = (
                {"global_config": config} if name == "rest" else {"op_name_configs": {name: config}}
            )
            run(OptimizationConfig(**chosen)).apply(made)
    return write_package(made, path)


def linear(**options: Any) -> Any:
    import_coremltools()
    from coremltools.optimize.coreml import OpLinearQuantizerConfig

    return OpLinearQuantizerConfig(**options)


def palette(bits: int, **options: Any) -> Any:
    """Tables of evenly spaced values: stored as those of k-means are, and sooner made."""
    import_coremltools()
    from coremltools.optimize.coreml import OpPalettizerConfig

    return OpPalettizerConfig(nbits=bits, mode="uniform", **options)


def recipe(*rules: PrecisionRule) -> PrecisionRecipe:
    return PrecisionRecipe("any", "fp32", rules)


EVERYTHING = PrecisionRule(weights="int8", types=("*",))


@pytest.mark.parametrize("target", ["iOS17", "iOS18"])
def test_what_coremltools_does_by_default_passes_as_int8(target: str, tmp_path: Path) -> None:
    audit = audit_package(
        by_coremltools(tmp_path / "p.mlpackage", target, rest=linear()), recipe(EVERYTHING)
    )
    assert (audit.verdict, audit.compressed) == ("pass", 4), audit.reason
    assert [count.matched for count in audit.rules] == [4]
    assert "4 of them with compressed weights" in audit.reason


@pytest.mark.parametrize("target", ["iOS17", "iOS18"])
@pytest.mark.parametrize("bits", [8, 6, 4])
def test_a_palette_passes_as_one_of_its_bits_alone(bits: int, target: str, tmp_path: Path) -> None:
    package = by_coremltools(tmp_path / "p.mlpackage", target, rest=palette(bits))
    for other in (8, 6, 4):
        rule = PrecisionRule(weights=f"palette{other}", types=("*",))  # type: ignore[arg-type]
        audit = audit_package(package, recipe(rule))
        assert audit.verdict == ("pass" if other == bits else "fail")
        assert len(audit.differences) == (0 if other == bits else 4)


def test_a_weight_that_is_not_compressed_or_should_not_be_is_named(tmp_path: Path) -> None:
    package = by_coremltools(tmp_path / "p.mlpackage", conv=linear(), first=palette(4))
    audit = audit_package(
        package,
        recipe(
            PrecisionRule(weights="int8", types=("conv*",)),
            PrecisionRule(weights="palette4", names=("second",)),
        ),
    )
    assert [(d.operation, d.expected, d.found) for d in audit.differences] == [
        ("up", "int8 weights as its input weight", "float ones"),
        ("first", "float weights as its input weight", "palette4 ones"),
        ("second", "palette4 weights as its input weight", "float ones"),
    ]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (lambda: linear(mode="linear"), "compressed for constexpr_blockwise_shift_scale"),
        (lambda: linear(dtype="uint8"), "compressed for constexpr_blockwise_shift_scale"),
        (lambda: linear(dtype="int4"), "compressed for constexpr_blockwise_shift_scale"),
        (
            lambda: linear(granularity="per_block", block_size=8),
            "compressed for constexpr_blockwise_shift_scale",
        ),
        (
            lambda: palette(4, granularity="per_grouped_channel", group_size=8),
            "compressed for constexpr_lut_to_dense",
        ),
        (lambda: palette(2), "palette2"),
    ],
    ids=["shifted", "unsigned", "int4", "blocks", "groups", "palette2"],
)
def test_another_compression_than_recipes_know_is_never_taken_for_one(
    config: Callable[[], Any], found: str, tmp_path: Path
) -> None:
    package = by_coremltools(tmp_path / "p.mlpackage", first=config())
    for weights in ("float", "int8", "palette4"):
        audit = audit_package(package, recipe(PrecisionRule(weights=weights, names=("first",))))
        assert [difference.found for difference in audit.differences] == [f"{found} ones"]


def test_a_compressed_bias_is_seen_though_recipes_have_no_say_in_it(tmp_path: Path) -> None:
    def body(mb: Any, x: Any) -> Any:
        bias = mb.constexpr_blockwise_shift_scale(
            data=np.ones(48, np.int8), scale=np.full(1, 0.1, np.float32), name="bias"
        )
        return mb.linear(x=x, weight=MATRIX, bias=bias, name="first")

    audit = audit_package(small_package(tmp_path, body), recipe())
    assert [str(d) for d in audit.differences] == [
        "linear first: expected float weights as its input bias, found int8 ones"
    ]


def test_a_table_that_is_itself_compressed_is_seen(tmp_path: Path) -> None:
    def body(mb: Any, x: Any) -> Any:
        import_coremltools()
        from coremltools.converters.mil.mil.types import np_uint4_dtype

        table = mb.constexpr_blockwise_shift_scale(
            data=np.arange(16, dtype=np.int8).reshape(1, 1, 16, 1),
            scale=np.full((1, 1, 1, 1), 0.1, np.float32),
            name="table",
        )
        indices = _random.integers(0, 16, (48, 48)).astype(np.uint8).astype(np_uint4_dtype)
        weight = mb.constexpr_lut_to_dense(indices=indices, lut=table, name="weight")
        return mb.linear(x=x, weight=weight, name="first")

    audit = audit_package(
        small_package(tmp_path, body), recipe(PrecisionRule(weights="palette4", names=("first",)))
    )
    assert [difference.operation for difference in audit.differences] == ["table", "first"]


def small_package(folder: Path, body: Callable[[Any, Any], Any]) -> Path:
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    made = Program()
    placeholders = {"x": mb.placeholder((2, 48), types.fp32)}
    with Function(placeholders, opset_version=ct.target.iOS18) as function:
        function.set_outputs([body(mb, function.inputs["x"])])
    made.add_function("main", function)
    return write_package(made, folder / "p.mlpackage")


def test_conversion_compresses_what_the_recipe_says_and_counts_it(packed: ConvertedPackage) -> None:
    assert (packed.audit.verdict, packed.audit.differences) == ("pass", ())
    everything, convolutions, embedding, _ = packed.rules
    found = packed.precision_map
    assert found["constexpr_blockwise_shift_scale"]["fp32"] >= 1  # beside FP32 weights as FP32
    assert found["constexpr_lut_to_dense"]["fp16"] == everything.decided
    assert embedding.decided == 1
    decided = everything.decided + convolutions.decided + embedding.decided
    assert decided == everything.matched
    assert packed.audit.compressed == everything.matched - embedding.decided
    assert [count.matched for count in packed.audit.rules] == [c.matched for c in packed.rules]


def test_a_virtual_run_has_the_bits_of_the_package(
    packed: ConvertedPackage, wide_trace: TracedModel, target_path: Path
) -> None:
    """In FP16 and FP32, as integers, tables and floats: nothing has to be converted to know."""
    convert_to_coreml(wide_trace, recipe=load_recipe("fp32"), out=target_path, subject="wide")
    recorded = read_sidecar(packed.path)
    assert recorded is not None
    generator = torch.Generator().manual_seed(3)
    shapes = wide_trace.interface.inputs
    inputs = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    lab = VirtualPrecision(mil.load(target_path))
    virtual = lab.recipe_model(recorded.recipe).run(inputs)
    for name, value in mil.load(packed.path).run(inputs).items():
        assert torch.equal(value, virtual[name])


def test_a_package_of_another_recipe_fails(packed: ConvertedPackage) -> None:
    for name in ("fp16", "int8", "palette4"):
        assert audit_package(packed.path, load_recipe(name)).verdict == "fail"


def test_weights_by_module_of_a_package_without_modules_are_not_evaluated(
    packed: ConvertedPackage,
) -> None:
    model = mil.load(packed.path)
    stranger = replace(model.package, metadata={})
    sidecar = read_sidecar(model)
    assert sidecar is not None
    audit = audit_package(stranger, sidecar.recipe)
    assert audit.verdict == "not_evaluated"
    assert "rules by module may concern" in audit.reason


def test_a_target_that_cannot_hold_compressed_weights_is_refused(
    traced: TracedModel, target_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"'int8' compresses weights.*iOS15.*take iOS16"):
        convert_to_coreml(
            traced, recipe=load_recipe("int8"), out=target_path, subject="tiny", target="iOS15"
        )
    assert not target_path.exists()


def test_one_constant_can_not_be_stored_in_two_ways() -> None:
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, types

    with Function({"x": mb.placeholder((2, 48), types.fp32)}, ct.target.iOS18) as function:
        matrix = mb.const(val=MATRIX, name="matrix")
        first = mb.linear(x=function.inputs["x"], weight=matrix, name="first")
        function.set_outputs([mb.linear(x=first, weight=matrix, name="second")])

    shared = SimpleNamespace(functions={"main": function})

    def decide(operation: Any) -> Weights:
        return "int8" if operation.name == "first" else "palette4"

    with pytest.raises(RecipeError, match=r"'first' and 'second' read the same constant 'matrix'"):
        compression._chosen(shared, decide)
    assert compression._chosen(shared, lambda operation: "int8") == {"matrix": "int8"}


def test_what_is_not_finite_is_not_compressed() -> None:
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, types

    mask = np.triu(np.full((48, 48), -np.inf, np.float32), 1)
    with Function({"x": mb.placeholder((48, 48), types.fp32)}, ct.target.iOS18) as function:
        masked = mb.add(x=function.inputs["x"], y=mb.const(val=mask, name="mask"), name="masked")
        function.set_outputs([masked])
    program = SimpleNamespace(functions={"main": function})
    with pytest.raises(RecipeError, match=r"constant 'mask' of operation 'masked' holds inf"):
        compression._chosen(program, lambda operation: "palette4")
    assert compression._chosen(program, lambda operation: "float") == {}
    with pytest.raises(RecipeError, match="holds infinities"):
        compress(mask, "int8", 0)


def test_a_rule_on_weights_matches_nothing_that_has_none() -> None:
    rule = PrecisionRule(weights="int8", types=("*",))
    assert rule.matching(DescribedOperation("add", "a", "")) == ()
    assert rule.matching(DescribedOperation("conv", "c", "", has_weights=True)) == ("types: *",)
    both = PrecisionRule("fp32", weights="int8", types=("add",))
    assert both.matching(DescribedOperation("add", "a", "")) == ("types: add",)
    assert str(rule) == "int8 weights for types *"
    assert str(both) == "fp32, int8 weights for types add"


weights = arrays.arrays(
    st.sampled_from([np.float16, np.float32]),
    arrays.array_shapes(min_dims=2, max_dims=3, max_side=5),
    elements=st.floats(-8, 8, width=16).map(lambda x: round(x, 2)),
)


@settings(max_examples=60)
@given(weights, st.integers(0, 1))
def test_int8_is_a_multiple_of_the_scale_of_its_channel(array: np.ndarray, axis: int) -> None:
    packed = compress(array, "int8", axis)
    assert packed.dtype == array.dtype
    rest = tuple(i for i in range(array.ndim) if i != axis)
    peak = np.abs(array.astype(np.float64)).max(rest, keepdims=True)
    step = peak / 127
    slack = 2.0**-9 * peak if array.dtype == np.float16 else 1e-6 * peak
    assert (np.abs(packed.astype(np.float64) - array) <= step / 2 + slack).all()
    multiples = packed.astype(np.float64) / np.where(step == 0, 1, step)
    assert (np.abs(multiples - np.rint(multiples)) <= 127 * 2.0**-9).all()


@settings(max_examples=60)
@given(weights, st.sampled_from(["palette4", "palette6", "palette8"]))
def test_a_palette_has_no_more_values_than_its_bits_allow(array: np.ndarray, kind: Weights) -> None:
    packed = compress(array, kind, 0)
    distinct = np.unique(packed)
    assert packed.dtype == array.dtype
    assert len(distinct) <= 2 ** compression.PALETTE_BITS[kind]
    if len(np.unique(array.astype(np.float16))) <= 2 ** compression.PALETTE_BITS[kind]:
        assert np.array_equal(packed, array.astype(np.float16).astype(array.dtype))


@pytest.mark.parametrize("bits", [4, 6])
def test_k_means_is_that_of_coremltools_where_it_has_one_answer(bits: int) -> None:
    """coremltools solves large tensors exactly itself, with no randomness to differ in."""
    import_coremltools()
    from coremltools.optimize.coreml._quantization_passes import palettize_weights

    array = _random.standard_normal((100, 100)).astype(np.float16)
    theirs = palettize_weights.blockwise_compress(array, "KMEANS", bits, [0, 0])
    ours = compress(array, f"palette{bits}", 0)  # type: ignore[arg-type]
    assert np.array_equal(ours, palettize_weights.decompress(theirs))


def test_the_output_channels_of_a_matrix_product_are_not_guessed() -> None:
    operation = mil.program.make_operation(
        "matmul", {}, (), {}, mil.program.Location("main", 0), ()
    )
    with pytest.raises(RecipeError, match="'float', or a palette"):
        channel_axis(operation)


def test_without_coremltools_compressing_is_not_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise ModuleNotFoundError("No module named 'coremltools'")

    monkeypatch.setattr(compression, "import_coremltools", absent)
    with pytest.raises(NotEvaluatedError, match="pip install coremltools"):
        compress(MATRIX, "int8", 0)
    assert compress(MATRIX, "float", 0) is MATRIX
