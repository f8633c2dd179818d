"""What ONNX Runtime makes of a package beside the executor, operation by operation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.engines.agreement import Disagreement, disagreements
from harness.engines.onnx_engine import OnnxSession
from harness.mil import Model
from harness.onnx_export import Exported

ENGINE = "onnx"


def operations_apart(
    model: Model, exported: Exported, inputs: Mapping[str, np.ndarray]
) -> list[Disagreement]:
    """Return the operations about which the two disagree, each on the executor's own values.

    Every value of the program is held at once, twice.

    Args:
        model: the program.
        exported: the same as an ONNX model.
        inputs: by name.
    """
    values = model.predict(inputs, taps=model.tap_names("all"))
    made = OnnxSession(model, exported).apart({**inputs, **values})
    return disagreements(model.operations, values, made)
