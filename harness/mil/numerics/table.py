"""The numerics that exist, by name."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from harness.devices import shipped_profiles
from harness.errors import ParityError, UnknownNameError
from harness.mil.numerics.formats import INTEGERS, Format, Numerics, flushing
from harness.mil.numerics.kernels import HalfAccumulation
from harness.mil.numerics.rounding import round_to_float16
from harness.mil.types import DataType

_NUMERICS: dict[str, Numerics] = {}


def register(numerics: Numerics) -> Numerics:
    """Make ``numerics`` known under its name.

    Raises:
        ParityError: the name is taken.
    """
    if numerics.name in _NUMERICS:
        raise ParityError(f"numerics {numerics.name!r} is registered twice")
    _NUMERICS[numerics.name] = numerics
    return numerics


def get_numerics(name: str | Numerics) -> Numerics:
    """Return the numerics of that name; a `Numerics` is returned as it is.

    Beside those that are registered, each device profile is one, by its name or by the path of its
    TOML file: `harness.mil.numerics.device`.

    Raises:
        UnknownNameError: there is none; lists those that exist.
        ParityError: a device's name with a setting that it does not have.
    """
    if isinstance(name, Numerics):
        return name
    if name in _NUMERICS:
        return _NUMERICS[name]
    from harness.mil.numerics.device import named_device  # reads files, so not before

    profile = name.partition(",")[0].strip()
    if profile in shipped_profiles() or profile.endswith(".toml"):
        return named_device(name)
    raise UnknownNameError("numerics", name, [*_NUMERICS, *shipped_profiles()])


def numerics_names() -> Iterator[str]:
    """Yield the registered names."""
    yield from _NUMERICS


def _floating(name: str, half: Format, single: Format) -> Numerics:
    formats = {**INTEGERS, DataType.FLOAT16: half, DataType.FLOAT32: single}
    numerics = register(Numerics(name, formats))
    register(flushing(numerics))
    return numerics


_SINGLE = Format(torch.float32)
_DOUBLE = Format(torch.float64)

STORAGE = _floating("storage", Format(torch.float32, round_to_float16), _SINGLE)
FLOAT64 = _floating("float64", _DOUBLE, _DOUBLE)
_floating("native", Format(torch.float16), _SINGLE)
_floating(
    "fp16_accumulate", Format(torch.float32, round_to_float16, within=HalfAccumulation), _SINGLE
)
