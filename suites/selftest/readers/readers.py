"""Every reader of files from strangers, each with small sound files for it.

A reader makes its files in a folder and, told which of them was changed, reads as a command would:
as far as the values are used. `READERS` is the list; a new reader of files is a new row.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

from harness import mil
from harness.adapters import read_adapter
from harness.adapters.layout import Sizes
from harness.audio.contract import Geometry
from harness.audio.files import read_audio
from harness.captures import Capture, read_capture
from harness.cli.tensors import write_tensors
from harness.conformance.results import CaseResult, CaseStatus, Conformance, summarise
from harness.conformance.waivers import read_waivers as read_conformance_waivers
from harness.conversion import load_recipe
from harness.conversion.sidecar import PREFIX, read_sidecar
from harness.coreai.asset import check_asset
from harness.devices import device, load_profile
from harness.digests import digest_of
from harness.golden import load_cases
from harness.golden.fingerprint import fingerprint
from harness.golden.records import (
    Entry,
    Record,
    read_ledger,
    read_manifest,
    write_ledger,
    write_manifest,
)
from harness.golden.tensorfile import Golden, read_provenance
from harness.golden.tensorfile import write_tensors as write_golden
from harness.mil.package import open_package
from harness.records import attest, read_attestation
from harness.subjects import Architecture, UnusualWeightsWarning
from harness.subjects.checkpoints import read_checkpoint
from harness.subjects.declared import read_declaration
from harness.subjects.locate import locate_given
from harness.subjects.weights import model_from_checkpoint
from harness.verdicts import (
    Baseline,
    Run,
    Snapshot,
    read_waivers,
)
from harness.verdicts.jsondata import read_document
from harness.verdicts.rows.documents import read_attachment
from harness.weights import apply_steps, read_steps
from harness.workbench.given import read_tensors
from suites.ops.packages import write_package
from suites.selftest.captures.synthetic import write_capture
from suites.selftest.declared.fading import DECLARATION
from suites.selftest.mil.conftest import make_program, small_network
from suites.selftest.mil.printing import write_compiled
from suites.selftest.mil.test_mil_control_flow import (
    SHAPE,
    branches,
    listing,
    nested,
    powers,
    stateful_program,
)
from suites.selftest.verdicts.test_documents import RUN


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: for people.
        make: writes sound files into a folder.
        read: reads them as a command would; it gets the folder and the name of the file that was
            changed, and raises ParityError or nothing.
        chosen: whether the user chooses the files' names.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path, str], object]
    chosen: bool = True


# --- programs -------------------------------------------------------------------------------------

BODIES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "network": (small_network, (3, 6)),
    "branches": (branches, SHAPE),
    "loop": (powers, SHAPE),
    "nested": (nested, SHAPE),
    "lists": (listing, (4, 3)),
}


def make_packages(folder: Path) -> None:
    for name, (body, shape) in BODIES.items():
        program = make_program(body, {"x": shape}, np.float32)
        write_package(program, folder / f"{name}.mlpackage")
    write_package(stateful_program(), folder / "states.mlpackage")


def make_compiled(folder: Path) -> None:
    packages = folder.parent / "to be compiled"
    packages.mkdir()
    make_packages(packages)
    for name in ("network", "nested", "states"):
        write_compiled(packages / f"{name}.mlpackage", folder / f"{name}.mlmodelc")


def run_model(folder: Path, changed: str) -> None:
    """Load the model that the file belongs to and execute it on ones."""
    model = mil.load(folder / Path(changed).parts[0])
    inputs = {
        feature.name: np.ones([size or 1 for size in feature.shape or ()], feature.dtype.numpy)
        for feature in model.inputs
        if all((size or 1) < 1000 for size in feature.shape or ())
    }
    state = model.new_state() if model.states else None
    results = model.predict(inputs, state=state, taps="all")
    assert {feature.name for feature in model.outputs} <= set(results)


def make_sidecar(folder: Path) -> None:
    write_package(make_program(small_network, {"x": (3, 6)}, np.float32), folder / "of.mlpackage")
    entries = {
        "recipe_toml.toml": RECIPE,
        "modules.json": json.dumps({"encoder.0": ["hidden", "activated"], "": ["x"]}),
        "taps.json": json.dumps({"encoder.0": ["hidden", [0, 1]], "time": ["mean", None]}),
        "missing_taps.json": json.dumps({"decoder.0": "folded"}),
        "vanished.json": json.dumps({"scale": ["mul", "encoder.0", ["hidden"]]}),
    }
    for name, text in entries.items():
        (folder / name).write_text(text)


def read_metadata(folder: Path, changed: str) -> None:
    del changed
    metadata = {
        PREFIX + file.stem: file.read_text(encoding="utf-8", errors="replace")
        for file in folder.iterdir()
        if file.is_file()
    }
    sidecar = read_sidecar(replace(open_package(folder / "of.mlpackage"), metadata=metadata))
    assert sidecar is not None
    sidecar.to_metadata()


# --- weights --------------------------------------------------------------------------------------

TINY = Architecture(
    "tiny",
    ("drums", "bass"),
    {"channels": 4, "t_layers": 1, "segment": Fraction(1, 2)},
    members=("aaaaaaaa", "bbbbbbbb"),
    bag_weights=((1.0, 0.5), (0.0, 0.5)),
)


def two_tensors(architecture: Architecture) -> torch.nn.Module:
    """A model that takes the place of HTDemucs, which takes a tenth of a second to make."""
    del architecture
    with torch.device("meta"):
        return torch.nn.Linear(2, 3)


def make_checkpoints(folder: Path) -> None:
    state = torch.nn.Linear(2, 3).requires_grad_(False).state_dict()
    arguments = {"sources": list(TINY.sources), **TINY.arguments}
    package = {"klass": HTDemucs, "args": (), "kwargs": arguments, "state": state, "loss": 0.1}
    torch.save(package, folder / "package.th")
    torch.save(state, folder / "bare.th")
    written = {**arguments, "segment": {"_type": "fraction", "numerator": 1, "denominator": 2}}
    metadata = {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": "[]",
        "kwargs": json.dumps(written),
    }
    save_file(state, folder / "hub.safetensors", metadata)


def load_checkpoint(folder: Path, changed: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusualWeightsWarning)
        model_from_checkpoint(TINY, read_checkpoint(folder / changed))


def make_bag(folder: Path) -> None:
    (folder / "tiny.yaml").write_text(
        "models: ['aaaaaaaa', 'bbbbbbbb']\nweights: [\n  [1., 0.5],\n  [0., 0.5]]\n"
    )
    for name in TINY.members:
        (folder / f"{name}.th").write_bytes(b"")


# --- documents ------------------------------------------------------------------------------------

RECIPE = """name = "mixed"
description = "as published"
source = "somebody"
gating = false
gates = ["end_to_end"]
subjects = ["mini"]
default = "fp16"

