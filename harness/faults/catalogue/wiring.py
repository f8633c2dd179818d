"""Bugs in the converted program that put something in, take something out or connect it wrongly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from harness.errors import PackageError
from harness.faults.judges.program import Converted
from harness.faults.operators.arithmetic import (
    absolute,
    epsilon,
    one_axis_less,
    subtracted,
    unbiased,
)
from harness.faults.operators.layers import heads, key_and_value
from harness.faults.operators.layout import other_side, transposed_first
from harness.faults.operators.site import Edit, Site
from harness.faults.registry import CLASSIC, CONVERSIONS, fault
from harness.mil import Model
from harness.mil.editing import (
    constant,
    edited,
    key,
    known_value,
    new_operation,
    skipped,
    with_constant,
    with_inputs,
    with_type,
)
from harness.mil.program import Operation, Variable

_program = partial(fault, on="program", caught_by="conversion")
_NORM = "encoder.3.dconv.layers.0.1"
_STEMS = 6


def _site(converted: Converted, operation: Operation) -> Site:
    return Site(converted.model, operation, converted.model.operations.index(operation))


def _edited(converted: Converted, edit: Edit | None) -> Model:
    """Return the program with an edit of one operation in it."""
    if edit is None:
        raise PackageError("the program has nothing there that could be got wrong in this way")
    return edited(converted.model, edit[-1], before={key(edit[-1]): edit[:-1]})


def _after(converted: Converted, module: str, type: str, **inputs: Any) -> Model:
    """Return the program with an operation put behind the output that ``module`` makes."""
    site = _site(converted, converted.first("add", module))
    shape, dtype = site.result.shape or (), site.result.dtype

    def then(renamed: Variable, result: Variable) -> Operation:
        return new_operation(type, result.name, shape, dtype, x=renamed.name, **inputs)

    return _edited(converted, site.after(then))


def _before(
    converted: Converted, operation: Operation, parameter: str, type: str, **inputs: Any
) -> Model:
    """Return the program with an operation of one shape put in front of an input."""
    site = _site(converted, operation)
    shape = [size or 0 for size in site.type_of(str(site.read(parameter))).shape or ()]
    return _edited(converted, site.before(parameter, type, shape, **inputs))


def _added(
    converted: Converted, module: str, change: Callable[[np.ndarray], np.ndarray], index: int = 0
) -> Model:
    """Return the program with the constant changed that a sum of ``module`` adds."""
    total = converted.all("add", module)[index]
    return edited(converted.model, with_constant(converted.model, total, "y", change))


def _stem_gains(index: int, gain: float) -> np.ndarray:
    gains = np.ones((1, _STEMS, 1, 1), np.float32)
    gains[0, index] = gain
    return gains


@_program("program.heads-reversed", source=CONVERSIONS)
def _heads_reversed(converted: Converted) -> Model:
    """The heads of one attention's values come in reverse order."""
    attention = converted.first("scaled_dot_product_attention", "crosstransformer.layers_t.1.*")
    return _edited(converted, heads(_site(converted, attention)))


@_program("program.key-value-exchanged", source=CLASSIC)
def _key_value_exchanged(converted: Converted) -> Model:
    """Key and value of one self-attention are exchanged."""
    attention = converted.first("scaled_dot_product_attention", "crosstransformer.layers.4.*")
    return _edited(converted, key_and_value(_site(converted, attention)))


@_program("program.query-scaled-twice", source=CLASSIC)
def _query_scaled_twice(converted: Converted) -> Model:
    """One query is divided by the root of the head's width, which the attention does itself."""
    attention = converted.first("scaled_dot_product_attention", "crosstransformer.layers.2.*")
    dtype = _site(converted, attention).result.dtype.numpy
    return _before(converted, attention, "query", "mul", y=constant(np.asarray(0.25, dtype)))


@_program("program.positions-shifted", source=CONVERSIONS)
def _positions_shifted(converted: Converted) -> Model:
    """The positional embedding of the time branch starts at one instead of zero."""
    return _added(converted, "crosstransformer", lambda table: np.roll(table, -1, 1), index=1)


