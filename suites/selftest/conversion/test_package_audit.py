"""A package with another precision than its recipe says is found, however it came about."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness._coremltools import import_coremltools
from harness.conversion import (
    ConvertedPackage,
    TracedModel,
    audit_package,
    check_contract,
    load_recipe,
    module_paths,
    precision_map,
)
from harness.conversion.compression import compressed_pipeline
from harness.conversion.quiet import quiet_coremltools
from harness.conversion.recipes import PrecisionRecipe, PrecisionRule
from harness.conversion.sidecar import PREFIX
from harness.conversion.survey import surveyed_pipeline
from harness.errors import ContractError, PackageError
from harness.subjects import describe_subject

Converter = Callable[[PrecisionRecipe], ConvertedPackage]
FP32, FP16, MIXED = (load_recipe(name) for name in ("fp32", "fp16", "mixed"))


def edit_metadata(package: Path, out: Path, edit: Callable[[Any], None]) -> Path:
    """Copy ``package`` and edit its user-defined metadata."""
    ct = import_coremltools()
    shutil.copytree(package, out)
    file = out / "Data/com.apple.CoreML/model.mlmodel"
    spec = ct.utils.load_spec(str(file))
    edit(spec.description.metadata.userDefined)
    file.write_bytes(spec.SerializeToString())
    return out


def strange(package: Path, out: Path) -> Path:
    """Copy ``package`` without what this project records in it."""

    def clear(metadata: Any) -> None:
        for key in [key for key in metadata if key.startswith(PREFIX)]:
            del metadata[key]

    return edit_metadata(package, out, clear)


def build(out: Path, body: Callable[[Any, Any], Any]) -> Path:
    """Save the program that ``body(mb, x)`` builds from a float32 [4] input, without any pass."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb

    with quiet_coremltools():

        @mb.program(input_specs=[mb.TensorSpec(shape=(4,))], opset_version=ct.target.iOS18)  # type: ignore[untyped-decorator]
        def program(x: Any) -> Any:
            return body(mb, x)

        ct.convert(
            program,
            convert_to="mlprogram",
            pass_pipeline=ct.PassPipeline.EMPTY,
            compute_precision=ct.precision.FLOAT32,
            minimum_deployment_target=ct.target.iOS18,
            skip_model_load=True,
        ).save(str(out))
    return out


def test_all_fp16_shipped_as_mixed_is_found(convert: Converter) -> None:
    package = convert(FP16)
    audit = audit_package(package.path, MIXED)
    assert audit.verdict == "fail"
    sensitive = sum(package.precision_map[kind]["fp16"] for kind in ("sqrt", "real_div"))
    assert sensitive > 0
    wrong = [d for d in audit.differences if d.type in ("sqrt", "real_div") and d.found == "fp16"]
    assert len([d for d in wrong if d.expected == "fp32"]) == sensitive
    assert "expected fp32, found fp16" in audit.reason


