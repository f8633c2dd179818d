"""Six networks that are not HTDemucs, each declared in a few lines, through every command.

``nox -s networks`` runs them; ``examples/networks`` has them, as a user would write them. Each is
copied to a folder of its own and judged there by commands in processes of their own, as a user
does. If these fail, somebody's own network gets another answer than HTDemucs would.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.faults.operators import mutants
from harness.mil import load
from harness.mil.editing import edited, key
from harness.mil.saving import save_package
from harness.subjects.calls import of_call
from harness.verdicts import Run

pytestmark = pytest.mark.exhaustive

EXAMPLES = Path(__file__).parents[2] / "examples" / "networks"
MOST_LINES = 15


@dataclass(frozen=True)
class Planned:
    """What is asked of one network.

    ``target_db`` is above what FP16 reaches and below what FP32 does; ``fault`` is a mutation
    operator and the type of the operation that it is applied to. ``later_calls`` are those behind
    the first of a case.
    """

    target_db: float
    fault: tuple[str, str]
    outputs: int = 1
    later_calls: int = 0


NETWORKS = {
    "recurrent_separator": Planned(75.0, ("linear", "two rows of the weight exchanged")),
    "conv_tasnet": Planned(75.0, ("conv", "padding shifted by one")),
    "classifier": Planned(75.0, ("conv", "two rows of the weight exchanged")),
    "vision_transformer": Planned(70.0, ("gelu", "tanh approximation")),
    "audio_encoder": Planned(70.0, ("layer_norm", "epsilon x 1000")),
    "decoder": Planned(75.0, ("slice_update", "left out"), outputs=5, later_calls=7),
}


def parity(folder: Path, *words: str, code: int = 0) -> str:
    """Run a command in a folder; returns what it printed."""
    command = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def document(folder: Path, *words: str, code: int = 0) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(parity(folder, *words, "--json", code=code))
    return found


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network's files, its run and its FP32 package."""
    folder = tmp_path_factory.mktemp("networks") / request.param
    shutil.copytree(EXAMPLES / request.param, folder)
    parity(folder, "run")
    parity(folder, "convert", folder.name, "--out", "fp32.mlpackage")
    return folder


@pytest.fixture
def run(network: Path) -> Run:
    return Run.from_json((network / "reports" / "latest" / "run.json").read_text("utf-8"))


def levels(run: Run, recipe: str, gate: str) -> list[float]:
    """The SNR of every output under a gate; identical tensors are infinitely good."""
    return [
        float(check.outcome.metrics["snr_db"])
        for check in run.checks
        if check.gate
        and check.gate.name == gate
        and check.labels["recipe"] == recipe
        and not check.labels.get("tensor", "tap ").startswith("tap ")
    ]


def test_it_is_declared_in_a_few_lines(network: Path) -> None:
    text = (network / "parity.toml").read_text("utf-8")
    assert len(text.splitlines()) <= MOST_LINES


def test_fp32_is_exact_and_fp16_is_measured(network: Path, run: Run) -> None:
    outputs = NETWORKS[network.name].outputs
    exact = levels(run, "fp32", "expected_precision_fp32")
    kept = levels(run, "fp32", "expected_precision_state")
    carried = levels(run, "fp32", "expected_precision_carried")
    measured = levels(run, "fp16", "conversion")
    assert len(exact) + len(kept) + len(carried) == len(measured)
    assert len(carried) == NETWORKS[network.name].later_calls
    assert len(measured) % outputs == 0
    assert min(exact) > 110
    assert min(kept, default=math.inf) > 90
    assert min(carried, default=math.inf) > 90
    assert all(30 < level < 110 for level in measured if not math.isinf(level))
    assert any(not math.isinf(level) for level in measured)


def test_its_blocks_are_compared_with_those_in_pytorch(run: Run) -> None:
    taps = {
        check.labels["tensor"]
        for check in run.checks
        if check.gate
        and check.gate.name == "expected_precision_fp32"
        and check.labels["tensor"].startswith("tap ")
    }
    assert len(taps) >= 4


