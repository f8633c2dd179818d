"""The gates: every tolerance of the project, one row each, each with its reason.

A gate says what a comparison must hold:

- ``rtol`` and ``atol`` (both or neither): ``|actual - expected| <= atol + rtol * |expected|`` for
  every element, the rule of `torch.allclose` with the reference as ``other``;
- ``min_snr_db``: the signal-to-noise ratio of the whole tensor must be above it;
- ``at_most`` / ``at_least``: a bound on a single number (in ``unit``) that is not a comparison of
  tensors.

Both tensor gates are needed: rtol 1e-3 with atol 1e-4 alone passes an error at 34 dB when the
reference has an RMS of 0.005, and SNR alone does not see one bad sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from harness.errors import ParityError, UnknownNameError

LAYERS: Final = ("ops", "stft", "surgery", "conversion", "end_to_end")
"""The rungs of the ladder, from the bottom to the top."""

SUBJECT_LAYERS: Final = ("surgery", "conversion", "end_to_end")
"""Those that are about a model; the others are about operations and transforms alone."""

ON_REQUEST: Final = "given on the command line"
"""The reason of a gate that is no row of the table; the verdict says that it was asked for."""


@dataclass(frozen=True)
class Gate:
    """What one comparison must hold, and why.

    Attributes:
        audio: whether the tensors are sound at full scale 1: of a reference under -80 dBFS, which
            is silence, no ratio is asked, and the error is held to -100 dBFS. Of any other tensor
            that holds for zeros alone: what is small is as right or wrong as what is large.

    Raises:
        ParityError: only one of ``rtol`` and ``atol`` is given, or nothing at all is, a tolerance
            is negative, or a bound is not finite.
    """

    name: str
    reason: str
    rtol: float | None = None
    atol: float | None = None
    min_snr_db: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""
    audio: bool = False

    def __post_init__(self) -> None:
        if (self.rtol is None) != (self.atol is None):
            raise ParityError(f"gate {self.name!r} must give both rtol and atol, or neither")
        for bound in (self.rtol, self.atol):
            if bound is not None and not 0.0 <= bound < math.inf:
                raise ParityError(
                    f"gate {self.name!r} has the tolerance {bound:g}; expected 0 or more"
                )
        limits = self.min_snr_db, self.at_most, self.at_least
        if self.rtol is None and limits == (None, None, None):
            raise ParityError(f"gate {self.name!r} has no bound, so it could not fail")
        for limit in limits:
            if limit is not None and not math.isfinite(limit):
                raise ParityError(f"gate {self.name!r} has the bound {limit:g}; expected a number")

    def describe(self) -> str:
        """Return the bounds in words, as a table of checks shows them."""
        words = []
        if self.rtol is not None:
            words.append(f"rtol {self.rtol:g}, atol {self.atol:g}")
        if self.min_snr_db is not None:
            words.append(f"SNR > {self.min_snr_db:g} dB")
        if self.at_most is not None:
            words.append(f"at most {self.at_most:g} {self.unit}".rstrip())
        if self.at_least is not None:
            words.append(f"at least {self.at_least:g} {self.unit}".rstrip())
        return ", ".join(words)


_ROWS = (
    Gate(
        "surgery",
        "The extracted model runs the same kernels in the same order; the measured difference is "
        "0.0 where both run in one process, which they do here.",
        rtol=1e-5,
        atol=1e-7,
    ),
    Gate(
        "golden_here",
        "The original in this process, against the golden: threads and processors change the order "
        "of sums, never more than what FP32 allows. Less means other weights or another PyTorch.",
        min_snr_db=110.0,
    ),
    Gate(
        "stft",
        "A float32 FFT of 4096 points is exact to about 1e-7 of its largest bin; a wrong window, "
        "scale, padding or frame is off by 1e-2 or more.",
        rtol=1e-5,
        atol=1e-6,
        audio=True,
    ),
    Gate(
        "stft_float64",
        "The same in float64, where only the order of summation differs.",
        rtol=1e-10,
        atol=1e-12,
    ),
    Gate(
        "conversion",
        "The published gate of the conversion: elementwise, and a ratio, since each alone is "
        "blind to what the other sees.",
        rtol=1e-3,
        atol=1e-4,
        min_snr_db=60.0,
    ),
    Gate(
        "integers",
        "An integer is an index, a count or a class: another one is another answer, however near. "
        "What FP16 does to it is a decision of the network, to be waived where it may happen.",
        rtol=0.0,
        atol=0.0,
    ),
    Gate(
        "expected_precision_fp32",
        "FP32 done right reaches 117 to 142 dB; a tanh GELU, a dropped bias, permuted heads or a "
        "flipped exponent bit reach 82 to 97 dB and pass 60 dB.",
        min_snr_db=110.0,
    ),
    Gate(
        "expected_precision_state",
        "Core ML keeps states in FP16. Between two FP16 numbers FP32 may round either way, so one "
        "element in some hundreds is its neighbour, and none is further; a state that was "
        "computed in FP16 has 74 dB where it was written.",
        rtol=1e-3,
        atol=1e-7,
        min_snr_db=90.0,
    ),
    Gate(
        "expected_precision_carried",
        "A later call of several reads what those before it left in a state, where an element may "
        "be its neighbour in FP16. Over 60 sequences of 8 calls outputs kept 115 dB, states 98.",
        min_snr_db=90.0,
    ),
    Gate(
        "expected_precision",
        "A package of any other recipe does what a virtual run of it promises: to the bit in this "
        "executor, within 1 dB elsewhere. One rounding that nobody declared costs a branch of "
        "94 dB 18 of them, and the stems stay above 60 dB.",
        at_least=-3.0,
        unit="dB",
    ),
    Gate(
        "end_to_end",
        "One FP16 rounding costs 73.65 dB; 60 dB is a gain error of 0.1 %, far below audibility.",
        min_snr_db=60.0,
        audio=True,
    ),
    Gate(
        "separation",
        "SDR, ISR, SIR and SAR say what kind of error a stem has; they diagnose and never gate, "
        "because what they forgive (a gain, a filter) a conversion must not do.",
        at_least=60.0,
        unit="dB",
    ),
    Gate(
        "quality",
        "Published scores have two decimals, and a smaller change moves none of them. Measured on "
        "three songs: 0.0000007 dB in FP32; under 0.004 dB in FP16, which is 56 dB from PyTorch. "
        "Of a stem under -20 dB a change counts by how much of the source is in it.",
        at_most=0.01,
        unit="dB apart",
    ),
    Gate(
        "quality_gain",
        "How well the subject separates is its own affair and gates nothing; but where it gains "
        "nothing over the mixture, there is no quality to keep.",
        at_least=0.0,
        unit="dB",
    ),
    Gate(
        "captured",
        "What a device makes may be as bad as the worst variant of what is unknown of it. A "
        "variant is told from another run, within 1 dB; a capture further down contradicts it.",
        at_most=1.0,
        unit="dB",
    ),
    Gate(
        "worst_tap",
        "Where along the network the error is born; measured for every recipe, gating for none.",
        at_least=60.0,
        unit="dB",
    ),
    Gate(
        "worst_operation",
        "The same for every operation beside the FP32 program; measured, gating for none.",
        at_least=60.0,
        unit="dB",
    ),
    Gate(
        "headroom",
        "A signal twice as loud must not be beyond FP16's 65,504 anywhere; measured on the FP32 "
        "program, because a recipe decides what runs in FP16.",
        at_least=6.0206,
        unit="dB",
    ),
    Gate(
        "sensitivity",
        "Shares of the error explain a package as far as their sum predicts its error.",
        at_most=3.0,
        unit="dB apart",
    ),
    Gate(
        "weights",
        "The constants are the checkpoint's tensors, bit for bit, or their rounding to FP16. Two "
        "heads exchanged in one matrix, a dropped bias or one flipped bit reach 82 to 97 dB.",
        at_most=0.0,
        unit="tensors",
    ),
    Gate(
        "second_opinion",
        "Two executors that share no arithmetic make the same of the same values, up to a last bit "
        "and the order of a sum; an operation of which they don't is wrong in one of them.",
        at_most=0.0,
        unit="operations",
    ),
    Gate(
        "second_opinion_fp32",
        "In FP32 both come within 117 dB of PyTorch on every tap of the published size; measured "
        "between them: 117.7 dB on the worst.",
        at_least=110.0,
        unit="dB",
    ),
    Gate(
        "second_opinion_rounded",
        "With roundings to FP16 both are as far from PyTorch at the outputs; measured on music: at "
        "most 0.2 dB apart for the published size, 0.7 for a narrow one.",
        at_most=1.0,
        unit="dB apart",
    ),
    Gate(
        "contract",
        "Names, shapes and types of inputs and outputs are promised to whoever loads the package.",
        at_most=0.0,
        unit="differences",
    ),
    Gate(
        "audit",
        "A package that was shipped as mixed and is all FP16 runs, and may even pass; only reading "
        "the precision of every operation tells.",
        at_most=0.0,
        unit="operations",
    ),
    Gate(
        "program",
        "A GELU by tanh or an epsilon of 1e-3 passes 60 dB; beside a fresh conversion of the same "
        "weights by the same recipe, each operation, setting, scalar and wire must be the same.",
        at_most=0.0,
        unit="differences",
    ),
    Gate(
        "lint",
        "A program with an operation that its opset lacks, or a constant that became infinite, is "
        "refused by Core ML or computes something else there, however well it runs here.",
        at_most=0.0,
        unit="errors",
    ),
    Gate(
        "repeat",
        "The executor is deterministic to the bit, so a program that makes something else the "
        "second time draws random numbers, or reads what it has not written.",
        at_most=0.0,
        unit="elements",
    ),
    Gate(
        "ops_fp32",
        "One operation, float32 arithmetic against float64: a few roundings of 6e-8, with room "
        "for the order of long sums.",
        rtol=2e-5,
        atol=2e-6,
    ),
    Gate(
        "ops_fp16",
        "One operation whose result is rounded once to FP16: half a unit in the last place is "
        "4.9e-4 relative, 3e-8 among the subnormals.",
        rtol=1e-3,
        atol=1e-6,
    ),
    Gate("ops_exact", "Movement, integers and booleans are exact.", rtol=0.0, atol=0.0),
)

GATES: Final[dict[str, Gate]] = {row.name: row for row in _ROWS}


def gate(name: str) -> Gate:
    """Return the gate called ``name``.

    Raises:
        UnknownNameError: there is no such gate.
    """
    if name not in GATES:
        raise UnknownNameError("gate", name, GATES)
    return GATES[name]
