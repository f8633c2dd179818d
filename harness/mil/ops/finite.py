"""A look at operands, for operations whose fast kernel is exact on finite numbers only."""

from __future__ import annotations

import math

from torch import Tensor


def known_finite(*tensors: Tensor) -> bool:
    """Return whether a look at the elements of ``tensors`` shows no infinity and no NaN.

    It costs one pass over each, and is taken on a CPU only: elsewhere Python would have to wait for
    the device, which a recorded run can't. There, and at a NaN or infinity, the answer is no.
    """
    for tensor in tensors:
        if tensor.device.type != "cpu":
            return False
        if tensor.numel():
            low, high = tensor.detach().aminmax()
            if not (math.isfinite(low) and math.isfinite(high)):
                return False
    return True