def test_the_report_and_its_companions_are_written(network: Path) -> None:
    latest = network / "reports" / "latest"
    assert {"index.html", "run.json", "junit.xml"} <= {file.name for file in latest.iterdir()}
    assert any((network / "reports" / "history").iterdir())


def test_sensitivity_predicts_what_a_virtual_run_measures(network: Path) -> None:
    found = document(network, "sensitivity", network.name, "--fp32-package", "fp32.mlpackage")
    assert found["operations"]
    pairs = [(found["predicted_db"][name], level) for name, level in found["measured_db"].items()]
    assert pairs
    worst = min(pairs, key=lambda pair: float(pair[1]))
    assert abs(float(worst[0]) - float(worst[1])) < 6


def test_a_recipe_is_tuned_to_a_target_and_holds(network: Path) -> None:
    target = NETWORKS[network.name].target_db
    words = ["--min-snr", str(target), "--out", "tuned.toml"]
    found = document(network, "tune", network.name, *words, "--fp32-package", "fp32.mlpackage")
    made = found["confirmation"]
    assert made["holds"] is True
    assert min(float(level) for level in made["measured_db"].values()) >= target
    assert "op_selector" in (network / "tuned.py").read_text("utf-8")


def test_headroom_is_told_of_the_subject_and_of_its_package(network: Path) -> None:
    for what in (network.name, "fp32.mlpackage"):
        found = document(network, "headroom", what)
        assert found["operations"]
        assert all(row["headroom_db"] is not None for row in found["operations"])


def test_a_planted_fault_is_red_and_explained(network: Path) -> None:
    kind, change = NETWORKS[network.name].fault
    broken = network / "broken.mlpackage"
    plant(network / "fp32.mlpackage", broken, kind, change)
    parity(network, "check", "fp32.mlpackage", "--subject", network.name)
    words = ["--subject", network.name, "--report", "page"]
    found = document(network, "check", broken.name, *words, code=1)
    gates = {row["id"].split("/")[1] for row in found["checks"] if row["verdict"] == "fail"}
    assert {"program", "expected_precision_fp32"} <= gates
    said = parity(network, "explain", "page/run.json", "--package", broken.name)
    assert "Next:" in said


@pytest.mark.parametrize("network", ["decoder"], indirect=True, scope="module")
def test_a_cache_that_is_written_elsewhere_is_red_at_every_call(
    network: Path, tmp_path: Path
) -> None:
    other, package = tmp_path / "decoder", network / "elsewhere.mlpackage"
    shutil.copytree(EXAMPLES / "decoder", other)
    text = (other / "network.py").read_text("utf-8")
    assert text.count("here : here + 1") == 2
    (other / "network.py").write_text(text.replace("here : here + 1", "here - 1 : here"), "utf-8")
    parity(other, "convert", "decoder", "--out", str(package))

    words = ["--subject", "decoder", "--case", "sequence"]
    found = document(network, "check", package.name, *words, code=1)
    red = {row.get("tensor") for row in found["checks"] if row["verdict"] == "fail"}
    calls = range(1, 2 + NETWORKS["decoder"].later_calls)
    kept = "state.blocks_1_attention_values"
    assert {of_call(name, call) for name in ("logits", kept) for call in calls} <= red


def plant(sound: Path, broken: Path, kind: str, change: str) -> None:
    """Write a package with one operation mutated: the middle one of its kind."""
    model = load(sound)
    places = [index for index, o in enumerate(model.operations) if o.type == kind]
    found = [m for index in places for m in mutants(model, index) if m.change == change]
    chosen = found[len(found) // 2]
    *before, last = chosen.operations
    faulty = edited(model, last, before={key(last): before})
    function, read = faulty.plan.function, faulty.package.constants.array
    save_package(broken, function, read, metadata=model.package.metadata)
