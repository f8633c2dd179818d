"""How well ``coreai-cpu`` predicts what Core AI's runtime makes of each operation in FP16.

    python -m suites.bench.coreai_profile mini --inputs golden/tensors/mini/song.safetensors

Each distinct operation of the network gets the values that PyTorch has there, rounded to FP16. Two
programs compute it: Core AI's runtime, and this executor as ``coreai-cpu`` on what coremltools
makes of the same operation. Both are held against the operation in float64. One row for each on
stdout, the worst predicted first, then how many are within 3 dB.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import coremltools as ct
import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from harness import mil
from harness.coreai.asset import SUFFIX, Asset, RuntimeCrashError
from harness.coreai.convert import decomposed, export, lower, save
from harness.coreai.operations import CallRecorder, RecordedCall, SideBySide
from harness.metrics import snr_db
from harness.mil.numerics.device import device_numerics, device_of
from harness.subjects import load_subject

_NEAR_DB: Final = 3.0
_PLAIN: Final = {
    "native_group_norm": lambda x, w, b, n, c, hw, groups, eps: torch.nn.functional.group_norm(
        x, groups, w, b, eps
    ),
    "native_layer_norm": torch.nn.functional.layer_norm,
}
"""Operators of several results, as coremltools reads them."""


@dataclass(frozen=True)
class Predicted:
    """SNR of one operation against float64: as the runtime computes it, and as predicted."""

    operation: str
    module: str
    shape: tuple[int, ...]
    runtime_db: float
    predicted_db: float

    @property
    def off_db(self) -> float:
        """How far the prediction is off."""
        same = self.runtime_db == self.predicted_db  # two exact results, too
        return 0.0 if same else abs(self.predicted_db - self.runtime_db)


def name_of(call: RecordedCall) -> str:
    """Return the operator's name, without its namespace and overload."""
    return str(getattr(call.target, "_opname", call.target.__name__))


def in_type(call: RecordedCall, dtype: torch.dtype) -> RecordedCall:
    """Return the call with its numbers in another type."""
    return replace(
        call,
        arguments=[
            leaf.to(dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
            for leaf in call.arguments
        ],
    )


def by_runtime(call: RecordedCall, folder: Path) -> np.ndarray:
    """Return what Core AI's runtime makes of a call in FP16."""
    given = {f"x{index}": x.contiguous() for index, x in enumerate(call.reads)}
    side = decomposed(SideBySide([call]).eval(), tuple(given.values()), as_is=True)
    path = folder / f"operation{SUFFIX}"
    save(lower(side, [*given], ["y"]), path, {})
    return Asset(path).execute({name: x.numpy() for name, x in given.items()})["y"]


def by_profile(call: RecordedCall, folder: Path) -> np.ndarray:
    """Return what the profile makes of the same operation, as coremltools converts it to FP16."""
    wide = in_type(call, torch.float32)
    wide = replace(wide, target=_PLAIN.get(name_of(call), call.target))
    given = {f"x{index}": x.contiguous() for index, x in enumerate(wide.reads)}
    traced = torch.jit.trace(SideBySide([wide]).eval(), tuple(given.values()), check_trace=False)
    package = folder / "operation.mlpackage"
    ct.convert(
        traced,
        inputs=[ct.TensorType(name=name, shape=x.shape) for name, x in given.items()],
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT16,
        skip_model_load=True,
    ).save(str(package))
    numerics = device_numerics(device_of("coreai-cpu"))
    (made,) = mil.load(package).run(given, numerics=numerics).values()
    result: np.ndarray = made.numpy()
    return result


def predicted(call: RecordedCall) -> Predicted:
    """Return how one operation compares."""
    half = in_type(call, torch.float16)
    wide: Any = in_type(half, torch.float64)
    exact = wide.operation(wide.arguments).numpy()
    name, shape = name_of(call), tuple(call.reads[0].shape)
    with tempfile.TemporaryDirectory(prefix="parity-coreai-") as folder:
        try:
            made = [by(half, Path(folder)).astype(np.float64) for by in (by_runtime, by_profile)]
        except RuntimeCrashError as error:
            raise RuntimeCrashError(f"{name} of {call.module}, {shape}: {error}") from error
    return Predicted(name, call.module, shape, *(snr_db(exact, array) for array in made))


def main() -> None:
    """Compare every operation of a subject."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject")
    parser.add_argument("--inputs", type=Path, required=True)
    words = parser.parse_args()
    inner = load_subject(words.subject).extract()
    values = load_file(words.inputs)
    inputs = tuple(torch.from_numpy(values[name]) for name in inner.interface.inputs)
    recorder = CallRecorder(export(inner, as_is=False).module(check_guards=False))
    rows = [predicted(call) for batch in recorder.batches(inputs) for call in batch]
    for row in sorted(rows, key=lambda row: -row.off_db):
        print(
            f"{row.operation:24} {row.module:40} {row.shape!s:24} "
            f"{row.runtime_db:6.1f} dB, predicted {row.predicted_db:6.1f}"
        )
    near = sum(row.off_db <= _NEAR_DB for row in rows)
    print(f"{near} of {len(rows)} within {_NEAR_DB:g} dB ({100 * near / len(rows):.1f} %)")


if __name__ == "__main__":
    main()
