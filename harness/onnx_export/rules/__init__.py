"""The rules of export, one module for each family, as in `harness.mil.ops`.

Importing this package registers them all.
"""

from harness.onnx_export.rules import (  # noqa: F401
    activation,
    compression,
    convolution,
    elementwise,
    image,
    indexing,
    linear,
    movement,
    normalization,
    pooling,
    recurrent,
    reduction,
    scatter,
    tensor,
)