@pytest.mark.parametrize("made", [FP32, FP16, MIXED], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("meant", [FP32, FP16, MIXED], ids=lambda recipe: recipe.name)
def test_a_package_passes_under_its_own_recipe_alone(
    convert: Converter, made: PrecisionRecipe, meant: PrecisionRecipe
) -> None:
    audit = audit_package(convert(made).path, meant)
    assert audit.verdict == ("pass" if made == meant else "fail")
    assert (audit.differences == ()) is (made == meant)


def test_a_passing_audit_says_which_operations_it_counted(tmp_path: Path) -> None:
    def body(mb: Any, x: Any) -> Any:
        places = mb.non_zero(x=mb.greater(x=mb.sqrt(x=x), y=np.float32(1.0)))  # bool and int32
        return mb.square(x=mb.cast(x=places, dtype="fp32"))

    audit = audit_package(build(tmp_path / "p.mlpackage", body), FP32)
    every = sum(number for types in audit.precision_map.values() for number in types.values())
    assert (audit.compared, every) == (2, 5)
    assert audit.reason == (
        "all 2 operations that a recipe decides about (they make floats; casts, states and lists "
        "are not counted) have the precision that it says"
    )


def test_a_package_of_strangers_is_audited_by_type_but_never_by_module(
    by_module: ConvertedPackage,
    fp32: ConvertedPackage,
    encoder_recipe: PrecisionRecipe,
    tmp_path: Path,
) -> None:
    package = strange(by_module.path, tmp_path / "stranger.mlpackage")
    audit = audit_package(package, encoder_recipe)
    assert audit.verdict == "not_evaluated"
    assert len(audit.unevaluated) > 0
    assert "whose PyTorch modules the package doesn't record" in audit.reason
    assert audit_package(package, FP16).verdict == "fail"
    with pytest.raises(PackageError, match="doesn't record the PyTorch modules"):
        module_paths(package)
    uniform = strange(fp32.path, tmp_path / "fp32.mlpackage")
    assert audit_package(uniform, FP32).verdict == "pass"


def test_an_unexplained_round_trip_of_strangers_is_not_evaluated(
    mixed: ConvertedPackage, tmp_path: Path
) -> None:
    """In FP16 std's correction factor is 1 and goes; only our packages record that it did."""
    audit = audit_package(strange(mixed.path, tmp_path / "stranger.mlpackage"), MIXED)
    assert audit.verdict == "not_evaluated"
    assert "casts round to fp16 and back" in audit.reason


def test_a_value_that_is_rounded_between_fp32_operations_is_found(tmp_path: Path) -> None:
    def body(mb: Any, x: Any) -> Any:
        narrow = mb.cast(x=mb.sqrt(x=x), dtype="fp16", name="narrow")
        return mb.sqrt(x=mb.cast(x=narrow, dtype="fp32"))

    package = build(tmp_path / "p.mlpackage", body)
    audit = audit_package(package, FP32)
    assert audit.verdict == "fail"
    assert [difference.operation for difference in audit.differences] == ["narrow"]
    # Under a recipe with FP16 it can't be told without a record of what conversion took out.
    sqrt_fp32 = PrecisionRecipe("s", "fp16", (PrecisionRule("fp32", types=("sqrt",)),))
    assert audit_package(package, sqrt_fp32).verdict == "not_evaluated"


def test_a_weight_that_was_stored_in_fp16_is_found(tmp_path: Path) -> None:
    def body(mb: Any, x: Any) -> Any:
        weight = mb.const(val=np.full(4, 0.1, np.float16), name="weight")
        return mb.mul(x=x, y=mb.cast(x=weight, dtype="fp32", name="widened"))

    audit = audit_package(build(tmp_path / "p.mlpackage", body), FP32)
    assert audit.verdict == "fail"
    assert [difference.operation for difference in audit.differences] == ["widened"]


def test_compressed_weights_are_found(tmp_path: Path) -> None:
    def body(mb: Any, x: Any) -> Any:
        weight = mb.constexpr_blockwise_shift_scale(
            data=np.ones(4, np.int8), scale=np.full(1, 0.1, np.float32), name="weight"
        )
        return mb.mul(x=x, y=weight)

    audit = audit_package(build(tmp_path / "p.mlpackage", body), FP32)
    assert audit.verdict == "fail"
    (difference,) = audit.differences
    assert (difference.expected, difference.found) == ("float weights as its input y", "int8 ones")


def test_an_fp32_operation_that_reads_fp16_is_found(tmp_path: Path) -> None:
    """Only a hand-made program has it: coremltools refuses mixed operand types."""
    package = build(tmp_path / "p.mlpackage", lambda mb, x: mb.sqrt(x=mb.square(x=x, name="sq")))
    ct = import_coremltools()
    file = package / "Data/com.apple.CoreML/model.mlmodel"
    spec = ct.utils.load_spec(str(file))
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    square = next(op for op in block.operations if op.type == "square")
    square.outputs[0].type.tensorType.dataType = 10  # FLOAT16 in MIL.proto
    file.write_bytes(spec.SerializeToString())
    audit = audit_package(package, FP32)
    assert [(d.type, d.expected, d.found) for d in audit.differences] == [
        ("square", "fp32", "fp16"),
        ("sqrt", "fp32 for its input x", "fp16"),
    ]


def test_a_recipe_for_another_program_is_not_evaluated(tmp_path: Path) -> None:
    package = build(tmp_path / "p.mlpackage", lambda mb, x: mb.sqrt(x=x))
    recipe = PrecisionRecipe("other", "fp32", (PrecisionRule("fp32", types=("conv",)),))
    audit = audit_package(package, recipe)
    assert audit.verdict == "not_evaluated"
    assert "nothing in it matches types: conv" in audit.reason


def test_damaged_metadata_is_an_error_and_no_silent_stranger(
    mixed: ConvertedPackage, tmp_path: Path
) -> None:
    def damage(metadata: Any) -> None:
        metadata[PREFIX + "modules"] = '["no table"]'

    package = edit_metadata(mixed.path, tmp_path / "p.mlpackage", damage)
    with pytest.raises(PackageError, match=r"metadata that starts with 'htdemucs_parity\.'"):
        audit_package(package, MIXED)


def test_the_precision_map_counts_every_operation(mixed: ConvertedPackage) -> None:
    counts = precision_map(mixed.path)
    assert counts == mixed.precision_map
    assert set(counts["sqrt"]) == {"fp32"}
    assert set(counts["conv"]) == {"fp16"}
    assert set(counts["cast"]) == {"fp16", "fp32"}


def test_a_package_with_other_outputs_breaks_the_contract(
    fp32: ConvertedPackage, traced: TracedModel
) -> None:
    interface = traced.interface
    six = replace(interface, outputs={n: (1, 6, *s[2:]) for n, s in interface.outputs.items()})
    with pytest.raises(ContractError, match=r"outputs freq fp32\[1, 3, .*expected freq fp32\[1, 6"):
        check_contract(fp32.path, six)
    with pytest.raises(ContractError, match=r"inputs audio .*expected audio fp32\[1, 2, 343980\]"):
        check_contract(fp32.path, describe_subject("htdemucs@seeded").interface)


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="does not exist"):
        audit_package(tmp_path / "absent.mlpackage", FP32)


