"""Bugs in the converted program that put something in, take something out or connect it wrongly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from harness.faults.catalogue.edits import (
    ProgramEdit,
    constant_changed,
    left_out,
    mutated,
    rebound,
)
from harness.faults.judges.program import Converted
from harness.faults.operators import Edit, MutationSite
from harness.faults.operators.arithmetic import (
    absolute,
    epsilon,
    one_axis_less,
    subtracted,
    unbiased,
)
from harness.faults.operators.layers import heads, key_and_value
from harness.faults.operators.layout import other_side, transposed_first
from harness.faults.registry import CLASSIC, CONVERSIONS, fault
from harness.mil.editing import Bindable, constant, key, known_value, with_inputs, with_type

_program = partial(fault, judge="program", caught_by="conversion")
_ATTENTION = "scaled_dot_product_attention"
_NORM, _NORM_T = "encoder.3.dconv.layers.0.1", "tencoder.3.dconv.layers.0.1"


def _after(module: str, type: str, **inputs: Bindable) -> ProgramEdit:
    """Put an operation behind the output that ``module`` makes."""
    return mutated(lambda site: site.followed(type, **inputs), "add", module)


def _before(parameter: str, type: str, **inputs: Bindable) -> Callable[[MutationSite], Edit]:
    """Put an operation of one shape in front of an input."""
    return lambda site: site.before(parameter, type, site.shape_of(parameter), **inputs)


def _times_one_stem(stem: int, gain: float) -> ProgramEdit:
    """Multiply the time branch of one stem of six."""
    gains = np.ones((1, 6, 1, 1), np.float32)
    gains[0, stem] = gain
    return _after("denorm_time", "mul", y=gains)


_program("program.heads-reversed", source=CONVERSIONS)(
    mutated(heads, _ATTENTION, "crosstransformer.layers_t.1.*"),
    "The heads of one attention's values come in reverse order.",
)
_program("program.key-value-exchanged", source=CLASSIC)(
    mutated(key_and_value, _ATTENTION, "crosstransformer.layers.4.*"),
    "Key and value of one self-attention are exchanged.",
)


# Heads are 16 wide, so the root is 4.
_program("program.query-scaled-twice", source=CLASSIC)(
    mutated(_before("query", "mul", y=0.25), _ATTENTION, "crosstransformer.layers.2.*"),
    "One query is divided by the root of the head's width, which the attention does itself.",
)
_program("program.positions-shifted", source=CONVERSIONS)(
    constant_changed("add", "crosstransformer", "y", at=1)(lambda table: np.roll(table, -1, 1)),
    "The positional embedding of the time branch starts at one instead of zero.",
)


@_program("program.positions-transposed", source=CONVERSIONS)
@constant_changed("add", "crosstransformer", "y")
def _positions_transposed(table: np.ndarray) -> np.ndarray:
    """The two-dimensional positional embedding is laid out bin by bin, not frame by frame."""
    by_frame = table.reshape(1, -1, 8, table.shape[-1])
    return by_frame.swapaxes(1, 2).reshape(table.shape)


_program("program.frequency-embedding-reversed", source=CLASSIC)(
    constant_changed("add", "freq_emb", "y")(lambda table: np.flip(table, 2)),
    "The frequency embedding runs from high to low.",
)
_program("program.frequency-embedding-unscaled", source=CLASSIC)(
    constant_changed("add", "freq_emb", "y")(lambda table: table / 10),
    "The frequency embedding lacks the factor of ten that Demucs stores it without.",
)
_program("program.stem-gain", source=CONVERSIONS)(
    _times_one_stem(3, 0.99),
    "The time branch of one stem comes out 1 % too quiet.",
)
_program("program.stem-inverted", source=CONVERSIONS)(
    _times_one_stem(1, -1.0),
    "The time branch of one stem comes out with inverted polarity.",
)
_program("program.stem-silent", source=CONVERSIONS)(
    _times_one_stem(0, 0.0),
    "The time branch of one stem is silent.",
)
_program("program.time-branch-silent", source=CONVERSIONS)(
    _after("denorm_time", "mul", y=0.0),
    "The time branch was left out, and zeros stand in its place.",
)
_program("program.sources-exchanged", source=CONVERSIONS)(
    _after("denorm_freq", "gather", indices=[0, 1, 3, 2, 4, 5], axis=1),
    "In the frequency branch two sources are exchanged: drums, bass, vocals, other.",
)
_program("program.output-clipped", source=CLASSIC)(
    _after("denorm_time", "clip", alpha=-0.05, beta=0.05),
    "The time branch is clipped at a level that loud passages reach.",
)
_program("program.channels-exchanged", source=CONVERSIONS)(
    mutated(_before("x", "reverse", axes=[1]), "sub", "norm_time"),
    "Left and right of the audio are exchanged on their way in.",
)
_program("program.real-imaginary-exchanged", source=CONVERSIONS)(
    mutated(_before("x", "gather", indices=[1, 0, 3, 2], axis=1), "sub", "norm_freq"),
    "Real and imaginary parts of the spectrogram are exchanged on their way in.",
)


@_program("program.deviation-of-other-branch", source=CLASSIC)
def _deviation_of_other_branch(converted: Converted) -> Converted:
    """The time branch is scaled back by the deviation of the spectrogram."""
    shaped = with_type(converted.first("expand_dims", "denorm_time"), "reshape")
    other = key(converted.first("sqrt", "norm_freq"))
    return converted.edited(with_inputs(shaped, x=other, axes=None, shape=[1, 1, 1, 1]))


_program("program.group-norm-unbiased", source=CONVERSIONS)(
    mutated(unbiased, "reduce_mean", _NORM, at=-1),
    "One group normalisation divides by the unbiased deviation.",
)
_program("program.group-norm-epsilon", source=CLASSIC)(
    mutated(epsilon, "add", _NORM),
    "One group normalisation has an epsilon of 1e-2 instead of 1e-5.",
)
_program("program.group-norm-of-one-channel", source=CLASSIC)(
    mutated(one_axis_less, "reduce_mean", _NORM_T),
    "One group normalisation takes its mean from the first channel alone.",
)
_program("program.mean-not-subtracted", source=CLASSIC)(
    left_out("sub", "decoder.2.dconv.layers.0.1"),
    "One group normalisation leaves the mean where it is.",
)
_program("program.variance-of-magnitudes", source=CLASSIC)(
    mutated(absolute, "square", _NORM_T),
    "One variance is a mean of magnitudes instead of a mean of squares.",
)
_program("program.activation-missing", source=CLASSIC)(
    left_out("gelu", "tencoder.1"),
    "One GELU was lost when it was fused with its convolution.",
)
_program("program.gate-missing", source=CLASSIC)(
    left_out("mul", "decoder.3"),
    "A gated linear unit passes its first half on without the gate.",
)
_program("program.residual-subtracted", source=CLASSIC)(
    mutated(subtracted, "add", "tdecoder.3.dconv"),
    "A residual branch is subtracted instead of added.",
)
_program("program.reshape-of-transposed", source=CLASSIC)(
    mutated(transposed_first, "reshape", "crosstransformer.layers.0.self_attn"),
    "A reshape reads values that lie in another order: heads and positions are mixed up.",
)
_program("program.pad-other-side", source=CLASSIC)(
    mutated(other_side, "pad", "tencoder.1"),
    "The sample that fills up a stride stands in front instead of behind.",
)


@_program("program.frequency-crop-early", source=CONVERSIONS)
def _frequency_crop_early(converted: Converted) -> Converted:
    """The result of the last transposed convolution over frequency is cropped one bin too early."""
    cut = converted.site("slice_by_index", "decoder.3", at=-1)
    begin = known_value(converted.model, cut.operation, "begin")
    assert isinstance(begin, np.ndarray)  # a list of integers
    begin = begin - np.array([0, 0, 1, 0], begin.dtype)
    end = constant(begin + np.array(cut.shape, np.int32))
    return converted.edited(with_inputs(cut.operation, begin=begin, end=end, end_mask=None))


_program("program.layer-norm-without-offset", source=CLASSIC)(
    rebound("layer_norm", "crosstransformer.layers.3.norm1", beta=None),
    "One layer normalisation lost its offset in a fusion.",
)