[[rules]]
precision = "fp32"
types = ["sqrt", "reduce_*"]
modules = ["encoder.0"]
optional = true
reason = "sums"

[[rules]]
weights = "int8"
types = ["conv", "linear"]
"""
WAIVERS = """[[waiver]]
check = "end_to_end/end_to_end/mini/song/fp32/mil/storage/vocals"
reason = "torch rounds otherwise"
since = 2026-11-01
until = 2026-12-01
lowest_headroom_db = -0.5
"""
CASES = """[case.noise]
kind = "noise"
why = "every frequency at once"
seed = 42
level_db = -20.0
taps = true
floor_db = -90.0

[case.song]
kind = "song"
why = "music"
seed = 1
length = 400000
scope = "file"
"""


PROFILE = files("harness.devices").joinpath("profiles/ane-m1.toml")
RULES = """[[step]]
rename = '^(a)[.]'
to = 'c.\\1.'
[[step]]
transpose = ["c.*", "b"]
[[step]]
dtype = "float16"
only = "c.*"
"""


def write(folder: Path, **texts: str) -> None:
    """Write each text to the file whose name is the argument's, its last ``_`` being the dot."""
    for name, text in texts.items():
        (folder / ".".join(name.rsplit("_", 1))).write_text(text, encoding="utf-8")


