"""Inputs that somebody gives to a package: arrays by name, from files or drawn from a seed.

In: ``.safetensors`` or ``.npz`` with an array for each input, ``.npy`` for one that is called like
the file, a folder of any of them, or ``random:SEED``. Out: arrays of the shapes and element types
that the package declares; other types are converted as Core ML does it, which is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from harness.audio.files import read_audio
from harness.comparison import load_all, read_file
from harness.comparison.inputs import AUDIO_SUFFIXES, TENSOR_SUFFIXES
from harness.errors import ParityError
from harness.mil import Model, get_numerics
from harness.mil.features import Feature, check_names, converted

Arrays = Mapping[str, np.ndarray]
Note = Callable[[str], object]

RANDOM: Final = "random:"
"""What stands before a seed instead of the name of a file."""


def silent(line: str) -> None:
    """Note nothing."""


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read every array of a file, or of the files of a folder.

    Audio is read as the network takes it, [2, n] at 44.1 kHz, and named after its file.

    Raises:
        ParityError: the file is missing, of another kind, or broken; two files of a folder hold
            the same name.
    """
    if not path.is_dir():
        if path.suffix.lower() in AUDIO_SUFFIXES:
            return {path.stem: read_audio(path)}
        return load_all(read_file(path))
    found: dict[str, np.ndarray] = {}
    for file in sorted(file for file in path.iterdir() if file.suffix.lower() in TENSOR_SUFFIXES):
        held = read_tensors(file)
        twice = sorted(held.keys() & found.keys())
        if twice:
            raise ParityError(f"{path} holds {twice[0]!r} in more than one file; keep one of them")
        found |= held
    if not found:
        raise ParityError(f"{path} holds no {', '.join(TENSOR_SUFFIXES)}")
    return found


def given_inputs(
    source: str,
    model: Model,
    *,
    numerics: str = "storage",
    note: Note = silent,
) -> dict[str, np.ndarray]:
    """Return the inputs of a package that a file, a folder or ``random:SEED`` gives.

    Args:
        source: the path, or the seed.
        model: the package; nothing is executed.
        numerics: in which it will be executed.
        note: is told in a sentence of each input that a conversion changed.

    Raises:
        ContractError: other names or shapes than the package takes.
        ParityError: the file can't be read, or ``source`` has no seed.
    """
    chosen, owner = get_numerics(numerics), model.package.path
    if source.startswith(RANDOM):
        return _drawn(source, model.inputs)
    arrays, notes = converted(read_tensors(Path(source)), model.inputs, chosen)
    check_names(arrays, model.inputs, owner)
    for feature in model.inputs:
        if feature.name in arrays:
            feature.check_array(arrays[feature.name], chosen, owner)
    for line in notes:
        note(line)
    return arrays


def given_cases(
    sources: Sequence[str], model: Model, *, note: Note = silent
) -> dict[str, dict[str, np.ndarray]]:
    """Return the inputs of several cases by name: that of the file, or the seed as it was given.

    Raises:
        As `given_inputs`.
    """
    return {
        name: given_inputs(source, model, note=note)
        for name, source in zip(case_names(sources), sources, strict=True)
    }


def case_names(sources: Sequence[str]) -> tuple[str, ...]:
    """Return what the cases of these inputs are called, each otherwise.

    Raises:
        ParityError: one is there twice.
    """
    if len(set(sources)) < len(sources):
        raise ParityError(f"--inputs {max(sources, key=list(sources).count)} is given twice")
    short = [s if s.startswith(RANDOM) else Path(s).stem for s in sources]
    return tuple(
        name if short.count(name) == 1 else source
        for name, source in zip(short, sources, strict=True)
    )


def as_tensors(arrays: Arrays, model: Model) -> dict[str, torch.Tensor]:
    """Return inputs in the carrier types in which `Model.run` takes them."""
    numerics = get_numerics("storage")
    types = {feature.name: feature.dtype for feature in model.inputs}
    return {name: numerics.from_numpy(array, types[name]) for name, array in arrays.items()}


def array_hash(arrays: Arrays) -> str:
    """Return a hash of names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}\0{array.dtype}{list(array.shape)}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _drawn(source: str, features: Sequence[Feature]) -> dict[str, np.ndarray]:
    """Return normal numbers, and integers 0 or 1, which every table of two rows has."""
    seed = source.removeprefix(RANDOM)
    if not (seed.isascii() and seed.isdecimal()):
        raise ParityError(f"{source!r} has no seed; write {RANDOM}7, say, or name a file")
    generator = np.random.default_rng(int(seed))
    found = {}
    for feature in features:
        shape = feature.rule.default if None in (feature.shape or (None,)) else feature.shape
        if shape is None:
            raise ParityError(
                f"input {feature} has no shape of its own, so it can't be drawn; give a file"
            )
        sizes = [int(size or 1) for size in shape]
        if feature.dtype.is_floating:
            found[feature.name] = generator.standard_normal(sizes).astype(feature.dtype.numpy)
        else:
            found[feature.name] = generator.integers(0, 2, sizes).astype(feature.dtype.numpy)
    return found
