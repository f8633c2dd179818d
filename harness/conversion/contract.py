"""Does a package take and return what the model contract says?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.audio.contract import AUDIO_SHAPE, SPECTROGRAM_SHAPE
from harness.conversion.sidecar import opened
from harness.errors import ContractError
from harness.mil import DataType, Model
from harness.mil.package import Package
from harness.mil.types import TensorType, ValueType


def check_contract(
    package: str | Path | Package | Model,
    sources: int,
    *,
    spectrogram_shape: Sequence[int] = SPECTROGRAM_SHAPE,
    audio_shape: Sequence[int] = AUDIO_SHAPE,
) -> None:
    """Check the names, shapes and element types of the inputs and outputs of ``package``.

    Args:
        package: a path, or an opened package or model.
        sources: number of stems.
        spectrogram_shape: [1, 2 * audio channels, bins, frames] of the input ``spectrogram``.
        audio_shape: [1, audio channels, samples] of the input ``audio``.

    Raises:
        ContractError: one of them differs; the message has all that was expected and found.
        PackageError: ``package`` is no package, or a broken one.
    """
    package = opened(package)
    function = package.program.function("main")
    types = {variable.name: variable.type for variable in function.inputs} | {
        variable.name: variable.type
        for operation in function.block.operations
        for variable in operation.outputs
    }
    expected_inputs = {"spectrogram": tuple(spectrogram_shape), "audio": tuple(audio_shape)}
    expected_outputs = {
        "freq": (1, sources, *spectrogram_shape[1:]),
        "time": (1, sources, *audio_shape[1:]),
    }
    for kind, names, shapes in (
        ("inputs", [variable.name for variable in function.inputs], expected_inputs),
        ("outputs", function.block.outputs, expected_outputs),
    ):
        expected = {name: TensorType(DataType.FLOAT32, shape) for name, shape in shapes.items()}
        found = {name: types[name] for name in names}
        if found != expected:
            raise ContractError(
                f"{package.path} has the {kind} {_listed(found)}; expected {_listed(expected)}"
            )


def _listed(types: Mapping[str, ValueType]) -> str:
    return ", ".join(f"{name} {types[name]}" for name in sorted(types)) or "none"
