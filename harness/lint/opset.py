"""Which operations, inputs and element types each set of operations has.

Read from coremltools' own definitions, the only ones that are published: `signatures` turns its
registry into plain values. `CoreML9` (iOS 26) added no definitions, so iOS 18 speaks for it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness._coremltools import import_coremltools
from harness.mil import DataType
from harness.mil.opsets import OPSETS

COMMON_TYPES: Final = frozenset(
    {DataType.FLOAT16, DataType.FLOAT32, DataType.INT32, DataType.STRING, DataType.BOOL}
)
"""Element types that values may have in every set of operations."""
SMALL_INTEGERS: Final = frozenset({DataType.INT8, DataType.UINT8, DataType.INT16, DataType.UINT16})
"""Those that came with iOS 17."""


@dataclass(frozen=True)
class SignatureInput:
    """An input of an operation.

    Attributes:
        types: element types that it takes; ``None`` where it is no tensor.
        group: inputs of one group have the same element type; "" for none.
        required: whether it must be there.
        constant: whether it must be known before the program runs.
    """

    types: frozenset[DataType] | None
    group: str
    required: bool
    constant: bool


Signature = Mapping[str, SignatureInput]

# Operations that the format has and coremltools' builder makes by other means.
_EXTRA: Final[Mapping[str, tuple[int, tuple[str, ...]]]] = {
    "write_state": (18, ("input", "data")),
    "classify": (15, ("probabilities", "classes")),
}


@functools.cache
def signatures() -> Mapping[str, Mapping[int, Signature]]:
    """Return the inputs of each operation, by type and by the release of iOS that defines it."""
    import_coremltools()
    from coremltools.converters.mil._deployment_compatibility import AvailableTarget
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    anything = SignatureInput(None, "", required=True, constant=False)
    found: dict[str, dict[int, Signature]] = {
        type_: {release: dict.fromkeys(names, anything)}
        for type_, (release, names) in _EXTRA.items()
    }
    for type_, versions in SSAOpRegistry.core_ops.items():
        for opset in OPSETS.values():
            target = AvailableTarget.__members__.get(f"iOS{opset.release}")
            definition = versions.get(target)
            if definition is not None:
                found.setdefault(type_, {})[opset.release] = _signature(definition)
    return found


def signature(type_: str, release: int) -> Signature | None:
    """Return the inputs that an operation takes in a release; ``None`` if it isn't in it."""
    versions = signatures().get(type_, {})
    usable = [found for found in versions if found <= release]
    return versions[max(usable)] if usable else None


def first_release(type_: str, parameter: str = "", dtype: DataType | None = None) -> int | None:
    """Return the first release that has an operation, one of its inputs, and a type of that."""
    for release, found in sorted(signatures().get(type_, {}).items()):
        types = found[parameter].types if parameter in found else None
        if parameter and parameter not in found:
            continue
        if dtype is None or types is None or dtype in types:
            return release
    return None


def _signature(definition: Any) -> Signature:
    domains = getattr(definition, "type_domains", None) or {}
    return {
        name: _parameter(kind, domains)
        for name, kind in definition.input_spec.input_types.items()
        if not name.startswith("_")  # Python functions that build blocks
    }


def _parameter(kind: Any, domains: Mapping[str, Any]) -> SignatureInput:
    group = getattr(kind, "type_domain_id", None) or ""
    domain = domains.get(group) if group else getattr(kind, "type_domain", None)
    types = frozenset(_dtype(item) for item in domain) if domain else None
    return SignatureInput(types, group, required=not kind.optional, constant=bool(kind.const))


def _dtype(builtin: Any) -> DataType:
    from coremltools.converters.mil.mil import types

    name = str(types.builtin_to_string(builtin))
    return DataType({"str": "string"}.get(name, name))