def golden_record() -> Record:
    print_ = fingerprint("freq", np.arange(64, dtype=np.float32))
    versions = {"torch": "2.13.0"}
    return Record("ab" * 32, 400, "cd" * 32, "ef" * 32, versions, 42, "parity", {"freq": print_})


def make_golden_documents(folder: Path) -> None:
    write_manifest(folder / "manifest.json", {("mini", "noise"): golden_record()})
    write_ledger(folder / "ledger.json", {("mini", "noise"): Entry(golden_record(), None)})


def read_golden_document(folder: Path, changed: str) -> None:
    (read_ledger if changed == "ledger.json" else read_manifest)(folder / changed)


def make_golden_file(folder: Path) -> None:
    tensors = {"freq": np.arange(64, dtype=np.float32)}
    write_golden(folder / "golden.safetensors", tensors, {"seed": 42, "versions": {"torch": "2"}})


def read_golden_file(folder: Path, changed: str) -> None:
    read_provenance(folder / changed)
    with Golden("mini", "noise", folder / changed, golden_record()) as golden:
        [golden[name] for name in golden.names]


def make_runs(folder: Path) -> None:
    write(folder, run_json=RUN.to_json())


def read_run(folder: Path, changed: str) -> None:
    run = read_document(folder / changed, Run.from_json)
    assert run.sentence()
    Snapshot.of(run)


def make_attestation(folder: Path) -> None:
    package = folder.parent / "attested.mlpackage"
    package.mkdir(exist_ok=True)
    (package / "Manifest.json").write_text("{}")
    packages = {package.name: {"dirHash": digest_of(package).value}}
    run = replace(RUN, provenance={**RUN.provenance, "packages": packages})
    write(folder, statement_json=attest(run, b"", package))


def make_history(folder: Path) -> None:
    snapshot = Snapshot.of(RUN)
    baseline = Baseline(snapshot, "the first").to_json()
    write(folder, snapshot_json=snapshot.to_json(), baseline_json=baseline)


def read_history(folder: Path, changed: str) -> None:
    (Snapshot if changed == "snapshot.json" else Baseline).read(folder / changed)


def make_attachment(folder: Path) -> None:
    results = [CaseResult("test_a[1]", CaseStatus.FAILED, ("conv",), 1, "other values")]
    found = summarise(
        results,
        selection="all",
        collected=1,
        stale_waivers=(),
        problems=(),
        provenance={"commit": "c"},
        started="2026-01-01T00:00:00+00:00",
    )
    write(folder, conformance_json=found.to_json())


def attach(folder: Path, changed: str) -> None:
    read_attachment(folder / changed)
    Conformance.from_json((folder / changed).read_text(encoding="utf-8", errors="replace"))


# --- arrays and sound -----------------------------------------------------------------------------


def make_tensors(folder: Path) -> None:
    tensors = {"x": np.ones((2, 3), np.float32), "y": np.arange(4, dtype=np.int32)}
    write_tensors(folder / "inputs.safetensors", tensors)
    write_tensors(folder / "inputs.npz", tensors)
    np.save(folder / "x.npy", tensors["x"])


def read_inputs(folder: Path, changed: str) -> None:
    for tensor in read_tensors(folder / changed).values():
        tensor.astype(np.float64).sum()


def make_audio(folder: Path) -> None:
    samples = 0.1 * np.random.default_rng(0).standard_normal((1500, 2))
    soundfile.write(folder / "float.wav", samples, 44_100, subtype="FLOAT")
    soundfile.write(folder / "pcm.wav", samples, 48_000, subtype="PCM_16")
    soundfile.write(folder / "song.flac", samples, 44_100)
    soundfile.write(folder / "song.mp3", samples, 44_100)
    soundfile.write(folder / "song.ogg", samples, 44_100)


