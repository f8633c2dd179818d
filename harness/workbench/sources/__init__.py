"""What the lab is about: a subject on golden cases, or any package on inputs of one's own.

A `Source` gives an FP32 program, the inputs that it is looked at on, and how its outputs become
stems, if they do. Commands ask for one by the word that the user typed (`source_of`) and know no
difference: a package needs no PyTorch model, no goldens and no converter.
"""

from harness.workbench.sources.base import Source
from harness.workbench.sources.choosing import (
    adapter_of,
    elsewhere,
    is_package,
    reference_source,
    source_of,
)
from harness.workbench.sources.package import PackageSource
from harness.workbench.sources.subject import SubjectSource

__all__ = [
    "PackageSource",
    "Source",
    "SubjectSource",
    "adapter_of",
    "elsewhere",
    "is_package",
    "reference_source",
    "source_of",
]