@_program("program.positions-transposed", source=CONVERSIONS)
def _positions_transposed(converted: Converted) -> Model:
    """The two-dimensional positional embedding is laid out bin by bin, not frame by frame."""

    def transposed(table: np.ndarray) -> np.ndarray:
        by_frame = table.reshape(1, -1, 8, table.shape[-1])
        return by_frame.swapaxes(1, 2).reshape(table.shape)

    return _added(converted, "crosstransformer", transposed)


@_program("program.frequency-embedding-reversed", source=CLASSIC)
def _frequency_embedding_reversed(converted: Converted) -> Model:
    """The frequency embedding runs from high to low."""
    return _added(converted, "freq_emb", lambda table: np.flip(table, 2))


@_program("program.frequency-embedding-unscaled", source=CLASSIC)
def _frequency_embedding_unscaled(converted: Converted) -> Model:
    """The frequency embedding lacks the factor of ten that Demucs stores it without."""
    return _added(converted, "freq_emb", lambda table: table / 10)


@_program("program.stem-gain", source=CONVERSIONS)
def _stem_gain(converted: Converted) -> Model:
    """The time branch of one stem comes out 1 % too quiet."""
    return _after(converted, "denorm_time", "mul", y=_stem_gains(3, 0.99))


@_program("program.stem-inverted", source=CONVERSIONS)
def _stem_inverted(converted: Converted) -> Model:
    """The time branch of one stem comes out with inverted polarity."""
    return _after(converted, "denorm_time", "mul", y=_stem_gains(1, -1.0))


@_program("program.stem-silent", source=CONVERSIONS)
def _stem_silent(converted: Converted) -> Model:
    """The time branch of one stem is silent."""
    return _after(converted, "denorm_time", "mul", y=_stem_gains(0, 0.0))


@_program("program.time-branch-silent", source=CONVERSIONS)
def _time_branch_silent(converted: Converted) -> Model:
    """The time branch was left out, and zeros stand in its place."""
    return _after(converted, "denorm_time", "mul", y=constant(np.float32(0.0)))


@_program("program.sources-exchanged", source=CONVERSIONS)
def _sources_exchanged(converted: Converted) -> Model:
    """In the frequency branch two sources are exchanged: drums, bass, vocals, other."""
    order = constant(np.array([0, 1, 3, 2, 4, 5], np.int32))
    return _after(converted, "denorm_freq", "gather", indices=order, axis=1)


@_program("program.output-clipped", source=CLASSIC)
def _output_clipped(converted: Converted) -> Model:
    """The time branch is clipped at a level that loud passages reach."""
    return _after(converted, "denorm_time", "clip", alpha=-0.05, beta=0.05)


@_program("program.channels-exchanged", source=CONVERSIONS)
def _channels_exchanged(converted: Converted) -> Model:
    """Left and right of the audio are exchanged on their way in."""
    return _before(converted, converted.first("sub", "norm_time"), "x", "reverse", axes=[1])


@_program("program.real-imaginary-exchanged", source=CONVERSIONS)
def _real_imaginary_exchanged(converted: Converted) -> Model:
    """Real and imaginary parts of the spectrogram are exchanged on their way in."""
    order = constant(np.array([1, 0, 3, 2], np.int32))
    centred = converted.first("sub", "norm_freq")
    return _before(converted, centred, "x", "gather", indices=order, axis=1)


@_program("program.deviation-of-other-branch", source=CLASSIC)
def _deviation_of_other_branch(converted: Converted) -> Model:
    """The time branch is scaled back by the deviation of the spectrogram."""
    shaped = converted.first("expand_dims", "denorm_time")
    other = key(converted.first("sqrt", "norm_freq"))
    wrong = with_inputs(with_type(shaped, "reshape"), x=other, axes=None, shape=[1, 1, 1, 1])
    return edited(converted.model, wrong)


