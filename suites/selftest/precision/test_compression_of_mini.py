"""Shipped recipes of compressed weights on the trained network: what they promise is what they are.

Minutes, for palettes of 8 bits above all: ``pytest -m exhaustive -k compression_of_mini``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness import mil
from harness.audio import SAMPLE_RATE
from harness.conversion import (
    TracedModel,
    compare_weights,
    convert_to_coreml,
    load_recipe,
    shipped_recipes,
    trace_inner_model,
)
from harness.precision.sensitivity import Stems, stem_measures
from harness.precision.tuning import weight_bytes
from harness.precision.virtual import VirtualPrecision
from harness.subjects import Subject, extract_inner_model, htdemucs_constants, load_subject
from harness.subjects.htdemucs import stem_waveform
from harness.workbench.sources import SubjectSource

pytestmark = pytest.mark.exhaustive

COMPRESSING = [name for name, recipe in shipped_recipes().items() if recipe.compresses]


@pytest.fixture(scope="module")
def subject() -> Subject:
    return load_subject("mini")


@pytest.fixture(scope="module")
def trace(subject: Subject) -> TracedModel:
    return trace_inner_model(extract_inner_model(subject.model))


@pytest.fixture(scope="module")
def lab(trace: TracedModel, tmp_path_factory: pytest.TempPathFactory) -> VirtualPrecision:
    out = tmp_path_factory.mktemp("mini") / "fp32.mlpackage"
    convert_to_coreml(trace, recipe=load_recipe("fp32"), out=out, subject="mini")
    return VirtualPrecision(mil.load(out))


@pytest.mark.parametrize("name", COMPRESSING)
def test_a_recipe_is_virtually_what_it_is_converted(
    name: str, subject: Subject, trace: TracedModel, lab: VirtualPrecision, tmp_path: Path
) -> None:
    recipe = load_recipe(name)
    made = convert_to_coreml(trace, recipe=recipe, out=tmp_path / "x.mlpackage", subject="mini")
    assert made.audit.verdict == "pass", made.audit.reason
    assert [(count.matched, count.decided) for count in made.rules] == [(91, 91)]
    assert compare_weights(made.path, htdemucs_constants(subject.model)).verdict == "pass"
    inputs = SubjectSource("mini", ("song",), Path("golden")).inputs()["song"]
    expected, real = lab.base.run(inputs), mil.load(made.path).run(inputs)
    virtual = lab.recipe_model(recipe).run(inputs)
    for measure in stem_measures(Stems(subject.sources, stem_waveform, SAMPLE_RATE)):
        levels = [-10 * torch.tensor(measure.of(expected, x)).log10() for x in (real, virtual)]
        assert abs(levels[0] - levels[1]) < 0.05
    assert all(torch.equal(real[output], virtual[output]) for output in real)
    stored = (made.path / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size
    promised = weight_bytes(lab, lab.by_recipe(recipe), lab.weights_by_recipe(recipe))
    assert 0 <= stored - promised < 0.1 * stored  # each constant is aligned, and has a header
