"""Where the precision lab gets its models and inputs from.

A lab needs a subject's FP32 package and a few input signals. It needs no goldens: what it compares
with is the FP32 program itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    trace_inner_model,
)
from harness.digests import digest_of
from harness.errors import ParityError, UnknownNameError
from harness.golden import Case, load_cases
from harness.golden.builder import case_inputs
from harness.golden.layout import Layout
from harness.precision.sensitivity import Stems
from harness.precision.sweep import content_key
from harness.precision.tuning import Confirmation, Trial, Tuner
from harness.precision.virtual import VirtualPrecision
from harness.store import Store
from harness.subjects import describe_subject, load_subject
from harness.subjects.protocol import sound_of
from harness.workbench.packages import Packages

SONG_PREFIX = "song:"


@contextmanager
def open_lab(subject: str, package: Path | None = None) -> Iterator[VirtualPrecision]:
    """Yield the lab of a subject: of its FP32 package, which is converted if none is given.

    Args:
        subject: a single model.
        package: its FP32 package, as ``parity convert`` makes it.

    Raises:
        ContractError: the package has other inputs or outputs than the subject's.
        PackageError: the package is not all FP32.
        ParityError: the subject is a bag, or can't be converted.
    """
    if package is not None:
        check_contract(package, describe_subject(subject).interface)
        yield VirtualPrecision(mil.functional(mil.load(package)))
        return
    with tempfile.TemporaryDirectory(prefix="parity-lab-") as folder:
        yield VirtualPrecision(mil.functional(mil.load(fp32_package(subject, Path(folder)))))


def lab_stems(subject: str) -> Stems | None:
    """Return how the outputs of a subject's network become its stems; None if it has none."""
    network = describe_subject(subject)
    if not network.sources:
        return None
    return Stems(network.sources, network.stem_of, sound_of(network).sample_rate)


def fp32_package(subject: str, folder: Path, store: Store | None = None) -> Path:
    """Return the FP32 package of a subject in ``folder``; fetched or converted if absent."""
    return Packages(folder, load_subject, store).path(subject, "fp32")


def fp32_key(subject: str) -> str:
    """Return what names the FP32 package of a subject in a store."""
    return Packages(Path(), load_subject).key(subject, "fp32")


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
        return tuner.confirm(best, mil.functional(mil.load(made.path)), made.audit.verdict)


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
    network = describe_subject(subject)
    return {
        name: {
            key: torch.from_numpy(np.ascontiguousarray(array)).to(device)
            for key, array in case_inputs(case, network).items()
        }
        for name, case in find_cases(names, golden_root).items()
    }


def find_cases(names: Sequence[str], golden_root: Path) -> dict[str, Case]:
    """Return cases by name, as `lab_inputs` takes them; no signal is made.

    Raises:
        As `lab_inputs`.
    """
    known = load_cases(Layout(golden_root).recipes)
    return {name: _case(name, known) for name in names}


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


def case_keys(package: Path, cases: Sequence[str], golden_root: Path) -> dict[str, str]:
    """Return for each case a hash of a package and of the signal.

    Args:
        package: an FP32 package.
        cases: as `lab_inputs` takes them.
        golden_root: the folder with ``recipes.toml``.
    """
    files = digest_of(package).value
    found = find_cases(cases, golden_root)
    return {name: content_key(files, case.hash) for name, case in found.items()}
