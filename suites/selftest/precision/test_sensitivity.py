"""If these fail, the ranking of operations leads a conversion engineer to the wrong ones."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from harness.precision.sensitivity import (
    Probing,
    SignalMeasure,
    measure_sensitivity,
    measures_of,
    output_measure,
    stem_measures,
)
from harness.precision.virtual import VirtualPrecision
from suites.selftest.precision.conftest import STEMS, tone_in_noise

BOTH = (output_measure("gated"), output_measure("flat"))


def brute_force(
    lab: VirtualPrecision, inputs: dict[str, torch.Tensor], measure: SignalMeasure
) -> dict[str, float]:
    """Return the error that each operation alone leaves, by one virtual run for each."""
    expected = lab.base.run(inputs)
    wide = {operation.name: "fp32" for operation in lab.operations}
    return {
        name: measure.of(expected, lab.model({**wide, name: "fp16"}).run(inputs)) for name in wide
    }


@pytest.mark.parametrize("measure", BOTH, ids=lambda measure: measure.name)
def test_shares_are_those_of_one_run_for_each_operation(
    measure: SignalMeasure, small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    truth = brute_force(small, signal, measure)
    found = measure_sensitivity(
        small, {"noise": signal}, [measure], probing=Probing(48, at_once=48)
    )
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
        stem_measures(STEMS),
        choice=narrow.fp32_for(()),
        precision="fp16",
        probing=Probing(8, at_once=16),
    )
    assert len(found.measured_db) == 8
    gaps = [found.predicted_db[name] - found.measured_db[name] for name in found.measured_db]
    assert abs(np.mean(gaps)) < 1.0
    assert max(abs(gap) for gap in gaps) < 4.0


def test_all_stems_together_have_the_sum_of_what_each_has(
    narrow: VirtualPrecision, music: dict[str, torch.Tensor]
) -> None:
    together, *each = measures_of(STEMS, ())
    steps: list[tuple[int, int]] = []
    probing = Probing(4, advance=lambda done, total: steps.append((done, total)))
    found = measure_sensitivity(narrow, {"music": music}, (together, *each), probing=probing)
    alone = measure_sensitivity(narrow, {"music": music}, each, probing=Probing(4))
    expected = narrow.base.run(music)
    weights = {measure.name: measure.weight(expected) for measure in each}
    assert found.measures == ("stems", "stem:drums", "stem:vocals")
    assert steps[-1] == (1, 1)  # both stems in one walk, and none for their sum
    for share, own in zip(found.operations, alone.operations, strict=True):
        parts = {name: weight * own.mean[name] for name, weight in weights.items()}
        assert share.mean == pytest.approx({**own.mean, "stems": share.mean["stems"]})
        whole = sum(parts.values()) / sum(weights.values())
        assert share.mean["stems"] == pytest.approx(whole)
        # Signs of several stems are independent, so their sum is known better than the worst.
        assert share.deviation_db["stems"] <= max(own.deviation_db.values()) + 1e-9


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


def test_more_directions_than_errors_tell_all_of_them(
    small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    """Random probes lead to the same direction then, and nothing is left to chance."""
    name = BOTH[0].name
    choice = small.fp32_for({operation.name for operation in small.operations} - {"gelu"})
    found = measure_sensitivity(
        small, {"noise": signal}, BOTH[:1], choice=choice, probing=Probing(6)
    )
    (share,) = (share for share in found.operations if share.operation == "gelu")
    truth = brute_force(small, signal, BOTH[0])["gelu"]
    assert share.mean[name] == pytest.approx(truth, rel=0.01)
    assert share.deviation_db[name] < 0.01


@pytest.mark.parametrize(("probes", "within"), [(2, 0.8), (9, 0.9), (12, 0.9)])
def test_the_reported_uncertainty_is_honest_and_directions_make_it_smaller(
    probes: int, within: float, small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    def shares(probes: int, seed: int) -> dict[str, tuple[float, float]]:
        found = measure_sensitivity(
            small, {"noise": signal}, BOTH[:1], probing=Probing(probes, seed, at_once=probes)
        )
        name = BOTH[0].name
        return {s.operation: (s.mean[name], s.deviation_db[name]) for s in found.operations}

    exact = {name: share for name, (share, _) in shares(96, 99).items() if share > 1e-13}
    rows = [
        (shares_of[name][0] / share, shares_of[name][1])
        for shares_of in (shares(probes, seed) for seed in range(40))
        for name, share in exact.items()
    ]
    ratios, deviations = np.array(rows).T
    errors = 10 * np.log10(ratios)
    assert np.mean(np.abs(errors) < 1.96 * deviations + 0.01) > within
    if probes > 2:
        assert np.mean(ratios) == pytest.approx(1.0, abs=0.15)
    if probes == 12:
        assert np.std(errors) < 1.0  # twelve random probes alone leave 1.85 dB


def test_without_an_operation_in_fp16_there_are_no_shares(
    small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    choice = small.fp32_for({operation.name for operation in small.operations})
    found = measure_sensitivity(small, {"noise": signal}, BOTH, choice=choice, probing=Probing(6))
    assert found.operations == ()
    assert set(found.predicted_db.values()) == {math.inf}


def test_a_share_that_is_not_known_spoils_no_other(
    small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    """Behind the root of an exact zero a share is NaN; sums and ranks must not be."""
    found = measure_sensitivity(small, {"a": signal}, BOTH[:1], probing=Probing(3))
    name = BOTH[0].name
    first, *others = found.ranked(name)
    broken = replace(found, operations=(replace(first, mean={name: math.nan}), *others))
    assert broken.ranked(name)[0] == others[0]
    expected = replace(found, operations=tuple(others)).totals(name, lambda share: "all")
    assert broken.totals(name, lambda share: "all") == pytest.approx(expected)


def test_where_there_are_no_stems_nothing_is_said_of_them(
    small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    names = [output.name for output in small.base.outputs]
    found = measure_sensitivity(small, {"noise": signal}, measures_of(None, names))
    assert found.measures == ("branch:gated", "branch:flat")
    assert set(found.predicted_db) == {"noise/branch:gated", "noise/branch:flat"}


def test_a_case_may_be_called_by_a_path(
    small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    """Files of one name are told apart by their folders."""
    some = Probing(4)
    plain = measure_sensitivity(small, {"a": signal, "b": signal}, BOTH, probing=some)
    pathed = measure_sensitivity(small, {"x/a": signal, "y/a": signal}, BOTH, probing=some)
    assert pathed.operations == plain.operations
    assert sorted(pathed.operations[0].mean) == sorted(measure.name for measure in BOTH)
    assert set(pathed.predicted_db) == {f"{c}/{m.name}" for c in ("x/a", "y/a") for m in BOTH}