def branch_in_a_loop(mb: Any, x: Any, *, narrow: bool) -> Any:
    """A loop whose branches multiply; with a multiplication in FP16 in one of them."""

    def halved(value: Any) -> Any:
        if not narrow:
            return mb.mul(x=value, y=np.float32(0.5))
        half = mb.cast(x=value, dtype="fp16")
        return mb.cast(x=mb.mul(x=half, y=np.float16(0.5), name="inner"), dtype="fp32")

    def one_round(count: Any, value: Any) -> Any:
        positive = mb.greater(x=mb.reduce_sum(x=value, keep_dims=False), y=np.float32(0))
        changed = mb.cond(
            pred=positive,
            _true_fn=lambda: halved(value),
            _false_fn=lambda: mb.mul(x=value, y=np.float32(-1)),
        )
        return mb.add(x=count, y=np.int32(1)), changed

    return mb.while_loop(
        _cond=lambda count, value: mb.less(x=count, y=np.int32(3)),
        _body=one_round,
        loop_vars=(np.int32(0), x),
    )[1]


def test_operations_of_branches_and_loops_count(tmp_path: Path) -> None:
    """They compute at their declared precision; a loop and a branch only pass values on."""
    package = build(
        tmp_path / "flow.mlpackage", lambda mb, x: branch_in_a_loop(mb, x, narrow=False)
    )
    audit = audit_package(package, FP32)
    assert (audit.verdict, audit.compared) == ("pass", 3)  # reduce_sum and two mul
    assert audit.precision_map["mul"] == {"fp32": 2}
    assert set(audit.precision_map) >= {"while_loop", "cond", "less"}


def test_an_fp16_operation_inside_a_branch_is_found(tmp_path: Path) -> None:
    package = build(tmp_path / "flow.mlpackage", lambda mb, x: branch_in_a_loop(mb, x, narrow=True))
    audit = audit_package(package, FP32)
    assert audit.verdict == "fail"
    assert ("inner", "fp32", "fp16") in {
        (d.operation, d.expected, d.found) for d in audit.differences
    }


def test_a_rounding_inside_a_branch_is_found(tmp_path: Path) -> None:
    """What is rounded to FP16 and back in a block is no block's result of its own."""

    def body(mb: Any, x: Any) -> Any:
        return mb.cond(
            pred=mb.greater(x=mb.reduce_sum(x=x, keep_dims=False), y=np.float32(0)),
            _true_fn=lambda: mb.cast(x=mb.cast(x=x, dtype="fp16", name="rounded"), dtype="fp32"),
            _false_fn=lambda: mb.mul(x=x, y=np.float32(2)),
        )

    audit = audit_package(build(tmp_path / "round.mlpackage", body), FP32)
    assert [difference.operation for difference in audit.differences] == ["rounded"]


def test_a_conversion_surveys_and_compresses_inside_branches(tmp_path: Path) -> None:
    """A recipe's rules and its storage of weights reach the operations of inner blocks."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb

    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    seen: list[str] = []

    with quiet_coremltools():

        @mb.program(input_specs=[mb.TensorSpec(shape=(1, 64))], opset_version=ct.target.iOS18)  # type: ignore[untyped-decorator]
        def program(x: Any) -> Any:
            return mb.cond(
                pred=mb.greater(x=mb.reduce_sum(x=x, keep_dims=False), y=np.float32(0)),
                _true_fn=lambda: mb.linear(x=x, weight=weight),
                _false_fn=lambda: mb.mul(x=x, y=np.float32(2)),
            )

        pipeline = surveyed_pipeline(lambda found: seen.extend(o.op_type for o in found))
        ct.convert(
            program,
            convert_to="mlprogram",
            pass_pipeline=compressed_pipeline(pipeline, lambda operation: "int8"),
            compute_precision=ct.precision.FLOAT32,
            minimum_deployment_target=ct.target.iOS18,
            skip_model_load=True,
        ).save(str(tmp_path / "int8.mlpackage"))
    assert {"linear", "mul", "cond"} <= set(seen)
    recipe = PrecisionRecipe(
        "int8-linear", "fp32", (PrecisionRule("fp32", types=("linear",), weights="int8"),)
    )
    audit = audit_package(tmp_path / "int8.mlpackage", recipe)
    assert (audit.verdict, audit.compressed) == ("pass", 1)
