"""Operations in forms that lose less where a device has functions from tables.

The same network can be written with other operations: FP32 recipes don't help on a unit that has no
FP32, forms do. Each rewriting is a named graph pass of coremltools. `forms` has them all, in one
file that needs nothing else, so that it can be shipped; a precision recipe names them in its
``rewrites``, and a conversion by that recipe applies them. docs/devices.md has what they gain.
"""

from harness.rewriting.catalogue import (
    ALTERNATIVES,
    APPROXIMATE,
    FOR_SUMS,
    REWRITINGS,
    forms_source,
    load_forms,
    rewritten,
)

__all__ = [
    "ALTERNATIVES",
    "APPROXIMATE",
    "FOR_SUMS",
    "REWRITINGS",
    "forms_source",
    "load_forms",
    "rewritten",
]
