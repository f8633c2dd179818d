"""If these fail, the ranking of operations leads a conversion engineer to the wrong ones."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from harness.precision import (
    OutputMeasure,
    VirtualPrecision,
    measure_sensitivity,
    stem_measures,
)
from harness.precision.shares import combine
from suites.selftest.precision.conftest import tone_in_noise

BOTH = (OutputMeasure("gated"), OutputMeasure("flat"))


def brute_force(
    lab: VirtualPrecision, inputs: dict[str, torch.Tensor], measure: OutputMeasure
) -> dict[str, float]:
    """Return the error that each operation alone leaves, by one virtual run for each."""
    expected = lab.base.run(inputs)
    wide = {operation.name: "fp32" for operation in lab.operations}
    return {
        name: measure.of(expected, lab.model({**wide, name: "fp16"}).run(inputs)) for name in wide
    }


@pytest.mark.parametrize("measure", BOTH, ids=lambda measure: measure.name)
def test_shares_are_those_of_one_run_for_each_operation(
    measure: OutputMeasure, small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    truth = brute_force(small, signal, measure)
    found = measure_sensitivity(small, {"noise": signal}, [measure], probes=48, at_once=48)
    shares = {share.operation: share.mean[measure.name] for share in found.operations}
    common = [name for name in shares if truth[name] > 0]
    errors = [10 * math.log10(shares[name] / truth[name]) for name in common]
    assert spearmanr([shares[n] for n in common], [truth[n] for n in common])[0] > 0.95
    assert np.median(np.abs(errors)) < 1.0
    unseen = set(truth) - set(shares)
    assert all(truth[name] == 0 for name in unseen)


def test_the_sum_of_the_shares_predicts_a_recipe(
    narrow: VirtualPrecision, music: dict[str, torch.Tensor]
) -> None:
    """On one signal roundings may happen to agree or to cancel; on a few they do neither."""
    length = music["audio"].shape[-1]
    cases = {f"seed {seed}": tone_in_noise(length, seed) for seed in range(4)}
    found = measure_sensitivity(
        narrow,
        cases,
        stem_measures(("drums", "vocals")),
        choice=narrow.fp32_for(()),
        precision="fp16",
        probes=8,
        at_once=16,
    )
    assert len(found.measured_db) == 8
    gaps = [found.predicted_db[name] - found.measured_db[name] for name in found.measured_db]
    assert abs(np.mean(gaps)) < 1.0
    assert max(abs(gap) for gap in gaps) < 4.0


def test_movements_and_operations_in_fp32_have_no_share(
    small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    choice = small.fp32_for({"conv", "mixed"})
    found = measure_sensitivity(small, {"noise": signal}, BOTH, choice=choice)
    shared = {share.operation for share in found.operations}
    assert shared.isdisjoint({"conv", "mixed", "rows", "halves", "flat"})
    assert {"mean", "centred", "gelu", "gate"} <= shared


def test_the_same_seed_gives_the_same_document(
    small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    documents = [
        json.dumps(measure_sensitivity(small, {"noise": signal}, BOTH).to_dict(), sort_keys=True)
        for _ in range(2)
    ]
    assert documents[0] == documents[1]
    document = json.loads(documents[0])
    assert (document["kind"], document["version"]) == ("sensitivity", 1)
    total = sum(document["types"]["branch:gated"].values())
    each = sum(row["mean"]["branch:gated"] for row in document["operations"])
    assert total == pytest.approx(each)


def test_a_silent_output_is_left_out_and_not_divided_by(
    small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    silent = {"x": torch.zeros_like(signal["x"])}
    found = measure_sensitivity(small, {"a": signal, "b": silent}, BOTH)
    assert "b/branch:gated" not in found.predicted_db
    assert all(math.isfinite(s.mean["branch:gated"]) for s in found.operations)


def test_where_the_estimates_contradict_each_other_the_unbiased_one_is_taken() -> None:
    generator = np.random.default_rng(0)
    coherent = 100.0 * generator.chisquare(1, (1, 16))
    independent = np.full((1, 16), 1.0) + 0.01 * generator.standard_normal((1, 16))
    assert combine(coherent, independent).value[0] > 30
    agreeing = combine(coherent / 100.0, independent).value[0]
    assert abs(agreeing - 1.0) < 0.1


@pytest.mark.parametrize("missed", [0.1, 0.6])
@pytest.mark.parametrize("probes", [4, 12])
def test_what_is_learnt_from_all_operations_makes_each_of_them_surer(
    probes: int, missed: float
) -> None:
    """Shares as they are: some with many directions, whose second estimate misses less."""
    generator = np.random.default_rng(1)
    truth = 10 ** generator.uniform(-8, -6, 600)
    coherent = truth[:, None] * generator.chisquare(1, (600, probes))
    missing = np.exp(missed * generator.standard_normal(600))
    directions = np.where(np.arange(600) < 300, 2.0, 200.0)[:, None]
    varying = generator.chisquare(directions, (600, probes)) / directions
    found = combine(coherent, (truth * missing)[:, None] * varying)
    errors = np.log(found.value / truth)
    plain = np.log(coherent.mean(1) / truth)
    assert errors.std() < plain.std()
    assert 0.85 < np.mean(np.abs(errors) < 1.96 * found.deviation) <= 1.0
