"""What most rows of a run begin with: of which package they are, and how it was executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Labelled:
    """A row about one package on one signal, executed in one way."""

    subject: str
    case: str
    recipe: str
    engine: str
    numerics: str


def labels_of(labels: Mapping[str, str]) -> dict[str, Any]:
    """Return those labels of a check that a row has, too, as arguments of its class."""
    return {field.name: labels[field.name] for field in fields(Labelled)}
