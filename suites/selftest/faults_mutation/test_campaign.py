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
from harness.faults.mutation import CampaignResult, MutantResult, run_campaign
from harness.faults.mutation.campaign import conclude
from harness.faults.mutation.detector import Change, Detection, Detector, UnmutatedOutputs
from harness.faults.mutation.runner import MutantRun, MutantRunner
from harness.faults.operators.site import mutants
from harness.mil.editing import constant, with_inputs
from harness.verdicts import Verdict

SEEN = Detection("conversion", "conversion", "freq", 3.0)


@pytest.fixture(scope="module")
def campaign(network) -> CampaignResult:
    return run_campaign(network, recipe="fp32", every=9)


def test_a_sound_network_catches_what_matters(campaign):
    """The claim itself, on a network of a quarter of a second."""
    assert campaign.verdict is Verdict.PASS
    assert campaign.count("survived") == 0
    assert campaign.count("killed") > 0.7 * len(campaign.mutants)
    assert campaign.mattering_share is not None
    assert campaign.mattering_share > 0


def test_every_mutation_has_one_fate_and_its_proof(campaign):
    for row in campaign.mutants:
        assert (row.detection is not None) == (row.status == "killed")
        assert (row.reason != "") == (row.status == "invalid")
        if row.status == "tolerated":
            assert [change.input for change in row.changes] == ["held-out song"]
            assert not row.changes[0].matters


@pytest.mark.exhaustive
def test_processes_do_not_change_a_result(network):
    alone = run_campaign(network, recipe="fp32", every=60)
    shared = run_campaign(network, recipe="fp32", every=60, jobs=2)
    assert alone.mutants == shared.mutants
    assert alone.sample == shared.sample


def test_the_document_is_json_and_counts_every_row(campaign):
    text = json.dumps(campaign.to_dict())
    document = json.loads(text)
    assert document["kind"] == "mutations"
    assert len(document["rows"]) == len(campaign.mutants)
    assert all(len(row) == len(document["columns"]) for row in document["rows"])
    for table in ("by_type", "by_change"):
        counted = sum(sum(row.values()) for row in document[table].values())
        assert counted == len(document["rows"])
    assert sum(document["by_check"].values()) == document["statuses"]["killed"]


# --- one runner --------------------------------------------------------------------------------


