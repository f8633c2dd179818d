"""Core ML ML Programs on any machine, operation by operation, at the declared precision.

``load(path)`` opens an ``.mlpackage``, or an ``.mlmodelc`` that Xcode made of one, and returns a
`Model`; ``Model.predict(inputs)`` executes it.
This room imports nothing of the project but its errors, how files are read within bounds and
written whole, and how devices compute, so it can be taken out and used alone.
"""

from harness.mil.inspection import Inspection, Watch, inspect
from harness.mil.model import Model, load
from harness.mil.numerics import Numerics, get_numerics, numerics_names
from harness.mil.refusals import RefusedByCoreMLWarning
from harness.mil.stateful import call, functional
from harness.mil.statistics import ValueStatistics
from harness.mil.timing import time_limit
from harness.mil.types import DataType

__all__ = [
    "DataType",
    "Inspection",
    "Model",
    "Numerics",
    "RefusedByCoreMLWarning",
    "ValueStatistics",
    "Watch",
    "call",
    "functional",
    "get_numerics",
    "inspect",
    "load",
    "numerics_names",
    "time_limit",
]
