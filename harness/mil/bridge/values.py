"""Values on the border: what coremltools hands to a model and what it gets back.

Arrays. An input may be int8, int32, float32 or float64 and is converted to the declared element
type, to integers by truncation; any other type is refused, as by Core ML's bindings. FP16 results
are returned as float32, and a result of rank 0 in the shape ``[1]``.

Images. A program sees an image as ``[1, channels, height, width]`` with values from 0 to 255, the
channels in the declared colour layout; scale and bias are operations of the program. Results are
rounded to the nearest integer, held to 0..255, and returned as ``RGBA`` (opaque), ``L``, or, for
16-bit grey, ``F``.

Source: ``coremlpython/CoreMLPythonUtils.mm`` and ``CoreMLPythonArray.mm`` of coremltools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.mil.features import Feature
from harness.mil.types import DataType

_TAKEN = tuple(map(np.dtype, (np.int8, np.int32, np.float32, np.float64)))
_MODES = {"GRAYSCALE": "L", "RGB": "RGB", "BGR": "RGB", "GRAYSCALE_FLOAT16": "F"}


@dataclass(frozen=True)
class Input:
    """One input of a model: its name, element type and, for an image, colour layout."""

    name: str
    dtype: DataType
    layout: str | None

    @classmethod
    def of(cls, feature: Feature, message: Any | None) -> Input:
        """Make it from the model's feature and its ``FeatureDescription``, if there is one.

        Raises:
            RuntimeError: ML Programs have no inputs of this kind.
        """
        if message is None:
            return cls(feature.name, feature.dtype, None)
        kind = message.type.WhichOneof("Type")
        if kind not in ("multiArrayType", "imageType"):
            raise RuntimeError(f"input {message.name!r} is a {kind}; expected an array or an image")
        return cls(message.name, feature.dtype, _layout(message))

    def read(self, value: Any) -> np.ndarray:
        """Return ``value`` as the array that the program takes.

        Raises:
            RuntimeError: it has another type than Core ML takes.
        """
        if self.layout is None:
            return read_array(self.name, value, self.dtype)
        return _read_image(self.name, value, self.layout).astype(self.dtype.numpy)


@dataclass(frozen=True)
class Output:
    """One output of a model: the kind of its value and, for an image, colour layout."""

    name: str
    kind: str | None
    layout: str | None

    @classmethod
    def of(cls, feature: Feature, message: Any | None) -> Output:
        """Make it from the model's feature and its ``FeatureDescription``, if there is one."""
        if message is None:
            return cls(feature.name, None, None)
        return cls(feature.name, message.type.WhichOneof("Type"), _layout(message))

    def show(self, value: Any) -> Any:
        """Return ``value`` as Core ML's bindings return it."""
        if self.layout is not None:
            return _show_image(value, self.layout)
        if self.kind == "int64Type":
            return int(np.asarray(value).item())
        return show_array(value) if isinstance(value, np.ndarray) else value


def read_array(name: str, value: Any, dtype: DataType) -> np.ndarray:
    """Return ``value`` in the element type ``dtype``.

    Raises:
        RuntimeError: it is no array of a type that Core ML takes.
    """
    if not isinstance(value, np.ndarray) or value.dtype not in _TAKEN:
        found = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        taken = ", ".join(map(str, _TAKEN))
        raise RuntimeError(f"{name!r} is {found}, which is not convertible; expected {taken}")
    with np.errstate(over="ignore"):  # to infinity, as on the device
        return np.ascontiguousarray(value).astype(dtype.numpy).reshape(value.shape)


def show_array(value: np.ndarray) -> np.ndarray:
    """Return ``value`` as Core ML's bindings return arrays."""
    wide = value.astype(np.float32) if value.dtype == np.float16 else value
    return wide.reshape(1) if wide.ndim == 0 else wide


def _layout(message: Any) -> str | None:
    if message.type.WhichOneof("Type") != "imageType":
        return None
    image = message.type.imageType
    layout = str(image.ColorSpace.Name(image.colorSpace))
    if layout not in _MODES:
        raise RuntimeError(f"{message.name!r} is an image without a known colour layout: {layout}")
    return layout


def _read_image(name: str, value: Any, layout: str) -> np.ndarray:
    mode = getattr(value, "mode", type(value).__name__)
    if mode != _MODES[layout]:
        raise RuntimeError(f"{name!r} is {mode}; expected a PIL image of mode {_MODES[layout]}")
    pixels = np.asarray(value)
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return (planes[::-1] if layout == "BGR" else planes)[None]


def _show_image(value: np.ndarray, layout: str) -> Any:
    from PIL import Image

    planes = value.reshape(value.shape[-3:]).astype(np.float32)
    if layout == "GRAYSCALE_FLOAT16":
        return Image.fromarray(planes[0].astype(np.float16).astype(np.float32))
    pixels = np.rint(np.nan_to_num(planes)).clip(0, 255).astype(np.uint8)
    if layout == "GRAYSCALE":
        return Image.fromarray(pixels[0])
    colours = pixels[::-1] if layout == "BGR" else pixels
    opaque = np.full_like(colours[:1], 255)
    return Image.fromarray(
        np.ascontiguousarray(np.concatenate([colours, opaque]).transpose(1, 2, 0))
    )