def outputs(model: mil.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    return model.predict({"x": x})


def finding(
    model: mil.Model, x: np.ndarray, detector: Detector, type: str, change: str
) -> MutantRun:
    runner = MutantRunner(model, "song", {"x": x}, detector)
    for index, operation in enumerate(model.operations):
        for mutant in mutants(model, index):
            if (operation.type, mutant.change) == (type, change):
                return runner.run([mutant])[0]
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
    detector = Detector(expected, located, outputs=["y"])
    found = finding(program, x, detector, "gelu", "tanh approximation")
    assert found.detection is not None
    assert (found.detection.tensor, found.detection.gate) == ("tap gelu", "expected_precision_fp32")
    assert found.detection.excess_db is not None
    assert 20 < found.detection.excess_db < 110
    behind = finding(program, x, detector, "linear", "two rows of the weight exchanged")
    assert behind.detection is not None
    assert behind.detection.tensor == "y"


def test_a_tap_in_another_layout_is_compared_in_pytorchs(program, x):
    name = next(o.outputs[0].name for o in program.operations if o.type == "layer_norm")
    clean = program.predict({"x": x}, taps=[name])
    moved = {
        "y": clean["y"],
        "tap.norm": np.ascontiguousarray(np.transpose(clean[name], (0, 2, 1))),
    }
    detector = Detector(moved, {"norm": TapLocation(name, (0, 2, 1))}, outputs=["y"])
    found = finding(program, x, detector, "layer_norm", "one element of the offset dropped")
    assert found.detection is not None
    assert found.detection.tensor == "tap norm"


def test_what_is_not_a_number_is_caught_without_a_distance(program, x):
    detector = Detector(outputs(program, x), outputs=["y"])
    found = finding(
        program,
        np.zeros_like(x),
        Detector(outputs(program, x * 0), outputs=["y"]),
        "linear",
        "left out",
    )
    assert found.detection is not None
    runner = MutantRunner(program, "song", {"x": x}, detector)
    index = next(i for i, o in enumerate(program.operations) if o.type == "sqrt")
    mutant = next(m for m in mutants(program, index) if m.kind == "scale")
    gain = replace(
        mutant.operations[-1],
        inputs={**mutant.operations[-1].inputs, "y": (constant(np.float32("nan")),)},
    )
    (broken,) = runner.run([replace(mutant, operations=(*mutant.operations[:-1], gain))])
    assert broken.detection is not None
    assert broken.detection.excess_db is None


def test_a_shape_that_the_program_does_not_declare_is_refused(program, x):
    detector = Detector(outputs(program, x), outputs=["y"])
    found = finding(program, x, detector, "real_div", "operands exchanged")
    assert found.ended
    index = next(i for i, o in enumerate(program.operations) if o.type == "transpose")
    mutant = next(iter(mutants(program, index)))
    operation = program.operations[index]
    wrong = with_inputs(operation, perm=[0, 1, 2])
    runner = MutantRunner(program, "song", {"x": x}, detector)
    (refused,) = runner.run([replace(mutant, operations=(wrong,))])
    assert "the program declares" in refused.invalid
    assert refused.ended


def test_a_mutation_of_nothing_is_identical(program, x):
    runner = MutantRunner(program, "song", {"x": x}, Detector(outputs(program, x), outputs=["y"]))
    mutant = next(iter(mutants(program, 3)))
    (found,) = runner.run([replace(mutant, operations=(program.operations[3],))])
    assert found == MutantRun(equivalent=True)


def test_a_program_that_fails_unmutated_proves_nothing(program, x):
    wrong = {"y": outputs(program, x)["y"] * np.float32(1.001)}
    with pytest.raises(ParityError, match="the unmutated program fails expected_precision_fp32"):
        MutantRunner(program, "song", {"x": x}, Detector(wrong, outputs=["y"]))


def test_a_stage_moves_forward_only(program, x):
    runner = MutantRunner(program, "song", {"x": x}, None)
    runner.run(list(mutants(program, 5)), judged=False)
    with pytest.raises(ParityError, match="operation 4 was passed already"):
        runner.run(list(mutants(program, 4)), judged=False)


def test_mutants_leave_the_unmutated_run_alone(program, x):
    """A mutant that wrote over a kept value would make every later one look worse than it is."""
    runner = MutantRunner(program, "song", {"x": x}, None)
    measured = {}
    for index in range(len(program.operations)):
        found = runner.run(list(mutants(program, index)), judged=False)
        measured[index] = found
    for index in (0, 7, len(program.operations) - 1):
        again = MutantRunner(program, "song", {"x": x}, None)
        assert again.run(list(mutants(program, index)), judged=False) == measured[index]


def test_a_change_is_measured_against_the_unmutated_outputs():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((2, 50)).astype(np.float32)
    original = UnmutatedOutputs("song", {"y": y})
    assert original.change({"y": y.copy()}) == Change("song", math.inf, False)
    small, large = (original.change({"y": y * np.float32(f)}) for f in (1 + 1e-6, 1.01))
    assert not small.matters
    assert small.snr_db == pytest.approx(120, abs=1)
    assert large.matters
    assert large.snr_db == pytest.approx(40, abs=0.1)


# --- conclusions -------------------------------------------------------------------------------


def concluded(program: mil.Model, findings: dict[str, MutantRun]) -> MutantResult:
    mutant = next(iter(mutants(program, 0)))
    return conclude(program.operations[0], mutant, "", findings)


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ({"song": MutantRun(detection=SEEN)}, "killed"),
        ({"song": MutantRun(invalid="no")}, "invalid"),
        (
            {"song": MutantRun(equivalent=True), "held-out song": MutantRun(equivalent=True)},
            "equivalent",
        ),
        (
            {"song": MutantRun(), "held-out song": MutantRun(change=Change("h", 130.0, False))},
            "tolerated",
        ),
        (
            {"song": MutantRun(), "held-out song": MutantRun(change=Change("h", 30.0, True))},
            "survived",
        ),
        (
            {
                "song": MutantRun(equivalent=True),
                "held-out song": MutantRun(change=Change("h", 3.0, True)),
            },
            "survived",
        ),
        (
            {
                "song": MutantRun(),
                "held-out song": MutantRun(change=Change("h", 30.0, True)),
                "quiet": MutantRun(detection=SEEN),
            },
            "killed",
        ),
    ],
)
def test_statuses(program, findings, status):
    assert concluded(program, findings).status == status


def result(*rows: MutantResult, sample: tuple[int, ...] = ()) -> CampaignResult:
    return CampaignResult("tiny", "fp32", ("song",), "held-out song", 1, rows, sample, 0.0, {})


def test_one_hole_in_fifty_fails_and_in_five_hundred_passes(program):
    caught = replace(
        concluded(program, {"song": MutantRun(detection=SEEN)}), changes=(Change("h", 30.0, True),)
    )
    hole = concluded(program, {"song": MutantRun(change=Change("h", 30.0, True))})
    assert result(*[caught] * 49, hole, sample=(0,)).verdict is Verdict.FAIL
    assert result(*[caught] * 499, hole, sample=(0,)).verdict is Verdict.PASS


def test_caught_mutations_that_do_not_matter_do_not_hide_a_hole(program):
    seen = concluded(program, {"song": MutantRun(detection=SEEN)})
    idle = replace(seen, changes=(Change("h", 90.0, False),))
    real = replace(seen, changes=(Change("h", 30.0, True),))
    hole = concluded(program, {"song": MutantRun(change=Change("h", 30.0, True))})
    mostly_idle = result(*[idle] * 480, *[real] * 20, hole, sample=(*range(0, 480, 24), 490))
    assert mostly_idle.verdict is Verdict.FAIL


def test_a_campaign_that_found_nothing_that_matters_proves_nothing(program):
    nothing = concluded(program, {"song": MutantRun(equivalent=True)})
    assert result(nothing).verdict is Verdict.NOT_EVALUATED


def test_one_thread_is_given_back(network):
    torch.set_num_threads(2)
    try:
        run_campaign(network, recipe="fp32", every=400)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
