"""Other runtimes on the network that packages are converted from, as fast as they go.

Neither executes a package: each is given the network by its own converter, may fuse and reorder,
and shows no value in between. So they say what a processor can do. (The engine `onnx` executes
packages, operation by operation: `one_segment.onnx_side`.)
"""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch

from harness.subjects import extract_inner_model, load_subject

Arrays = Mapping[str, np.ndarray]
Call = Callable[[], Mapping[str, np.ndarray]]


def runtime_calls(subject: str, arrays: Arrays) -> dict[str, Call]:
    """Return a forward of ``subject`` by each runtime that is installed, on PyTorch's threads.

    Args:
        subject: name of a subject.
        arrays: inputs of its inner network, in the order of its arguments.
    """
    made = {"onnxruntime": _onnx_runtime, "openvino": _openvino}
    inner = extract_inner_model(load_subject(subject).model).eval()
    return {
        f"{name} fp32": opened(inner, arrays)
        for name, opened in made.items()
        if importlib.util.find_spec(name) is not None
    }


def _onnx_runtime(inner: torch.nn.Module, arrays: Arrays) -> Call:
    import onnxruntime

    file, fast = io.BytesIO(), torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # ONNX has no such operation
    try:
        with warnings.catch_warnings():  # of the exporter that needs no further package
            warnings.simplefilter("ignore")
            torch.onnx.export(
                inner,
                _tensors(arrays),
                file,
                input_names=[*arrays],
                output_names=["freq", "time"],
                opset_version=17,
                dynamo=False,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file.getvalue(), options, ["CPUExecutionProvider"])

    def call() -> Mapping[str, np.ndarray]:
        return dict(zip(("freq", "time"), session.run(None, dict(arrays)), strict=True))

    return call


def _openvino(inner: torch.nn.Module, arrays: Arrays) -> Call:
    import openvino

    with warnings.catch_warnings():  # of the tracer
        warnings.simplefilter("ignore")
        model = openvino.convert_model(inner, example_input=_tensors(arrays))
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(model, "CPU", settings)

    def call(given: list[np.ndarray]) -> Mapping[str, np.ndarray]:
        found = compiled(given)
        return {name: found[number] for number, name in enumerate(("freq", "time"))}

    return partial(call, [*arrays.values()])


def _tensors(arrays: Arrays) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in arrays.values())
