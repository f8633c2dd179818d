"""Small models made by coremltools' converter, as its users make them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from harness._coremltools import import_coremltools
from harness.mil import bridge

Convert = Callable[..., Any]


@pytest.fixture
def ledger() -> Iterator[bridge.Ledger]:
    """Install the bridge for one test."""
    with bridge.installed() as ledger:
        yield ledger


@pytest.fixture
def ct() -> Any:
    return import_coremltools()


@pytest.fixture
def convert(ct: Any) -> Convert:
    """Return a function that converts ``body(mb, **inputs)`` to an ``MLModel``."""
    return _convert


def _convert(
    body: Callable[..., Any],
    dtype: type[np.generic] = np.float32,
    shapes: dict[str, Sequence[Any]] | None = None,
    **options: Any,
) -> Any:
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    builtin = types.numpy_type_to_builtin_type(dtype)
    shapes = shapes or {"x": (2, 3)}
    specs = [mb.TensorSpec(shape=shape, dtype=builtin) for shape in shapes.values()]

    # The decorator names a program's inputs after the function's parameters.
    namespace: dict[str, Any] = {"body": body, "mb": mb}
    names = ", ".join(shapes)
    keywords = ", ".join(f"{name}={name}" for name in shapes)
    exec(f"def built({names}):\n    return body(mb, {keywords})", namespace)
    program = mb.program(input_specs=specs, opset_version=ct.target.iOS18)(namespace["built"])
    return to_model(program, **options)


def to_model(program: Any, **options: Any) -> Any:
    """Convert a MIL program; in FP32 and for iOS 18 unless ``options`` say otherwise."""
    ct = import_coremltools()
    program.functions["main"].set_output_types(options.pop("outputs", None))
    defaults = {
        "convert_to": "mlprogram",
        "minimum_deployment_target": ct.target.iOS18,
        "compute_precision": ct.precision.FLOAT32,
    }
    with warnings.catch_warnings():
        # coremltools leaves a temporary folder for the garbage collector to delete.
        warnings.simplefilter("ignore", ResourceWarning)
        return ct.convert(program, **(defaults | options))