@_program("program.group-norm-unbiased", source=CONVERSIONS)
def _group_norm_unbiased(converted: Converted) -> Model:
    """One group normalisation divides by the unbiased deviation."""
    mean = converted.all("reduce_mean", _NORM)[-1]
    return _edited(converted, unbiased(_site(converted, mean)))


@_program("program.group-norm-epsilon", source=CLASSIC)
def _group_norm_epsilon(converted: Converted) -> Model:
    """One group normalisation has an epsilon of 1e-2 instead of 1e-5."""
    return _edited(converted, epsilon(_site(converted, converted.first("add", _NORM))))


@_program("program.group-norm-of-one-channel", source=CLASSIC)
def _group_norm_of_one_channel(converted: Converted) -> Model:
    """One group normalisation takes its mean from the first channel alone."""
    mean = converted.first("reduce_mean", "tencoder.3.dconv.layers.0.1")
    return _edited(converted, one_axis_less(_site(converted, mean)))


@_program("program.mean-not-subtracted", source=CLASSIC)
def _mean_not_subtracted(converted: Converted) -> Model:
    """One group normalisation leaves the mean where it is."""
    centred = converted.first("sub", "decoder.2.dconv.layers.0.1")
    return edited(converted.model, skipped(centred, "x"))


@_program("program.variance-of-magnitudes", source=CLASSIC)
def _variance_of_magnitudes(converted: Converted) -> Model:
    """One variance is a mean of magnitudes instead of a mean of squares."""
    square = converted.first("square", "tencoder.3.dconv.layers.0.1")
    return _edited(converted, absolute(_site(converted, square)))


@_program("program.activation-missing", source=CLASSIC)
def _activation_missing(converted: Converted) -> Model:
    """One GELU was lost when it was fused with its convolution."""
    return edited(converted.model, skipped(converted.first("gelu", "tencoder.1")))


@_program("program.gate-missing", source=CLASSIC)
def _gate_missing(converted: Converted) -> Model:
    """A gated linear unit passes its first half on without the gate."""
    return edited(converted.model, skipped(converted.first("mul", "decoder.3"), "x"))


@_program("program.residual-subtracted", source=CLASSIC)
def _residual_subtracted(converted: Converted) -> Model:
    """A residual branch is subtracted instead of added."""
    total = converted.first("add", "tdecoder.3.dconv")
    return _edited(converted, subtracted(_site(converted, total)))


@_program("program.reshape-of-transposed", source=CLASSIC)
def _reshape_of_transposed(converted: Converted) -> Model:
    """A reshape reads values that lie in another order: heads and positions are mixed up."""
    reshape = converted.first("reshape", "crosstransformer.layers.0.self_attn")
    return _edited(converted, transposed_first(_site(converted, reshape)))


@_program("program.pad-other-side", source=CLASSIC)
def _pad_other_side(converted: Converted) -> Model:
    """The sample that fills up a stride stands in front instead of behind."""
    return _edited(converted, other_side(_site(converted, converted.first("pad", "tencoder.1"))))


@_program("program.frequency-crop-early", source=CONVERSIONS)
def _frequency_crop_early(converted: Converted) -> Model:
    """The result of the last transposed convolution over frequency is cropped one bin too early."""
    cut = converted.all("slice_by_index", "decoder.3")[-1]
    begin = known_value(converted.model, cut, "begin")
    assert isinstance(begin, np.ndarray)  # a list of integers
    begin = begin - np.array([0, 0, 1, 0], begin.dtype)
    size = np.array(cut.outputs[0].type.shape, np.int32)  # type: ignore[union-attr]
    moved = with_inputs(cut, begin=constant(begin), end=constant(begin + size), end_mask=None)
    return edited(converted.model, moved)


@_program("program.layer-norm-without-offset", source=CLASSIC)
def _layer_norm_without_offset(converted: Converted) -> Model:
    """One layer normalisation lost its offset in a fusion."""
    norm = converted.first("layer_norm", "crosstransformer.layers.3.norm1")
    return edited(converted.model, with_inputs(norm, beta=None))
