"""Core ML ML Programs on any machine, operation by operation, at the declared precision.

``load(path)`` opens an ``.mlpackage`` and returns a `Model`; ``Model.predict(inputs)`` executes it.
This room imports nothing of the project but its errors, so it can be taken out and used alone.
"""

from harness.mil.model import Feature, Model, load
from harness.mil.numerics import Numerics, get_numerics, numerics_names
from harness.mil.types import DataType

__all__ = [
    "DataType",
    "Feature",
    "Model",
    "Numerics",
    "get_numerics",
    "load",
    "numerics_names",
]
