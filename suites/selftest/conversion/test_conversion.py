"""A conversion writes the package that its recipe describes, whole, or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder

from harness import mil
from harness.conversion import (
    ConvertedPackage,
    TracedModel,
    check_contract,
    convert_to_coreml,
    load_recipe,
    module_paths,
    read_sidecar,
    tap_operations,
)
from harness.conversion.recipes import PrecisionRecipe, PrecisionRule
from harness.conversion.survey import base_name
from harness.errors import PackageError, RecipeError, UnknownNameError
from harness.lint import Severity, lint_package
from harness.mil.package import open_package
from harness.subjects import run_extracted
from harness.subjects.surgery import FullHybridHTDemucs

Converter = Callable[[PrecisionRecipe], ConvertedPackage]


def names(package: Path) -> set[str]:
    """Return the names that recipes use for the operations of a package, without casts."""
    return {
        base_name(operation.name, [variable.name for variable in operation.outputs])
        for operation in mil.load(package).operations
        if operation.type != "cast"
    }


def test_the_package_keeps_the_model_contract(
    shipped: ConvertedPackage, traced: TracedModel
) -> None:
    check_contract(shipped.path, traced.interface)
    assert shipped.size_bytes == sum(
        file.stat().st_size for file in shipped.path.rglob("*") if file.is_file()
    )


def test_every_operation_has_the_precision_of_the_recipe(shipped: ConvertedPackage) -> None:
    assert shipped.audit.differences == ()
    assert shipped.audit.verdict == "pass"
    assert shipped.audit.compared > 300


def test_types_and_precisions_are_those_of_the_recipe(convert: Converter) -> None:
    """An oracle apart from the audit: the declared types, read type by type."""
    fp32_types = {"sqrt", "real_div", "reduce_mean"}
    for operation in mil.load(convert(load_recipe("mixed")).path).operations:
        if operation.type != "cast":
            expected = "fp32" if operation.type in fp32_types else "fp16"
            assert str(operation.dtype) == expected, operation
    fp32 = convert(load_recipe("fp32")).precision_map
    assert {dtype for by_type in fp32.values() for dtype in by_type} == {"fp32"}
    assert "cast" not in fp32


def test_a_rule_by_module_reaches_that_module_alone(by_module: ConvertedPackage) -> None:
    paths = module_paths(by_module.path)
    model = mil.load(by_module.path)
    fp32 = {
        (paths[operation.outputs[0].name], operation.type)
        for operation in model.operations
        if operation.type != "cast" and str(operation.dtype) == "fp32"
    }
    assert {path.split(".")[:2] == ["encoder", "0"] for path, _ in fp32} == {True}
    assert ("encoder.0.conv", "conv") in fp32
    assert ("encoder.0.dconv.layers.0.1", "reduce_mean") in fp32
    assert ("encoder.0.dconv.layers.0.0", "conv") not in fp32
    assert by_module.audit.verdict == "pass"


def test_the_target_decides_which_operations_there_are(
    by_module: ConvertedPackage, mixed: ConvertedPackage
) -> None:
    """For iOS 17 the published list would find its softmax; iOS 18 has attention in one piece."""
    assert by_module.precision_map["softmax"] == {"fp16": 4}
    assert mixed.precision_map["scaled_dot_product_attention"] == {"fp16": 4}
    assert by_module.taps.missing == {}


def test_all_recipes_have_the_same_operations_under_the_same_names(
    shipped: ConvertedPackage, fp32: ConvertedPackage
) -> None:
    vanished = {item.operation.name for item in shipped.vanished}
    assert names(shipped.path) | vanished == names(fp32.path)
    # std's n / (n - 1) is 1 in FP16, and a multiplication by it is taken out.
    assert {item.operation.module for item in shipped.vanished} <= {"norm_freq", "norm_time"}


def test_every_value_has_the_path_of_a_module_of_the_network(
    shipped: ConvertedPackage, inner: FullHybridHTDemucs
) -> None:
    paths = module_paths(shipped.path)
    made = {v.name for op in mil.load(shipped.path).operations for v in op.outputs}
    assert set(paths) == made
    assert set(paths.values()) <= {name for name, _ in inner.named_modules()}
    for weighted in ("encoder.0.dconv.layers.0.3", "crosstransformer.layers_t.1.cross_attn"):
        assert weighted in paths.values()


def test_every_tap_is_found_and_is_the_value_that_pytorch_has(
    shipped: ConvertedPackage, inner: FullHybridHTDemucs
) -> None:
    generator = torch.Generator().manual_seed(2)
    inputs = {
        name: torch.randn(shape, generator=generator)
        for name, shape in inner.interface.inputs.items()
    }
    expected = run_extracted(inner, inputs, taps=None)
    locations = tap_operations(shipped.path)
    assert dict(shipped.taps.missing) == {}
    assert tuple(locations) == tuple(expected)
    values = mil.load(shipped.path).predict(
        {name: tensor.numpy() for name, tensor in inputs.items()},
        taps=[location.output for location in locations.values()],
    )
    least_db = 100 if shipped.audit.recipe == "fp32" else 40
    for name, location in locations.items():
        actual = values[location.output].astype(np.float64)
        if location.permutation is not None:
            actual = actual.transpose(location.permutation)
        reference = expected[name].numpy().astype(np.float64)
        assert actual.shape == reference.shape, name
        error = np.sum((actual - reference) ** 2)
        assert error * 10 ** (least_db / 10) < np.sum(reference**2), name


def test_a_second_conversion_gives_the_same_program_quietly_and_leaves_no_copy(
    traced: TracedModel,
    mixed: ConvertedPackage,
    target_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    working = tmp_path_factory.mktemp("working")
    monkeypatch.setattr("tempfile.tempdir", str(working))
    again = convert_to_coreml(
        traced, recipe=load_recipe("mixed"), out=target_path, subject="tiny"
    ).path
    assert capfd.readouterr() == ("", "")
    assert [path for path in working.rglob("*") if path.suffix == ".bin"] == []
    first, second = (open_package(path).program.function("main") for path in (mixed.path, again))
    listed = [
        [(op.type, op.name, op.outputs, op.input_names) for op in function.block.operations]
        for function in (first, second)
    ]
    assert listed[0] == listed[1]
    weights = "Data/com.apple.CoreML/weights/weight.bin"
    assert (mixed.path / weights).read_bytes() == (again / weights).read_bytes()


def test_what_was_built_before_in_this_process_does_not_change_a_name(
    traced: TracedModel, fp32: ConvertedPackage, tmp_path: Path
) -> None:
    """A tuned recipe names operations; it must fit wherever it is converted."""
    for name in ("add", "mul", "reshape", "transpose"):
        Builder.name_count[name] += 5
    again = tmp_path / "again.mlpackage"
    convert_to_coreml(traced, recipe=load_recipe("fp32"), out=again, subject="tiny")
    names = [[o.name for o in mil.load(path).operations] for path in (fp32.path, again)]
    assert names[0] == names[1]


def test_the_package_says_how_it_was_made(mixed: ConvertedPackage) -> None:
    sidecar = read_sidecar(mixed.path)
    assert sidecar is not None
    assert sidecar.recipe == load_recipe("mixed")
    assert sidecar.taps == mixed.taps
    assert sidecar.vanished == mixed.vanished
    facts = dict(sidecar.facts)
    assert facts["subject"] == "tiny"
    assert facts["fingerprint"] == "0" * 64
    assert facts["sources"] == "a,b,c"
    assert facts["target"] == "iOS18"
    assert facts["compute_units"] == "ALL"
    assert facts["command"] == "parity convert tiny"
    assert facts["version.numpy"] == np.__version__


def test_rules_are_counted_with_what_they_decided(mixed: ConvertedPackage) -> None:
    present, absent = mixed.rules
    found = mixed.precision_map
    assert dict(present.patterns) == {
        f"types: {kind}": found[kind]["fp32"] for kind in ("sqrt", "real_div", "reduce_mean")
    }
    assert present.matched == present.decided == sum(dict(present.patterns).values())
    assert absent.matched == 0


def test_a_recipe_that_does_not_fit_leaves_the_older_package_alone(
    traced: TracedModel, target_path: Path
) -> None:
    target_path.mkdir()
    (target_path / "older").write_text("kept", encoding="utf-8")
    typo = PrecisionRecipe("typo", "fp16", (PrecisionRule("fp32", names=("reduce_meen_1",)),))
    with pytest.raises(RecipeError, match=r"'typo': rule 1: names: reduce_meen_1 matches no"):
        convert_to_coreml(traced, recipe=typo, out=target_path, subject="tiny")
    assert [path.name for path in target_path.parent.iterdir()] == [target_path.name]
    assert (target_path / "older").read_text(encoding="utf-8") == "kept"


def test_bad_arguments_are_refused_before_anything_runs(
    traced: TracedModel, target_path: Path
) -> None:
    recipe = load_recipe("fp32")
    with pytest.raises(PackageError, match=r"must end in \.mlpackage"):
        convert_to_coreml(traced, recipe=recipe, out=target_path.with_suffix(".zip"), subject="x")
    with pytest.raises(UnknownNameError, match=r"compute units 'GPU'"):
        convert_to_coreml(traced, recipe=recipe, out=target_path, subject="x", compute_units="GPU")
    with pytest.raises(UnknownNameError, match=r"deployment target 'iOS81'; did you mean 'iOS18'"):
        convert_to_coreml(traced, recipe=recipe, out=target_path, subject="x", target="iOS81")
    assert not target_path.exists()


def test_a_copy_of_a_package_keeps_what_it_records(
    mixed: ConvertedPackage, target_path: Path
) -> None:
    shutil.copytree(mixed.path, target_path)
    assert module_paths(target_path) == module_paths(mixed.path)


def test_a_shipped_recipe_gives_a_package_without_lint_errors(shipped):
    found = lint_package(shipped.path)
    assert not [str(finding) for finding in found if finding.severity is Severity.ERROR]
