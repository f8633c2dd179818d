"""Findings have their place: inner blocks, compiled models, module paths, the declared opset."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import PackageError, ParityError
from harness.lint import Severity, all_rules, lint_package, opset_violations, rule, select_rules
from harness.lint.opset import signature
from harness.mil.graph import graph_of
from harness.mil.package import open_package
from suites.selftest.lint.building import F16, F32, I32, Made, main_of, operations_of
from suites.selftest.lint.examples import EXAMPLES, HALF, X, padded
from suites.selftest.mil.printing import write_compiled


def rules_of(package, *names):
    return [finding.rule for finding in lint_package(package, rules=select_rules(names))]


def branch_in_a_loop(mb, x):
    """A division by zero in one branch, in a loop."""

    def one_round(count, value):
        positive = mb.greater(x=mb.reduce_sum(x=value, keep_dims=False), y=F32(0))
        changed = mb.cond(
            pred=positive,
            _true_fn=lambda: mb.real_div(x=value, y=F32(0), name="divided"),
            _false_fn=lambda: mb.mul(x=value, y=F32(-1)),
        )
        return mb.add(x=count, y=I32(1)), changed

    return mb.while_loop(
        _cond=lambda count, value: mb.less(x=count, y=I32(3)),
        _body=one_round,
        loop_vars=(I32(0), x),
    )[1]


def test_a_branch_in_a_loop_is_looked_into(tmp_path):
    found = lint_package(Made(branch_in_a_loop, X).write(tmp_path / "flow.mlpackage"))
    (division,) = [finding for finding in found if finding.rule == "division_by_zero"]
    assert division.operation == "divided"
    assert division.value == "divided: fp32[2, 3]"
    outer = "main[1].1"  # the loop's second block
    assert division.place.startswith(outer)
    assert division.place.count(".") == 2
    assert [f for f in found if f.severity is Severity.ERROR] == [division]


def test_names_of_blocks_that_do_not_see_each_other_are_not_mixed_up(tmp_path):
    """Both branches call their value by one name: one makes FP16 of it, the other FP32."""

    def branches(mb, x):
        positive = mb.greater(x=mb.reduce_sum(x=x, keep_dims=False), y=F32(0))
        return mb.cond(
            pred=positive,
            _true_fn=lambda: mb.cast(x=mb.softplus(x=x, name="first"), dtype="fp32"),
            _false_fn=lambda: mb.cast(
                x=mb.softplus(x=mb.cast(x=x, dtype="fp16"), name="second"), dtype="fp32"
            ),
        )

    def same_name(message):
        (cond,) = [o for o in operations_of(message) if o.type == "cond"]
        for block in cond.blocks:
            for operation in block.operations:
                if operation.type == "softplus":
                    operation.outputs[0].name = "same"
                elif operation.type == "cast" and operation.outputs[0].name in block.outputs:
                    operation.inputs["x"].arguments[0].name = "same"

    path = Made(branches, X, edit=same_name).write(tmp_path / "branches.mlpackage")
    program = open_package(path).program
    made = [n for n in graph_of(program.function("main")).nodes if n.operation.type == "softplus"]
    assert [str(node.results[0].dtype) for node in made] == ["fp32", "fp16"]
    assert [len(node.results[0].readers) for node in made] == [1, 1]
    (finding,) = lint_package(path, rules=select_rules(["softplus_in_fp16"]))
    assert finding.place.startswith("main[")
    assert ".1[" in finding.place


@pytest.mark.parametrize("name", ["division_by_zero", "pad_of_other_axes", "epsilon_vanishes"])
def test_a_compiled_model_is_linted_the_same(tmp_path, name):
    package = EXAMPLES[name][0].write(tmp_path / "wrong.mlpackage")
    compiled = write_compiled(package, tmp_path / "wrong.mlmodelc")
    expected, actual = lint_package(package), lint_package(compiled)
    assert name in {finding.rule for finding in actual}
    assert actual == expected


def test_a_finding_names_the_module_and_errors_come_first(tmp_path):
    def body(mb, x):
        y = mb.add(x=mb.layer_norm(x=x, axes=[-1], epsilon=F16(1e-5), name="soft"), y=F16(1))
        return mb.real_div(x=y, y=F16(0), name="hard")

    path = Made(body, HALF).write(tmp_path / "two.mlpackage")
    modules = {"soft": "encoder.0.norm", "hard": "decoder"}
    found = lint_package(path, modules=modules)
    assert [(f.severity, f.module) for f in found] == [
        (Severity.ERROR, "decoder"),
        (Severity.WARNING, "encoder.0.norm"),
    ]
    assert "in encoder.0.norm" in str(found[1])


def test_opset_violations_need_no_weights(tmp_path):
    """`parity check` may ask of a program alone: what it finds is what the linter finds."""
    declarations = [item.name for item in all_rules() if item.needs_declarations_only]
    assert declarations
    for name in declarations:
        package = open_package(EXAMPLES[name][0].write(tmp_path / f"{name}.mlpackage"))
        found = opset_violations(package.program)
        assert name in {finding.rule for finding in found}
        assert all(finding.severity is Severity.ERROR for finding in found)
    clean = open_package(EXAMPLES["missing_input"][1].write(tmp_path / "clean.mlpackage"))
    assert opset_violations(clean.program) == ()


def test_an_operation_is_as_old_as_its_first_definition():
    assert signature("relu", 15) is not None
    assert signature("scaled_dot_product_attention", 17) is None
    assert signature("scaled_dot_product_attention", 26) is not None  # iOS 26 keeps iOS 18's
    assert "validate_indices" not in signature("gather", 16)
    assert "validate_indices" in signature("gather", 17)


def test_what_a_newer_opset_has_is_not_guessed(tmp_path):
    def newest(message):
        function = main_of(message)
        function.block_specializations["CoreML9"].CopyFrom(
            function.block_specializations[function.opset]
        )
        function.opset = "CoreML9"
        message.specificationVersion = 10
        operations = function.block_specializations["CoreML9"].operations
        operations[-1].type = "frobnicate"

    path = Made(lambda mb, x: mb.relu(x=x), X, edit=newest).write(tmp_path / "new.mlpackage")
    assert opset_violations(open_package(path).program) == ()


@pytest.mark.parametrize(
    ("body", "inputs", "found"),
    [
        (lambda mb, x: mb.log(x=x), HALF, []),  # MIL's default of 1e-45 stands for none
        (lambda mb, x: mb.rsqrt(x=x), HALF, []),
        (lambda mb, x: mb.rsqrt(x=x, epsilon=F32(1e-9)), HALF, ["epsilon_vanishes"]),
        (lambda mb, x: mb.log(x=mb.add(x=x, y=F16(0))), HALF, ["epsilon_vanishes"]),
        (lambda mb, x: mb.log(x=mb.add(x=x, y=F16(6e-8))), HALF, ["epsilon_subnormal"]),
        (lambda mb, x: mb.sqrt(x=mb.maximum(x=x, y=F16(0))), HALF, []),  # a bound, and meant
        (lambda mb, x: mb.real_div(x=x, y=mb.add(x=x, y=F16(1e-6))), HALF, ["epsilon_subnormal"]),
        (lambda mb, x: mb.real_div(x=mb.add(x=x, y=F16(1e-6)), y=x), HALF, []),  # not the divisor
        (lambda mb, x: mb.log(x=mb.add(x=x, y=F32(1e-30))), X, []),  # FP32 holds it
    ],
)
def test_which_epsilons_vanish(tmp_path, body, inputs, found):
    path = Made(body, inputs, builder="iOS17").write(tmp_path / "epsilon.mlpackage")
    assert rules_of(path, "epsilon_vanishes", "epsilon_subnormal") == found


@pytest.mark.parametrize(
    ("variance", "found"), [(1.0, []), (1e-7, ["epsilon_vanishes"])], ids=["ordinary", "dead"]
)
def test_an_epsilon_beside_a_large_variance_is_no_matter(tmp_path, variance, found):
    def body(mb, x):
        statistics = {"mean": np.zeros(2, F16), "variance": np.full(2, variance, F16)}
        return mb.batch_norm(x=x, **statistics, epsilon=F16(0))

    path = Made(body, {"x": ((1, 2, 3, 4), F16)}, builder="iOS17").write(tmp_path / "bn.mlpackage")
    assert rules_of(path, "epsilon_vanishes") == found


def test_every_path_of_padding_is_seen(tmp_path):
    cube = {"x": ((1, 2, 3, 4, 5), F32)}
    for amounts, refused in (([1, 1, 0, 0, 0, 0], True), ([2, 2], False), ([0] * 10, False)):
        path = Made(padded(amounts), cube).write(tmp_path / f"{len(amounts)}{refused}.mlpackage")
        assert rules_of(path, "pad_of_other_axes") == ["pad_of_other_axes"] * refused


def test_rules_are_chosen_by_name():
    names = [item.name for item in all_rules()]
    assert [item.name for item in select_rules(["rank_above_five"])] == ["rank_above_five"]
    without = [item.name for item in select_rules((), ["rank_above_five"])]
    assert without == [name for name in names if name != "rank_above_five"]
    with pytest.raises(ParityError, match="unknown rule 'rank_above_six'; did you mean 'rank_abo"):
        select_rules(["rank_above_six"])
    with pytest.raises(ParityError, match="no rule is left"):
        select_rules(["rank_above_five"], ["rank_above_five"])


def test_a_rule_must_say_what_is_wrong_and_be_new():
    def rank_above_five(view):
        """Taken."""
        return iter(())

    def silent(view):
        return iter(())

    register = rule(Severity.ERROR, source="here", next_step="nothing")
    with pytest.raises(ParityError, match="registered twice"):
        register(rank_above_five)
    with pytest.raises(ParityError, match="must say what is wrong"):
        register(silent)


def test_what_is_no_package_is_refused(tmp_path):
    with pytest.raises(PackageError, match="does not exist"):
        lint_package(tmp_path / "nothing.mlpackage")
