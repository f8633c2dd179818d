"""The operations of ML Programs, one module for each family of coremltools' definitions.

Importing this package registers them all. To add one, write a function with ``@operation`` in the
module of its family: `harness.mil.ops.registry` explains how its signature is read.
"""

from harness.mil.ops import (  # noqa: F401
    activation,
    attention,
    control_flow,
    convolution,
    detection,
    elementwise_binary,
    elementwise_unary,
    image,
    indexing,
    linear,
    movement,
    normalization,
    pooling,
    quantization,
    random,
    recurrent,
    reduction,
    sampling,
    scatter,
    tensor,
)
