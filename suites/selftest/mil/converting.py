"""PyTorch modules to packages, as a user of coremltools would convert them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from harness._coremltools import import_coremltools
from harness.conversion.quiet import quiet_coremltools


def converted(
    out: Path,
    module: torch.nn.Module,
    inputs: Sequence[Any],
    *example: torch.Tensor,
    script: bool = False,
    **options: Any,
) -> Path:
    """Trace or script ``module``, convert it, in FP32 by default, and save it as ``out``.

    Args:
        out: the ``.mlpackage`` to write.
        module: what to convert; it is put into evaluation mode.
        inputs: its inputs as coremltools describes them.
        example: what to trace it with.
        script: whether to keep its branches and loops instead of following them once.
        options: of ``coremltools.convert``.
    """
    ct = import_coremltools()
    options.setdefault("compute_precision", ct.precision.FLOAT32)
    options.setdefault("minimum_deployment_target", ct.target.iOS18)
    with quiet_coremltools(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's and coremltools' about one another
        module = module.eval()
        if script:
            program = torch.jit.script(module)
        else:
            program = torch.jit.trace(module, example, check_trace=False)
        model = ct.convert(program, inputs=list(inputs), skip_model_load=True, **options)
        model.save(str(out))
    return out
