"""coremltools' walks are put off or left out, and what is converted stays the same."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from coremltools import target
from coremltools.converters.mil import Builder
from coremltools.converters.mil.mil import Program, types

from harness.conversion import ConvertedPackage, TracedModel, convert_to_coreml, load_recipe
from harness.conversion.quiet import sparing_walks

WHOSE = {"subject": "tiny", "fingerprint": "0" * 64}


def program() -> Program:
    @Builder.program(input_specs=[Builder.TensorSpec(shape=(2, 3))])
    def sums(x):
        return Builder.add(x=Builder.exp(x=x, name="power"), y=1.0, name="sum")

    return sums


def files_of(made: ConvertedPackage) -> dict[Path, bytes]:
    return {
        file.relative_to(made.path): file.read_bytes()
        for file in made.path.rglob("*")
        if file.is_file() and file.name != "Manifest.json"  # holds random identifiers
    }


@pytest.mark.exhaustive
def test_the_package_is_the_same_to_the_byte(
    traced: TracedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("mixed")
    once = files_of(
        convert_to_coreml(traced, recipe=recipe, out=tmp_path / "once.mlpackage", **WHOSE)
    )
    monkeypatch.setattr("harness.conversion.convert.sparing_walks", nullcontext)
    often = files_of(
        convert_to_coreml(traced, recipe=recipe, out=tmp_path / "often.mlpackage", **WHOSE)
    )
    assert len(once) == 2
    assert once == often


def test_a_program_that_a_pass_breaks_is_refused() -> None:
    made = program()
    block = made.functions["main"]
    block.operations.remove(block.find_ops(op_type="exp")[0])  # but what reads it stays
    with pytest.raises(ValueError, match="not visible in the block"), sparing_walks():
        made.validate()


def test_a_sound_program_passes_and_is_spelt_out_afterwards() -> None:
    made = program()
    with sparing_walks():
        made.validate()
        assert "exp" not in str(made)
    assert "exp" in str(made)
    assert types.is_tensor(made.functions["main"].outputs[0].sym_type)


def test_values_know_which_compressed_constant_they_are_made_of() -> None:
    """A pass that replaces one without its constant would store the weights in full."""
    with sparing_walks():
        program()  # the walk was left out at least once before

        @Builder.program(input_specs=[Builder.TensorSpec(shape=(2, 3))], opset_version=target.iOS16)
        def compressed(x):
            weights = Builder.constexpr_cast(
                source_val=np.ones((2, 3), np.float16), output_dtype="fp32", name="weights"
            )
            return Builder.add(x=x, y=weights, name="sum")

        block = compressed.functions["main"]
        (made,) = block.outputs
        made._reset_nonreplaceable_vars_upstream()
        with block:
            pass
    assert [value.name for value in made.nonreplaceable_vars_upstream] == ["weights"]
