"""Recurrent layers: one operation runs over the whole sequence.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS17,iOS18}/recurrent.py`` and, for the order in which
``reverse`` returns its states (as computed, the last first), the numerical tests beside it in
coremltools. A sequence is [steps, batch, features]. A layer is one operation: its states are not
rounded between steps, only its results are.

The definitions ask for one row of the initial state for each of the batch. Core ML takes another
number of rows, too: coremltools gives a packed sequence zeros with as many rows as there are steps,
and its test passes on a Mac. So a state whose rows are all alike serves any batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from harness.mil.ops.registry import Tensor, operation

_Activation = Callable[[Tensor], Tensor]

# A recurrent layer names its functions and gives them no constants. coremltools' tests take the
# standard ones: 1 and 1 for ``scaled_tanh``, 0.2 and 0.5 for ``hard_sigmoid``.
_ACTIVATIONS: dict[str, _Activation] = {
    "tanh": torch.tanh,
    "scaled_tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "sigmoid_hard": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "relu": torch.relu,
    "linear": lambda x: x,
}


def _activation(name: str) -> _Activation:
    if name.lower() not in _ACTIVATIONS:
        raise ValueError(f"activation {name!r} is none of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name.lower()]


def _in_order(x: Tensor, direction: str) -> Tensor:
    if direction not in ("forward", "reverse"):
        raise ValueError(f"direction {direction!r} is none of forward, reverse")
    return x.flip(0) if direction == "reverse" else x


def _start(state: Tensor, x: Tensor) -> Tensor:
    """Return the initial state [B, H] of a sequence ``x`` [S, B, I].

    Raises:
        ValueError: there is not one row for each of the batch, and they are not alike.
    """
    rows, batch = state.shape[0], x.shape[1]
    if rows == batch:
        return state
    if rows == 0 or not bool((state == state[:1]).all()):
        raise ValueError(
            f"an initial state of {rows} rows, not all alike, for a batch of {batch}: give one each"
        )
    return state[:1].expand(batch, -1)


def _returned(states: list[Tensor], output_sequence: bool) -> Tensor:
    return torch.stack(states if output_sequence else states[-1:])


@operation("rnn")
def rnn(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
) -> tuple[Tensor, ...]:
    """h = activation(W_ih x + W_hh h + bias), for each step; returns all or the last, and the last.

    Args:
        x: [S, B, I].
        initial_h: [B, H].
        weight_ih: [H, I].
        weight_hh: [H, H].
        bias: [H].
        direction: ``forward`` or ``reverse``.
        output_sequence: whether to return every step.
        activation: name of a function.
    """
    act, h = _activation(activation), _start(initial_h, x)
    states = []
    for driven in functional.linear(_in_order(x, direction), weight_ih, bias):
        h = act(driven + functional.linear(h, weight_hh))
        states.append(h)
    return _returned(states, output_sequence), h


@operation("gru")
def gru(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: bool = False,
    input_bias: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Gated recurrent unit; returns the states of all steps or the last, and the last.

    The reset gate acts on the state before its matrix product, or, with ``reset_after``, on the
    product with its bias. Gates lie in the order reset, output, update.

    Args:
        x: [S, B, I].
        initial_h: [B, H].
        weight_ih: [3 H, I].
        weight_hh: [3 H, H].
        bias: [3 H], of the products with the state.
        direction: ``forward`` or ``reverse``.
        output_sequence: whether to return every step.
        recurrent_activation: of the reset and the update gate.
        activation: of the output gate.
        reset_after: see above.
        input_bias: [3 H], of the products with the input.
    """
    gate, act, h = _activation(recurrent_activation), _activation(activation), _start(initial_h, x)
    hidden = weight_hh.shape[1]
    recurrent = weight_hh.split(hidden)
    biases = [None] * 3 if bias is None else list(bias.split(hidden))
    states = []
    for driven in functional.linear(_in_order(x, direction), weight_ih, input_bias):
        to_reset, to_output, to_update = driven.split(hidden, -1)
        reset = gate(to_reset + functional.linear(h, recurrent[0], biases[0]))
        update = gate(to_update + functional.linear(h, recurrent[2], biases[2]))
        if reset_after:
            carried = reset * functional.linear(h, recurrent[1], biases[1])
        else:
            carried = functional.linear(reset * h, recurrent[1], biases[1])
        h = (1 - update) * act(to_output + carried) + update * h
        states.append(h)
    return _returned(states, output_sequence), h


