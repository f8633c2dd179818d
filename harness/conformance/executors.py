"""What executes the programs of a conformance run: this project's executor, or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from harness.mil import Model
from harness.mil.bridge.proxy import Predict, by_this_executor
from harness.mil.state import State


def _by_onnx(model: Model) -> Predict:
    from harness.engines.onnx_engine import OnnxSession
    from harness.onnx_export import export_model

    session = OnnxSession(model, export_model(model))

    def predict(
        inputs: Mapping[str, np.ndarray], *, state: State | None = None
    ) -> Mapping[str, np.ndarray]:
        return session.predict(inputs)  # a program with states is refused before

    return predict


EXECUTORS: Final[Mapping[str, Callable[[Model], Predict]]] = {
    "mil": by_this_executor,
    "onnx": _by_onnx,
}
"""Called with a loaded model; raise UnsupportedOperationError if they can't execute it."""
