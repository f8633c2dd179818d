"""Cuts a failing program down to the smallest one that still fails, to attach to a bug report.

In: a package, its inputs, and an oracle that says what failing is. Out: a folder with a package of
few operations, its inputs, and a README with the command that reproduces the failure. Values where
the program was cut become inputs, with what the whole program computed there.

The method is delta debugging (ddmin: Zeller and Hildebrandt, "Simplifying and isolating
failure-inducing input", IEEE TSE 28(2), 2002) over operations. It starts from what a look at the
whole run makes suspect, so that a handful of tries is the rule even for programs of thousands of
operations.
"""

from harness.reduction.attempt import Attempt
from harness.reduction.ddmin import Trials, minimise
from harness.reduction.folder import write_reduction
from harness.reduction.oracles import (
    Command,
    Differs,
    NotFinite,
    Oracle,
    Raises,
    check_expected,
    parse_condition,
)
from harness.reduction.reducer import reduce

__all__ = [
    "Attempt",
    "Command",
    "Differs",
    "NotFinite",
    "Oracle",
    "Raises",
    "Trials",
    "check_expected",
    "minimise",
    "parse_condition",
    "reduce",
    "write_reduction",
]
