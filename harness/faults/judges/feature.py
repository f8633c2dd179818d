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

from harness.faults.judging import Finding, found
from harness.faults.registry import Fault
from harness.layers.tensors import compared
from harness.mil import DataType, Model
from harness.mil.editing import new_operation
from harness.mil.opened import ConstantReader, Package
from harness.mil.program import Block, Function, Program, Variable, verify
from harness.mil.types import TensorType

EPSILON = 1e-7
LEVELS_DB = (0, -20, -40, -60)
SHAPE = (2, 4096)


@dataclass(frozen=True)
class Feature:
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


class FeatureStand:
    """Injections get a `Feature` and return another."""

    def control(self, fault: Fault) -> Iterator[Finding]:
        """Judge the sound feature."""
        return self._judge(Feature())

    def trial(self, fault: Fault) -> Iterator[Finding]:
        """Judge the feature with the bug."""
        return self._judge(fault.inject(Feature()))

    def _judge(self, feature: Feature) -> Iterator[Finding]:
        model = feature.model()
        noise = np.random.default_rng(0).standard_normal(SHAPE)
        for level_db in LEVELS_DB:
            x = (noise * 10 ** (level_db / 20)).astype(np.float32)
            expected = np.log(x.astype(np.float64) ** 2 + EPSILON).astype(np.float32)
            what = f"log power at {level_db} dBFS"
            actual = model.predict({"x": x})["y"]
            yield found(compared("conversion", "conversion", expected, actual, {"what": what}))
        silence = np.zeros(SHAPE, np.float32)
        expected = np.full(SHAPE, np.log(EPSILON), np.float32)
        actual = model.predict({"x": silence})["y"]
        where = {"what": "log power of silence"}
        yield found(compared("conversion", "conversion", expected, actual, where))
