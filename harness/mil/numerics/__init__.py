"""How declared precision becomes arithmetic: the one place where values are rounded.

An operation computes wide from its inputs as stored, then its result is rounded once to the
declared output type. A `Numerics` says, for each declared element type, in which PyTorch type its
values are carried, how operations on them are computed, and how a result is stored. Operations
never see declared types: they compute in the type of the tensors that they get.

==================  ===============================================================================
``storage``         the default: float32 arithmetic; an FP16 result is rounded to nearest even once,
                    overflow gives infinity, subnormals are kept
``float64``         every floating-point operation in float64 on the constants as stored, and no
                    rounding: the reference
``native``          FP16 values are float16 tensors, computed by the device's own half-precision
                    kernels, on the CPU as on CUDA
``fp16_accumulate`` as ``storage``, but sums, means, matrix products and convolutions of FP16
                    operations keep their running sum in FP16: the pessimistic bound; its order
                    and block size are defined in `harness.mil.numerics.accumulation`
==================  ===============================================================================

Each device profile is one, too: ``ane-m1``, ``gpu``, ..., and ``ane-m1, normalisation=stages`` with
an unknown settled otherwise. It computes FP16 operations as is published of the device:
`harness.mil.numerics.device`.

Each of the table also exists as ``NAME+ftz``, in which FP16 subnormals are flushed to zero (with
their sign): results as they are stored, inputs and constants.

FP16 values are carried as float32 tensors that hold only values of the FP16 grid, but in
``native``. That is exact (float32 contains every FP16 value, and FP16 subnormals are normal
there), needs no conversion of inputs, and is faster than float16 tensors: rounding in place costs
0.4 ns an element, while fresh buffers cost 2 ns and more in page faults alone.

One run may use several: `Model.run(operation_numerics=...)` takes a function from operation to
numerics, so that one operation is computed with FP16 accumulation, or stored in another precision
than it declares, while all others are not. Numerics that share a run must carry values alike.
"""

from harness.mil.numerics.formats import Format, Numerics
from harness.mil.numerics.rounding import flush_subnormals, round_to_float16
from harness.mil.numerics.table import (
    FLOAT64,
    STORAGE,
    get_numerics,
    numerics_names,
    register,
)

__all__ = [
    "FLOAT64",
    "STORAGE",
    "Format",
    "Numerics",
    "flush_subnormals",
    "get_numerics",
    "numerics_names",
    "register",
    "round_to_float16",
]
