"""Operations in forms that lose less where a device has functions from tables.

The same network can be written with other operations: FP32 recipes don't help on a unit that has no
FP32, forms do. Each rewriting is a named graph pass of coremltools. `forms` has them all, in one
file that needs nothing else, so that it can be shipped; a precision recipe names them in its
``rewrites``, and a conversion by that recipe applies them. docs/devices.md has what they gain. Here
are their names, and coremltools is not imported before a pass is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.resources import files
from types import MappingProxyType, ModuleType
from typing import Any, Final

from harness._coremltools import import_coremltools

REWRITINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "group_norm_in_one": "mean, difference, square, mean, root and quotient as one layer_norm",
        "gelu_over_exp_short": "GELU over exp, 10 operations, exact enough for FP16",
        "gelu_over_exp": "GELU over exp, 14 operations",
        "sigmoid_over_exp": "sigmoid over exp and reciprocal",
        "attention_in_steps": "attention that divides by the sum of exponentials at its end",
        "standard_in_range": "standardisation in the range in which squares are normal numbers",
        "weights_with_gain": "weights times 1 + 2.3e-4, which cut sums in tiles of four lose",
    }
)
"""What each pass writes otherwise."""

ALTERNATIVES: Final[Mapping[str, str]] = MappingProxyType({"gelu_over_exp_short": "gelu_over_exp"})
"""What does the same with less error and more operations."""

APPROXIMATE: Final[Mapping[str, float]] = MappingProxyType(
    {"gelu_over_exp_short": 81.5, "weights_with_gain": 68.8}
)
"""Forms that are not the function that they replace, and SNR in FP32 on N(0, 1) in dB.

All others are above 110 dB. A search takes these only if it is told to.
"""

FOR_SUMS: Final = frozenset({"weights_with_gain"})
"""Forms that gain by how a device adds products, and lose where it adds them otherwise."""


def rewritten(pipeline: Any, names: Sequence[str]) -> Any:
    """Return coremltools' ``PassPipeline`` with the passes ``names`` in it.

    Args:
        pipeline: to which they are added.
        names: of `REWRITINGS`.
    """
    return load_forms().insert_into(pipeline, names) if names else pipeline


def load_forms() -> ModuleType:
    """Return the module with the passes; it imports coremltools."""
    import_coremltools()
    return import_module("harness.rewriting.forms")


def forms_source() -> str:
    """Return the source of the passes, which needs nothing but coremltools and NumPy."""
    return (files(__package__) / "forms.py").read_text(encoding="utf-8")
