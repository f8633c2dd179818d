"""Does a package take and return what the model contract says?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import ContractError
from harness.mil import DataType, Model
from harness.mil.model import opened
from harness.mil.package import Package
from harness.mil.types import StateType, TensorType, ValueType
from harness.subjects.protocol import Interface, Shape


def check_contract(package: str | Path | Package | Model, interface: Interface) -> None:
    """Check the names, shapes and element types of the inputs, states and outputs of ``package``.

    Args:
        package: a path, or an opened package or model.
        interface: what the network takes and returns.

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
    for kind, names, shapes in (
        ("inputs", [variable.name for variable in function.inputs], interface.inputs),
        ("outputs", function.block.outputs, interface.returned),
    ):
        expected = {name: _type(name, shape, interface) for name, shape in shapes.items()}
        found = {name: types[name] for name in names}
        if found != expected:
            raise ContractError(
                f"{package.path} has the {kind} {_listed(found)}; expected {_listed(expected)}; "
                "if another converter made it, 'parity adapt' finds its layout"
            )


def _type(name: str, shape: Shape, interface: Interface) -> ValueType:
    if name in interface.states:
        return StateType(TensorType(DataType.FLOAT16, tuple(shape)))
    dtype = DataType.INT32 if name in interface.integers else DataType.FLOAT32
    return TensorType(dtype, tuple(shape))


def _listed(types: Mapping[str, ValueType]) -> str:
    return ", ".join(f"{name} {types[name]}" for name in sorted(types)) or "none"
