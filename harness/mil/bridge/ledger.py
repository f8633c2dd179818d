"""What went through the bridge: the proof that a test or a tool really ran a model."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Loading:
    """One model that coremltools asked to load.

    Attributes:
        path: the package.
        kind: what coremltools calls the type of model (``mlProgram``, ``neuralNetwork``, ...).
        function: name of the function to run; empty for the default one.
        compute_units: what was asked for (``ALL``, ``CPU_ONLY``, ...). The executor is the same
            for all.
        operations: the types of all operations of the program, constants left out.
        refusal: why it can't be run; empty if it can.
    """

    path: str
    kind: str
    function: str
    compute_units: str
    operations: frozenset[str]
    refusal: str = ""


@dataclass
class Ledger:
    """Counts what happens while the bridge is installed.

    Attributes:
        loadings: every model, in order.
        predictions: how many predictions returned a result; a batch counts as its length.
    """

    loadings: list[Loading] = field(default_factory=list)
    predictions: int = 0
