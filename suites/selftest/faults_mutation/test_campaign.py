"""If a campaign calls caught what nobody saw, or harmless what matters, its figure is worthless."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness import mil
from harness.conversion import TapLocation
from harness.errors import ParityError
from harness.faults.mutation import CampaignResult, Mutation, run_campaign
from harness.faults.mutation.campaign import conclude
from harness.faults.mutation.detector import Change, Judge, Original, Sighting
from harness.faults.mutation.runner import Finding, Stage
from harness.faults.operators.site import mutants
from harness.mil.editing import constant, with_inputs
from harness.verdicts import Verdict

SEEN = Sighting("conversion", "conversion", "freq", 3.0)


@pytest.fixture(scope="module")
def campaign(network) -> CampaignResult:
    return run_campaign(network, recipe="fp32", every=9)


def test_a_sound_network_catches_what_matters(campaign):
    """The claim itself, on a network of a quarter of a second."""
    assert campaign.verdict is Verdict.PASS
    assert campaign.count("hole") == 0
    assert campaign.count("caught") > 0.7 * len(campaign.mutations)
    assert campaign.mattering_share is not None
    assert campaign.mattering_share > 0


def test_every_mutation_has_one_fate_and_its_proof(campaign):
    for row in campaign.mutations:
        assert (row.sighting is not None) == (row.fate == "caught")
        assert (row.reason != "") == (row.fate == "refused")
        if row.fate == "harmless":
            assert [change.input for change in row.changes] == ["held-out song"]
            assert not row.changes[0].matters


def test_processes_do_not_change_a_result(network):
    alone = run_campaign(network, recipe="fp32", every=60)
    shared = run_campaign(network, recipe="fp32", every=60, jobs=2)
    assert alone.mutations == shared.mutations
    assert alone.sample == shared.sample


def test_the_document_is_json_and_counts_every_row(campaign):
    text = json.dumps(campaign.to_dict())
    document = json.loads(text)
    assert document["kind"] == "mutations"
    assert len(document["rows"]) == len(campaign.mutations)
    assert all(len(row) == len(document["columns"]) for row in document["rows"])
    for table in ("by_type", "by_change"):
        counted = sum(sum(row.values()) for row in document[table].values())
        assert counted == len(document["rows"])
    assert sum(document["by_check"].values()) == document["fates"]["caught"]


# --- one stage ---------------------------------------------------------------------------------


def outputs(model: mil.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    return model.predict({"x": x})


def finding(model: mil.Model, x: np.ndarray, judge: Judge, type: str, change: str) -> Finding:
    stage = Stage(model, "song", {"x": x}, judge)
    for index, operation in enumerate(model.operations):
        for mutant in mutants(model, index):
            if (operation.type, mutant.change) == (type, change):
                return stage.find([mutant])[0]
    raise AssertionError(f"no {change} of {type}")


def test_the_tap_behind_the_mutation_sees_it_first(program, x):
    taps = {
        operation.type: operation.outputs[0].name
        for operation in program.operations
        if operation.type in ("gelu", "layer_norm")
    }
    clean = program.predict({"x": x}, taps=list(taps.values()))
    expected = {"y": clean["y"]} | {f"tap.{tap}": clean[name] for tap, name in taps.items()}
    located = {tap: TapLocation(name) for tap, name in taps.items()}
    judge = Judge(expected, located, outputs=["y"])
    found = finding(program, x, judge, "gelu", "tanh approximation")
    assert found.sighting is not None
    assert (found.sighting.tensor, found.sighting.gate) == ("tap gelu", "expected_precision_fp32")
    assert found.sighting.excess_db is not None
    assert 20 < found.sighting.excess_db < 110
    behind = finding(program, x, judge, "linear", "two rows of the weight exchanged")
    assert behind.sighting is not None
    assert behind.sighting.tensor == "y"


def test_a_tap_in_another_layout_is_compared_in_pytorchs(program, x):
    name = next(o.outputs[0].name for o in program.operations if o.type == "layer_norm")
    clean = program.predict({"x": x}, taps=[name])
    moved = {
        "y": clean["y"],
        "tap.norm": np.ascontiguousarray(np.transpose(clean[name], (0, 2, 1))),
    }
    judge = Judge(moved, {"norm": TapLocation(name, (0, 2, 1))}, outputs=["y"])
    found = finding(program, x, judge, "layer_norm", "one element of the offset dropped")
    assert found.sighting is not None
    assert found.sighting.tensor == "tap norm"


def test_what_is_not_a_number_is_caught_without_a_distance(program, x):
    judge = Judge(outputs(program, x), outputs=["y"])
    found = finding(
        program,
        np.zeros_like(x),
        Judge(outputs(program, x * 0), outputs=["y"]),
        "linear",
        "left out",
    )
    assert found.sighting is not None
    stage = Stage(program, "song", {"x": x}, judge)
    index = next(i for i, o in enumerate(program.operations) if o.type == "sqrt")
    mutant = next(m for m in mutants(program, index) if m.kind == "scale")
    gain = replace(
        mutant.operations[-1],
        inputs={**mutant.operations[-1].inputs, "y": (constant(np.float32("nan")),)},
    )
    (broken,) = stage.find([replace(mutant, operations=(*mutant.operations[:-1], gain))])
    assert broken.sighting is not None
    assert broken.sighting.excess_db is None


def test_a_shape_that_the_program_does_not_declare_is_refused(program, x):
    judge = Judge(outputs(program, x), outputs=["y"])
    found = finding(program, x, judge, "real_div", "operands exchanged")
    assert found.noticed
    index = next(i for i, o in enumerate(program.operations) if o.type == "transpose")
    mutant = next(iter(mutants(program, index)))
    operation = program.operations[index]
    wrong = with_inputs(operation, perm=[0, 1, 2])
    stage = Stage(program, "song", {"x": x}, judge)
    (refused,) = stage.find([replace(mutant, operations=(wrong,))])
    assert "the program declares" in refused.refused
    assert refused.noticed


def test_a_mutation_of_nothing_is_identical(program, x):
    stage = Stage(program, "song", {"x": x}, Judge(outputs(program, x), outputs=["y"]))
    mutant = next(iter(mutants(program, 3)))
    (found,) = stage.find([replace(mutant, operations=(program.operations[3],))])
    assert found == Finding(identical=True)


def test_a_program_that_fails_unmutated_proves_nothing(program, x):
    wrong = {"y": outputs(program, x)["y"] * np.float32(1.001)}
    with pytest.raises(ParityError, match="the unmutated program fails expected_precision_fp32"):
        Stage(program, "song", {"x": x}, Judge(wrong, outputs=["y"]))


def test_a_stage_moves_forward_only(program, x):
    stage = Stage(program, "song", {"x": x}, None)
    stage.find(list(mutants(program, 5)), judged=False)
    with pytest.raises(ParityError, match="operation 4 was passed already"):
        stage.find(list(mutants(program, 4)), judged=False)


def test_mutants_leave_the_unmutated_run_alone(program, x):
    """A mutant that wrote over a kept value would make every later one look worse than it is."""
    stage = Stage(program, "song", {"x": x}, None)
    measured = {}
    for index in range(len(program.operations)):
        found = stage.find(list(mutants(program, index)), judged=False)
        measured[index] = found
    for index in (0, 7, len(program.operations) - 1):
        again = Stage(program, "song", {"x": x}, None)
        assert again.find(list(mutants(program, index)), judged=False) == measured[index]


def test_a_change_is_measured_against_the_unmutated_outputs():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((2, 50)).astype(np.float32)
    original = Original("song", {"y": y})
    assert original.change({"y": y.copy()}) == Change("song", math.inf, False)
    small, large = (original.change({"y": y * np.float32(f)}) for f in (1 + 1e-6, 1.01))
    assert not small.matters
    assert small.snr_db == pytest.approx(120, abs=1)
    assert large.matters
    assert large.snr_db == pytest.approx(40, abs=0.1)


# --- conclusions -------------------------------------------------------------------------------


def concluded(program: mil.Model, findings: dict[str, Finding]) -> Mutation:
    mutant = next(iter(mutants(program, 0)))
    return conclude(program.operations[0], mutant, "", findings)


@pytest.mark.parametrize(
    ("findings", "fate"),
    [
        ({"song": Finding(sighting=SEEN)}, "caught"),
        ({"song": Finding(refused="no")}, "refused"),
        ({"song": Finding(identical=True), "held-out song": Finding(identical=True)}, "identical"),
        (
            {"song": Finding(), "held-out song": Finding(change=Change("h", 130.0, False))},
            "harmless",
        ),
        ({"song": Finding(), "held-out song": Finding(change=Change("h", 30.0, True))}, "hole"),
        (
            {
                "song": Finding(identical=True),
                "held-out song": Finding(change=Change("h", 3.0, True)),
            },
            "hole",
        ),
        (
            {
                "song": Finding(),
                "held-out song": Finding(change=Change("h", 30.0, True)),
                "quiet": Finding(sighting=SEEN),
            },
            "caught",
        ),
    ],
)
def test_fates(program, findings, fate):
    assert concluded(program, findings).fate == fate


def result(*rows: Mutation, sample: tuple[int, ...] = ()) -> CampaignResult:
    return CampaignResult("tiny", "fp32", ("song",), "held-out song", 1, rows, sample, 0.0, {})


def test_one_hole_in_fifty_fails_and_in_five_hundred_passes(program):
    caught = replace(
        concluded(program, {"song": Finding(sighting=SEEN)}), changes=(Change("h", 30.0, True),)
    )
    hole = concluded(program, {"song": Finding(change=Change("h", 30.0, True))})
    assert result(*[caught] * 49, hole, sample=(0,)).verdict is Verdict.FAIL
    assert result(*[caught] * 499, hole, sample=(0,)).verdict is Verdict.PASS


def test_caught_mutations_that_do_not_matter_do_not_hide_a_hole(program):
    seen = concluded(program, {"song": Finding(sighting=SEEN)})
    idle = replace(seen, changes=(Change("h", 90.0, False),))
    real = replace(seen, changes=(Change("h", 30.0, True),))
    hole = concluded(program, {"song": Finding(change=Change("h", 30.0, True))})
    mostly_idle = result(*[idle] * 480, *[real] * 20, hole, sample=(*range(0, 480, 24), 490))
    assert mostly_idle.verdict is Verdict.FAIL


def test_a_campaign_that_found_nothing_that_matters_proves_nothing(program):
    nothing = concluded(program, {"song": Finding(identical=True)})
    assert result(nothing).verdict is Verdict.NOT_EVALUATED


def test_one_thread_is_given_back(network):
    torch.set_num_threads(2)
    try:
        run_campaign(network, recipe="fp32", every=400)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
