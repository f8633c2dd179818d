"""A run recorded once as a CUDA graph and replayed: no time in Python between the operations.

A program has thousands of operations, most of which take a GPU a few microseconds, less than
Python needs to call the next one. A recording keeps the kernels of one run, so that a replay is a
single launch. What is computed is what `Model.run` computes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from harness.errors import ContractError, ExecutionError
from harness.mil.model import Model
from harness.mil.numerics import Numerics
from harness.mil.taps import Taps

_WARM_UPS = 2  # libraries choose and load kernels in their first calls, which can't be recorded


class CudaRecording:
    """One run of a model on a CUDA device, ready to be repeated; made by `record`."""

    def __init__(
        self,
        model: Model,
        graph: torch.cuda.CUDAGraph,
        inputs: dict[str, torch.Tensor],
        outputs: dict[str, torch.Tensor],
    ) -> None:
        self._model = model  # the graph reads its constants, and doesn't keep them
        self._graph, self._inputs, self._outputs = graph, inputs, outputs

    def replay(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return what `Model.run` returns for ``inputs``; the next replay writes over it.

        Raises:
            ContractError: an input is missing, unknown, or of another shape or type than recorded.
        """
        if set(inputs) != set(self._inputs):
            raise ContractError(
                f"given the inputs {sorted(inputs)}, but {sorted(self._inputs)} were recorded"
            )
        for name, recorded in self._inputs.items():
            given = inputs[name]
            if given.shape != recorded.shape or given.dtype is not recorded.dtype:
                raise ContractError(
                    f"input {name!r} is {given.dtype} {list(given.shape)}, "
                    f"but {recorded.dtype} {list(recorded.shape)} was recorded"
                )
            recorded.copy_(given)
        self._graph.replay()
        return dict(self._outputs)


def record(
    model: Model,
    inputs: Mapping[str, torch.Tensor],
    *,
    taps: Taps | str = (),
    numerics: str | Numerics = "storage",
) -> CudaRecording:
    """Record ``model.run(inputs, taps=taps, numerics=numerics)``.

    Args:
        model: one whose values depend on the inputs through the device alone. A program that reads
            values back to decide what to do next can't be recorded.
        inputs: as `Model.run` takes them, on a CUDA device.
        taps: as in `Model.run`.
        numerics: as in `Model.run`.

    Raises:
        ContractError: the inputs are not on a CUDA device, or are not what the model takes.
        ExecutionError: an operation failed, or can't be recorded.
    """
    devices = {tensor.device.type for tensor in inputs.values()}
    if devices != {"cuda"}:
        raise ContractError(f"inputs are on {sorted(devices)}; only runs on cuda can be recorded")
    held = {name: tensor.clone() for name, tensor in inputs.items()}
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            model.run(held, taps=taps, numerics=numerics)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            outputs = model.run(held, taps=taps, numerics=numerics)
    except RuntimeError as error:
        raise ExecutionError(f"{model.package.path} can't be recorded: {error}") from error
    return CudaRecording(model, graph, held, outputs)
