"""A logarithmic feature, as audio models compute in front of their network, judged by conversion.

HTDemucs itself takes no logarithm; models that are converted with the same tools do, and theirs is
the epsilon that is green on loud audio. The feature is a small ML Program made in memory,
log(x^2 + epsilon), executed at several levels and compared with float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.faults.judging import FaultJudgement, judgement
from harness.faults.registry import Fault
from harness.layers.tensors import compared
from harness.mil import DataType, Model
from harness.mil.editing import new_operation
from harness.mil.opened import ConstantReader, Package
from harness.mil.program import Block, Function, Program, Variable, verify
from harness.mil.types import TensorType

EPSILON = 1e-7
"""Small enough for FP32, and a subnormal in FP16, whose smallest normal number is 6.1e-5."""
LEVELS_DB = (0, -20, -40, -60)
"""Down to where the power of a sample, 1e-6, comes near the epsilon and decides the result."""
SHAPE = (2, 4096)


@dataclass(frozen=True)
class LogFeature:
    """What the program computes; the defaults are right.

    Attributes:
        magnitude: the operation in front of the logarithm, ``square`` or ``abs``.
        epsilon: added to its result.
        doubled: whether the logarithm of a magnitude is doubled, to be that of a power.
    """

    magnitude: str = "square"
    epsilon: float = EPSILON
    doubled: bool = False

    def model(self) -> Model:
        """Return the program; its input is ``x`` and its output ``y``, float32 [2, 4096]."""
        fp32 = DataType.FLOAT32
        log = "log_magnitude" if self.doubled else "y"
        operations = [
            new_operation(self.magnitude, "magnitude", SHAPE, fp32, x="x"),
            new_operation("log", log, SHAPE, fp32, x="magnitude", epsilon=self.epsilon),
        ]
        if self.doubled:
            operations.append(new_operation("mul", "y", SHAPE, fp32, x=log, y=2.0))
        inputs = (Variable("x", TensorType(fp32, SHAPE)),)
        function = Function("main", inputs, "CoreML8", Block((), ("y",), tuple(operations)))
        verify(function)
        here = Path("made in memory")
        package = Package(
            path=here,
            specification_version=9,
            program=Program({"main": function}),
            default_function="main",
            descriptions={},
            metadata={},
            constants=ConstantReader(here, here),
        )
        return Model.of(package, function)


def judge_feature(fault: Fault) -> Iterator[FaultJudgement]:
    """Judge a feature at several levels and on silence; an injection gets one, returns another."""
    feature: LogFeature = fault.inject(LogFeature())
    model = feature.model()
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    inputs = {f"at {db} dBFS": noise * 10 ** (db / 20) for db in LEVELS_DB}
    inputs["of silence"] = np.zeros(SHAPE)
    for where, signal in inputs.items():
        x = signal.astype(np.float32)
        expected = np.log(x.astype(np.float64) ** 2 + EPSILON).astype(np.float32)
        actual = model.predict({"x": x})["y"]
        what = {"what": f"log power {where}"}
        yield judgement(compared("conversion", "conversion", expected, actual, what))
