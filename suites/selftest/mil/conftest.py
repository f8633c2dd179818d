"""Small programs on disk, made once for a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import mil
from harness._coremltools import import_coremltools
from suites.ops.packages import write_package

Body = Callable[..., Any]
MakePackage = Callable[..., Path]


def make_program(body: Body, shapes: dict[str, Sequence[int]], dtype: type[np.generic]) -> Any:
    """Return the MIL program that ``body(mb, **inputs)`` builds."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    builtin = types.numpy_type_to_builtin_type(dtype)
    placeholders = {
        name: mb.placeholder(shape, builtin, allow_rank0_input=True)
        for name, shape in shapes.items()
    }
    program = Program()
    with Function(placeholders, opset_version=ct.target.iOS18) as function:
        outputs = body(mb, **function.inputs)
        function.set_outputs(list(outputs) if isinstance(outputs, (list, tuple)) else [outputs])
    program.add_function("main", function)
    return program


@pytest.fixture
def make_package(tmp_path) -> MakePackage:
    """Return a function that writes the program of ``body`` and returns the package's path."""
    return _maker(tmp_path)


@pytest.fixture(scope="module")
def make_module_package(tmp_path_factory) -> MakePackage:
    """As `make_package`, for packages that a module's tests share."""
    return _maker(tmp_path_factory.mktemp("packages"))


def _maker(folder: Path) -> MakePackage:
    count = 0

    def make(body: Body, dtype: type[np.generic] = np.float32, **shapes: Sequence[int]) -> Path:
        nonlocal count
        count += 1
        return write_package(
            make_program(body, shapes, dtype), folder / f"program{count}.mlpackage"
        )

    return make


MODEL = "Data/com.apple.CoreML/model.mlmodel"


def rewrite_model(package: Path, change: Callable[[Any], None]) -> Path:
    """Decode the model file, let ``change`` edit the message, and write it back."""
    from coremltools.proto import Model_pb2

    file = package / MODEL
    message = Model_pb2.Model()
    message.ParseFromString(file.read_bytes())
    change(message)
    file.write_bytes(message.SerializeToString())
    return package


WEIGHT = np.random.default_rng(3).standard_normal((4, 6)).astype(np.float32)


def small_network(mb: Any, x: Any) -> Any:
    """A linear layer with weights in a file, views, reuse of dead operands, and two outputs."""
    y = mb.linear(x=x, weight=WEIGHT, name="hidden")
    y = mb.gelu(x=y, mode="EXACT", name="activated")
    parts = mb.split(x=y, axis=1, num_splits=2, name="halves")
    total = mb.add(x=parts[0], y=parts[1], name="total")
    return mb.mul(x=total, y=np.float32(0.5), name="mean"), mb.sub(x=y, y=y, name="zero")


@pytest.fixture(scope="session")
def network_path(tmp_path_factory) -> Path:
    program = make_program(small_network, {"x": (3, 6)}, np.float32)
    return write_package(program, tmp_path_factory.mktemp("mil") / "network.mlpackage")


@pytest.fixture(scope="session")
def network(network_path) -> mil.Model:
    return mil.load(network_path)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
