"""Mutation operators: what can be got wrong in one operation of a converted program.

Importing this package registers all of them; `mutants` applies them to one operation.
"""

from harness.faults.operators import arithmetic, layers, layout
from harness.faults.operators.site import Edit, Mutant, MutationSite, mutants, operator

__all__ = [
    "Edit",
    "Mutant",
    "MutationSite",
    "arithmetic",
    "layers",
    "layout",
    "mutants",
    "operator",
]
