"""Values as JSON data and back: dataclasses become objects, infinities and NaN become strings.

JSON has no infinity and no NaN, so where a number may be either, the strings ``"inf"``, ``"-inf"``
and ``"nan"`` stand for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from harness.errors import RunError


def plain(value: Any) -> Any:
    """Return ``value`` as JSON data: dataclasses as objects, no infinity, no NaN."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise RunError(f"a run can't hold a {type(value).__name__}; convert it to plain Python first")


def numbers(value: Any) -> Any:
    """Return JSON data with the strings that stand for infinity and NaN as numbers again."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return float(value) if value in ("inf", "-inf", "nan") else value
