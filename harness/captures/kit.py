"""The folder that goes to a Mac: a package, its inputs, and what runs one on the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from harness._coremltools import import_coremltools, logged_apart
from harness.atomic import atomic_folder
from harness.atomic.products import RECORDING
from harness.captures.probes import PROBES, probe_inputs
from harness.captures.recorder import INPUTS, PACKAGE
from harness.mil import Model, load

SCRIPTS = ("recorder.py", "recorder.swift")


def write_kit(folder: Path) -> None:
    """Write the probes, their inputs and both recorders, atomically."""
    with atomic_folder(folder, RECORDING) as temporary:
        _write_probes(temporary / PACKAGE)
        _write_rest(temporary, probe_inputs())


def write_recording(
    folder: Path, package: Path, inputs: Mapping[str, np.ndarray[Any, Any]]
) -> None:
    """Write a user's package, its inputs and both recorders, atomically."""
    with atomic_folder(folder, RECORDING) as temporary:
        shutil.copytree(package, temporary / package.name)
        _write_rest(temporary, inputs)


@contextmanager
def probe_package() -> Iterator[Model]:
    """Give the program of all probes, to be executed here as long as the context lasts."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / PACKAGE
        _write_probes(path)
        yield load(path)


def _write_rest(folder: Path, inputs: Mapping[str, np.ndarray[Any, Any]]) -> None:
    save_file({name: np.ascontiguousarray(x) for name, x in inputs.items()}, folder / INPUTS)
    for script in SCRIPTS:
        text = files("harness.captures").joinpath(script).read_text(encoding="utf-8")
        (folder / script).write_text(text, encoding="utf-8")


def _write_probes(path: Path) -> None:
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.backend.mil.load import load as write
    from coremltools.converters.mil.mil import Function, Program, types

    given = {name: mb.placeholder(x.shape, types.fp16) for name, x in probe_inputs().items()}
    program = Program()
    with Function(given, opset_version=ct.target.iOS16) as function:
        outputs = [probe.build(mb, function.inputs) for probe in PROBES.values()]
        function.set_outputs(outputs)
    program.add_function("main", function)
    # Without the converter, whose passes rewrite programs.
    with logged_apart(), TemporaryDirectory() as weights:
        specification = write(program, weights, specification_version=ct.target.iOS16.value)
        model = ct.models.MLModel(specification, weights_dir=weights, skip_model_load=True)
        model.save(str(path))
