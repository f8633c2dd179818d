"""If a mutation does nothing, or something else than it says, being caught means nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness import mil
from harness.errors import ExecutionError, PackageError, ParityError
from harness.faults.mutation.runner import Fragments
from harness.faults.operators import Mutant, MutationSite, mutants, operator
from harness.faults.operators.arithmetic import left_out
from harness.mil.editing import edited, key, known_value


def all_mutants(model: mil.Model) -> list[Mutant]:
    return [mutant for i in range(len(model.operations)) for mutant in mutants(model, i)]


def one(model: mil.Model, type: str, change: str, which: int = 0) -> Mutant:
    found = [
        mutant
        for mutant in all_mutants(model)
        if model.operations[mutant.index].type == type and mutant.change == change
    ]
    return found[which]


def whole(model: mil.Model, mutant: Mutant) -> mil.Model:
    """The mutant as a program of its own, planned anew."""
    place = key(model.operations[mutant.index])
    return edited(model, mutant.operations[-1], before={place: mutant.operations[:-1]})


def values_before(model: mil.Model, x: np.ndarray, index: int) -> dict[str, torch.Tensor]:
    return model.resume({"x": torch.from_numpy(x)}, 0, index)


def mutated(model: mil.Model, x: np.ndarray, mutant: Mutant) -> np.ndarray:
    names = [v.name for v in model.operations[mutant.index].outputs]
    values = values_before(model, x, mutant.index)
    made = Fragments(model).run(mutant.operations, names, values)
    after = model.resume(values, mutant.index, mutant.index + 1)
    return model.resume({**after, **made}, mutant.index + 1)["y"].numpy()


def result(model: mil.Model, x: np.ndarray, mutant: Mutant) -> np.ndarray:
    name = key(model.operations[mutant.index])
    made = Fragments(model).run(mutant.operations, [name], values_before(model, x, mutant.index))
    return made[name].numpy()


def test_every_operation_is_mutated_and_every_type_has_a_change_of_its_own(program):
    for index, operation in enumerate(program.operations):
        kinds = {mutant.kind for mutant in mutants(program, index)}
        assert {"scale", "operand"} <= kinds, operation


def test_no_mutation_changes_a_name_or_a_declared_type(program):
    for mutant in all_mutants(program):
        made = {v.name: v.type for new in mutant.operations for v in new.outputs}
        for variable in program.operations[mutant.index].outputs:
            assert made[variable.name] == variable.type, mutant.change


def test_a_mutant_run_from_its_operation_is_the_edited_program_run_from_the_start(program, x):
    """The short way (a fragment on kept values) and the long way agree to the last bit."""
    compared = 0
    for mutant in all_mutants(program):
        operation = program.operations[mutant.index]
        if len(operation.outputs) > 1:  # an edit knows an operation by its first result
            continue
        try:
            expected = whole(program, mutant).predict({"x": x})["y"]
        except ExecutionError:
            with pytest.raises(ExecutionError):
                mutated(program, x, mutant)
            continue
        np.testing.assert_array_equal(mutated(program, x, mutant), expected, mutant.change)
        compared += 1
    assert compared > 50


def test_nearly_every_mutation_of_the_program_changes_its_output(program, x):
    """A register of mutations that do nothing would be caught by nobody, and nobody would know."""
    clean = program.predict({"x": x})["y"]
    same = []
    for mutant in all_mutants(program):
        try:
            same += [mutant] if np.array_equal(mutated(program, x, mutant), clean) else []
        except (ExecutionError, PackageError):
            continue
    assert {(program.operations[m.index].type, m.change) for m in same} <= {
        ("pad", "border repeated"),
    }


def test_scaling_is_by_one_percent(program, x):
    mutant = one(program, "conv", "result x 1.01")
    name = key(program.operations[mutant.index])
    clean = values_before(program, x, mutant.index + 1)[name].numpy()
    np.testing.assert_array_equal(result(program, x, mutant), clean * np.float32(1.01))


def test_an_operation_that_is_left_out_passes_its_input_on(program, x):
    mutant = one(program, "gelu", "left out")
    before = values_before(program, x, mutant.index)
    source = program.operations[mutant.index].input_names
    (read,) = [name for name in source if name in before]
    np.testing.assert_array_equal(result(program, x, mutant), before[read].numpy())


def test_a_flipped_bit_doubles_or_halves_one_weight(program):
    mutant = one(program, "linear", "one exponent bit of one weight flipped")
    clean = known_value(program, program.operations[mutant.index], "weight")
    dirty = known_value(program, mutant.operations[-1], "weight")
    (ratio,) = (dirty / clean)[dirty != clean]
    assert ratio in (0.5, 2.0)


def test_dividing_by_n_minus_1_is_numpys_unbiased_variance(program, x):
    mutant = one(program, "reduce_mean", "divided by n - 1", which=1)
    before = values_before(program, x, mutant.index)
    squares = next(
        iter(before[n] for n in program.operations[mutant.index].input_names if n in before)
    )
    centred = np.sqrt(squares.numpy().astype(np.float64))
    expected = (centred**2).sum(axis=(1, 2), keepdims=True) / (centred[0].size - 1)
    np.testing.assert_allclose(result(program, x, mutant), expected, rtol=1e-6)


def test_the_epsilon_outside_of_the_root(program, x):
    mutant = one(program, "sqrt", "1e-5 moved out of the root")
    before = values_before(program, x, mutant.index)
    (inside,) = [before[n].numpy() for n in program.operations[mutant.index].input_names]
    expected = np.sqrt(inside.astype(np.float64) - 1e-5) + 1e-5
    np.testing.assert_allclose(result(program, x, mutant), expected, rtol=1e-6)


def test_a_mutation_is_the_same_every_time(program):
    def constants(mutant: Mutant) -> list[bytes]:
        bindings = [b for new in mutant.operations for bs in new.inputs.values() for b in bs]
        return [
            b.value.tobytes()
            for b in bindings
            if hasattr(b, "value") and not isinstance(b.value, str)
        ]

    first, second = all_mutants(program), all_mutants(program)
    assert [constants(m) for m in first] == [constants(m) for m in second]


def test_what_is_left_out_does_not_depend_on_the_order_of_inputs(program):
    """The inputs of an operation are a map in the file, which is read in any order."""
    index = one(program, "scaled_dot_product_attention", "left out").index
    operation = program.operations[index]
    site = MutationSite(program, operation)
    turned = replace(operation, inputs=dict(reversed(operation.inputs.items())))
    (passed_on,), (again,) = left_out(site), left_out(MutationSite(program, turned))
    assert passed_on.inputs == again.inputs


def test_one_change_is_registered_once():
    with pytest.raises(ParityError, match="'left out' is registered twice"):
        operator("left out", kind="skip")(lambda site: None)
