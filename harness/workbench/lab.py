"""Where the precision lab gets its models and inputs from.

A lab needs a subject's FP32 package and a few input signals. It needs no goldens: what it compares
with is the FP32 program itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from harness import mil
from harness.audio.contract import SEGMENT_LENGTH
from harness.conversion import (
    PrecisionRecipe,
    check_contract,
    convert_to_coreml,
    load_recipe,
    trace_inner_model,
)
from harness.errors import ParityError, UnknownNameError
from harness.golden import Case, load_cases
from harness.golden.builder import case_signal
from harness.precision.sensitivity import SignalMeasure, Stems, audible, measures_of, snr_of
from harness.precision.sweep import Cell, Result, content_key, folder_hash
from harness.precision.tuning import (
    Confirmation,
    Trial,
    Tuner,
    fp32_share,
    operation_costs,
    weight_bytes,
)
from harness.precision.virtual import VirtualPrecision
from harness.subjects import describe_subject, load_subject
from harness.subjects.protocol import sound_of
from harness.workbench.packages import Packages

SONG_PREFIX = "song:"


@contextmanager
def open_lab(
    subject: str, package: Path | None = None, rewrites: Sequence[str] = ()
) -> Iterator[VirtualPrecision]:
    """Yield the lab of a subject: of its FP32 package, which is converted if none is given.

    Args:
        subject: a single model.
        package: its FP32 package, as ``parity convert`` makes it.
        rewrites: the forms that it is converted in; a given package has been already.

    Raises:
        ContractError: the package has other inputs or outputs than the subject's.
        PackageError: the package is not all FP32.
        ParityError: the subject is a bag, or can't be converted.
    """
    if package is not None:
        check_contract(package, describe_subject(subject).interface)
        yield VirtualPrecision(mil.load(package))
        return
    with tempfile.TemporaryDirectory(prefix="parity-lab-") as folder:
        yield VirtualPrecision(mil.load(fp32_package(subject, Path(folder), rewrites)))


def lab_stems(subject: str) -> Stems | None:
    """Return how the outputs of a subject's network become its stems; None if it has none."""
    network = describe_subject(subject)
    if not network.sources:
        return None
    return Stems(network.sources, network.stem_of, sound_of(network).sample_rate)


def lab_measures(subject: str, lab: VirtualPrecision) -> tuple[SignalMeasure, ...]:
    """Return what an error is measured by: all stems, each stem, each output of the network."""
    return measures_of(lab_stems(subject), [output.name for output in lab.base.outputs])


def fp32_package(subject: str, folder: Path, rewrites: Sequence[str] = ()) -> Path:
    """Return the FP32 package of a subject in ``folder``, converted if it isn't there."""
    return Packages(folder, load_subject).fp32(subject, rewrites)


def confirm(
    subject: str, recipe: PrecisionRecipe, tuner: Tuner, best: Trial, out: Path | None = None
) -> Confirmation:
    """Convert a subject by the recipe that was tuned for it, and hold the package to the promise.

    Args:
        subject: a single model.
        recipe: of ``best``.
        tuner: that found it.
        best: the trial.
        out: where to keep the package; None for nowhere.
    """
    loaded = load_subject(subject)
    with tempfile.TemporaryDirectory(prefix="parity-lab-") as folder:
        made = convert_to_coreml(
            trace_inner_model(loaded.extract()),
            recipe=recipe,
            out=out or Path(folder) / "tuned.mlpackage",
            subject=loaded.name,
            fingerprint=loaded.fingerprint,
        )
        return tuner.confirm(best, mil.load(made.path), made.audit.verdict)


def lab_inputs(
    subject: str, names: Sequence[str], golden_root: Path, device: str = "cpu"
) -> dict[str, dict[str, torch.Tensor]]:
    """Return the network's inputs for each case.

    Args:
        subject: whose stems songs are mixed of.
        names: golden cases of one segment, or ``song:SEED`` for any other song.
        golden_root: the folder with ``recipes.toml``.
        device: where the tensors go.

    Raises:
        UnknownNameError: no such case.
        ParityError: a case is an audio file of several segments.
    """
    cases = load_cases(golden_root / "recipes.toml")
    network = describe_subject(subject)
    inputs = {}
    for name in names:
        signal, _ = case_signal(_case(name, cases), network)
        tensor = torch.from_numpy(np.ascontiguousarray(signal)).to(device)
        inputs[name] = network.inputs_of(tensor)
    return inputs


def _case(name: str, cases: dict[str, Case]) -> Case:
    if name.startswith(SONG_PREFIX) and name.removeprefix(SONG_PREFIX).isdecimal():
        seed = int(name.removeprefix(SONG_PREFIX))
        parameters = MappingProxyType({"seed": seed})
        return Case(name, "song", parameters, "a song of the lab", SEGMENT_LENGTH)
    if name not in cases:
        raise UnknownNameError("case", name, [*cases, f"{SONG_PREFIX}7"])
    if cases[name].is_file:
        raise ParityError(f"case {name!r} is an audio file of several segments; the lab takes one")
    return cases[name]


def sweep_cells(
    packages: dict[str, Path],
    precisions: Sequence[str],
    cases: Sequence[str],
    golden_root: Path,
    numerics: str = "storage",
) -> list[Cell]:
    """Return a cell for each subject, recipe that is for it, and case.

    Args:
        packages: the FP32 package of each subject.
        precisions: names of recipes, or TOML files.
        cases: as `lab_inputs` takes them.
        golden_root: the folder with ``recipes.toml``.
        numerics: how the executor computes.
    """
    known = load_cases(golden_root / "recipes.toml")
    recipes = {name: load_recipe(name) for name in precisions}
    for name, recipe in recipes.items():
        if recipe.rewrites:
            raise ParityError(
                f"recipe {name!r} rewrites the program ({', '.join(recipe.rewrites)}), and a sweep "
                "compares precisions of one program; hold it by parity convert and parity check"
            )
    return [
        Cell(
            subject,
            name,
            case,
            numerics,
            content_key(package, recipe.to_toml(), _case(case, known).hash, numerics),
        )
        for subject, package in ((s, folder_hash(p)) for s, p in packages.items())
        for name, recipe in recipes.items()
        if recipe.is_for(subject)
        for case in cases
    ]


def measure_cell(packages: dict[str, Path], golden_root: Path, cell: Cell) -> Result:
    """Measure a recipe on a case by a virtual run; `run_sweep` calls it in other processes."""
    lab, costs = _swept(packages[cell.subject])
    inputs = lab_inputs(cell.subject, [cell.case], golden_root)[cell.case]
    recipe = load_recipe(cell.precision)
    choice, weights = lab.by_recipe(recipe), lab.weights_by_recipe(recipe)
    expected = lab.base.run(inputs)
    actual = lab.model(choice, weights).run(inputs, numerics=cell.numerics)
    _, *measures = lab_measures(cell.subject, lab)  # without that of all stems together
    return {
        "fp32_share": fp32_share(costs, choice),
        "weight_bytes": weight_bytes(lab, choice, weights),
        "snr_db": {  # None where nothing differs
            measure.name: snr_of(ratio) if (ratio := measure.of(expected, actual)) else None
            for measure in audible(measures, expected)
        },
    }


@lru_cache(maxsize=2)
def _swept(package: Path) -> tuple[VirtualPrecision, dict[str, float]]:
    lab = VirtualPrecision(mil.load(package))
    return lab, operation_costs(lab.base.plan, "flops")