@operation("lstm")
def lstm(
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    peephole: Tensor | None = None,
    weight_ih_back: Tensor | None = None,
    weight_hh_back: Tensor | None = None,
    bias_back: Tensor | None = None,
    peephole_back: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: float | None = None,
) -> tuple[Tensor, ...]:
    """Long short-term memory; returns the states of all steps or the last, the last, its memory.

    Gates lie in the order input, forget, output, cell. ``bidirectional`` runs a second layer, whose
    parameters end in ``_back``, from the end; both are joined along the features, step by step.

    Args:
        x: [S, B, I].
        initial_h: [B, H], or [B, 2 H] if bidirectional; the memory and results likewise.
        initial_c: like ``initial_h``.
        weight_ih: [4 H, I].
        weight_hh: [4 H, H].
        bias: [4 H].
        peephole: [3 H], what the memory adds to the input, forget and output gates.
        weight_ih_back: of the second layer, as the three that follow.
        weight_hh_back: see above.
        bias_back: see above.
        peephole_back: see above.
        direction: ``forward``, ``reverse`` or ``bidirectional``.
        output_sequence: whether to return every step.
        recurrent_activation: of the input, forget and output gates.
        cell_activation: of the cell gate.
        activation: of the memory, for the state.
        clip: largest magnitude of the memory.
    """
    initial_h, initial_c = _start(initial_h, x), _start(initial_c, x)
    acts = tuple(map(_activation, (recurrent_activation, cell_activation, activation)))
    if direction != "bidirectional":
        states, c = _lstm(
            _in_order(x, direction),
            (initial_h, initial_c),
            (weight_ih, weight_hh, bias),
            peephole,
            acts,
            clip,
        )
        return _returned(states, output_sequence), states[-1], c
    if weight_ih_back is None or weight_hh_back is None:
        raise ValueError("a bidirectional lstm needs weight_ih_back and weight_hh_back")
    starts = list(zip(initial_h.chunk(2, -1), initial_c.chunk(2, -1), strict=True))
    ahead, c = _lstm(x, starts[0], (weight_ih, weight_hh, bias), peephole, acts, clip)
    back, c_back = _lstm(
        x.flip(0), starts[1], (weight_ih_back, weight_hh_back, bias_back), peephole_back, acts, clip
    )
    last = torch.cat([ahead[-1], back[-1]], -1)
    if output_sequence:
        y = torch.cat([torch.stack(ahead), torch.stack(back[::-1])], -1)
    else:
        y = torch.stack([last])
    return y, last, torch.cat([c, c_back], -1)


def _lstm(
    x: Tensor,
    start: tuple[Tensor, Tensor],
    weights: tuple[Tensor, Tensor, Tensor | None],
    peephole: Tensor | None,
    activations: tuple[_Activation, ...],
    clip: float | None,
) -> tuple[list[Tensor], Tensor]:
    """Return the state of every step, and the last memory."""
    gate, cell, act = activations
    (h, c), (weight_ih, weight_hh, bias) = start, weights
    peeps = (None,) * 3 if peephole is None else peephole.chunk(3)
    states = []
    for driven in functional.linear(x, weight_ih, bias):
        i, f, o, z = (driven + functional.linear(h, weight_hh)).chunk(4, -1)
        c_new = gate(_peeped(f, peeps[1], c)) * c + gate(_peeped(i, peeps[0], c)) * cell(z)
        c = c_new if clip is None else c_new.clamp(-clip, clip)
        h = gate(_peeped(o, peeps[2], c)) * act(c)
        states.append(h)
    return states, c


def _peeped(driven: Tensor, peephole: Tensor | None, memory: Tensor) -> Tensor:
    # Zero would not do for no peephole: zero times an infinite memory is NaN.
    return driven if peephole is None else driven + peephole * memory