def make_capture(folder: Path) -> None:
    x, y = np.arange(6, dtype=np.float16), np.ones((2, 3), np.float32)
    write_capture(folder / "mine.safetensors", Capture.of({"x": x}, {"y": y}, device="a Mac"))


def use_capture(folder: Path, changed: str) -> None:
    capture = read_capture(folder / changed)
    sum(float(np.nansum(value.astype(np.float64))) for value in capture.outputs.values())


def compute_by_profile(folder: Path, changed: str) -> None:
    unit = device(load_profile(folder / changed))
    for name in unit.profile.tables:
        unit.function(name, torch.ones(1))


ADAPTER = """format = 1

[inputs.x]
tensor = "spectrogram"
axes = "1 (z c) f t"
parts = "imag real"
nyquist = true

[outputs."drums"]
tensor = "time"
axes = "1 c n"
stem = "drums"
"""


def read_layout(folder: Path, changed: str) -> None:
    adapter = read_adapter(folder / changed)
    sizes = Sizes(("drums", "bass"), Geometry(1000, 2, 16, 44))
    for port in (*adapter.inputs.values(), *adapter.outputs.values()):
        sizes.shape(port)
    assert adapter.words()


def make_asset(folder: Path) -> None:
    (folder / "net.aimodel").mkdir()
    (folder / "net.aimodel" / "main.mlirb").write_bytes(b"ML\xefR")
    metadata = {"assetVersion": "2.0", "custom": {"subject": "mini", "precision": "fp32"}}
    (folder / "net.aimodel" / "metadata.json").write_text(json.dumps(metadata))


READERS = [
    Reader("packages", make_packages, run_model, chosen=False),
    Reader("compiled models", make_compiled, run_model, chosen=False),
    Reader("package metadata", make_sidecar, read_metadata, chosen=False),
    Reader(
        "Core AI assets",
        make_asset,
        lambda folder, _: check_asset(folder / "net.aimodel"),
        chosen=False,
    ),
    Reader("checkpoints", make_checkpoints, load_checkpoint),
    Reader("bags", make_bag, lambda folder, _: locate_given(TINY, folder), chosen=False),
    Reader(
        "precision recipes",
        lambda folder: write(folder, recipe_toml=RECIPE),
        lambda folder, changed: load_recipe(folder / changed),
    ),
    Reader(
        "transforms of weights",
        lambda folder: write(folder, rules_toml=RULES),
        lambda folder, changed: apply_steps({"a.b": torch.ones(2)}, read_steps(folder / changed)),
    ),
    Reader("captures", make_capture, use_capture),
    Reader(
        "device profiles",
        lambda folder: write(folder, mine_toml=PROFILE.read_text()),
        compute_by_profile,
    ),
    Reader(
        "adapters",
        lambda folder: write(folder, x_toml=ADAPTER),
        read_layout,
    ),
    Reader(
        "golden recipes",
        lambda folder: write(folder, cases_toml=CASES),
        lambda folder, changed: load_cases(folder / changed),
    ),
    Reader(
        "declarations",
        lambda folder: write(folder, parity_toml=DECLARATION.format(module="nowhere")),
        lambda folder, changed: read_declaration(folder / changed),
    ),
    Reader(
        "waivers",
        lambda folder: write(folder, waivers_toml=WAIVERS),
        lambda folder, changed: read_waivers(folder / changed),
    ),
    Reader(
        "conformance waivers",
        lambda folder: write(folder, waivers_toml='"test_a[1]" = "known"\n'),
        lambda folder, changed: read_conformance_waivers(folder / changed),
    ),
    Reader("golden documents", make_golden_documents, read_golden_document, chosen=False),
    Reader("golden files", make_golden_file, read_golden_file),
    Reader("runs", make_runs, read_run),
    Reader(
        "attestations",
        make_attestation,
        lambda folder, changed: read_attestation(folder / changed),
    ),
    Reader("snapshots and baselines", make_history, read_history, chosen=False),
    Reader("attachments", make_attachment, attach),
    Reader("tensors", make_tensors, read_inputs),
    Reader("audio", make_audio, lambda folder, changed: read_audio(folder / changed)),
]
