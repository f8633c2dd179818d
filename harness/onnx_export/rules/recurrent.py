"""Recurrent layers, by ONNX's own operators.

Gates lie in the order input, output, forget, cell there for ``lstm`` (MIL: input, forget, output,
cell) and update, reset, hidden for ``gru`` (MIL: reset, hidden, update). A reversed layer runs
forwards over the reversed sequence: its results stay in the order in which they are computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.errors import UnsupportedOperationError
from harness.onnx_export.build import Graph, Operand, Value
from harness.onnx_export.registry import exports
from harness.onnx_export.rules.movement import flipped

# The function of each name, with its alpha and beta if it has them. ONNX lists these for all
# functions of a layer in one row, from which a function that has none takes none.
_ACTIVATIONS: dict[str, tuple[str, tuple[float, ...]]] = {
    "tanh": ("Tanh", ()),
    "scaled_tanh": ("ScaledTanh", (1.0, 1.0)),
    "sigmoid": ("Sigmoid", ()),
    "hard_sigmoid": ("HardSigmoid", (0.2, 0.5)),
    "sigmoid_hard": ("HardSigmoid", (0.2, 0.5)),
    "relu": ("Relu", ()),
    "linear": ("Affine", (1.0, 0.0)),
}


@exports("rnn")
def rnn(
    g: Graph,
    x: Value,
    initial_h: Value,
    weight_ih: Value,
    weight_hh: Value,
    bias: Value | None,
    direction: str,
    output_sequence: bool,
    activation: str,
) -> tuple[str, ...]:
    """h = activation(W_ih x + W_hh h + bias), for each step."""
    hidden = weight_hh.sizes[1]
    weights = _weights(g, weight_ih, weight_hh, None, bias, (0,))
    made = g.several(
        "RNN",
        2,
        *(_in_order(g, x, direction), *weights, None, _start(g, initial_h, x)),
        hidden_size=hidden,
        **_named([activation]),
    )
    return _returned(g, made, output_sequence)


@exports("gru")
def gru(
    g: Graph,
    x: Value,
    initial_h: Value,
    weight_ih: Value,
    weight_hh: Value,
    bias: Value | None,
    direction: str,
    output_sequence: bool,
    recurrent_activation: str,
    activation: str,
    reset_after: bool,
    input_bias: Value | None,
) -> tuple[str, ...]:
    """Gated recurrent unit."""
    made = g.several(
        "GRU",
        2,
        _in_order(g, x, direction),
        *_weights(g, weight_ih, weight_hh, input_bias, bias, (2, 0, 1)),
        *(None, _start(g, initial_h, x)),
        hidden_size=weight_hh.sizes[1],
        linear_before_reset=int(reset_after),
        **_named([recurrent_activation, activation]),
    )
    return _returned(g, made, output_sequence)


@exports("lstm")
def lstm(
    g: Graph,
    x: Value,
    initial_h: Value,
    initial_c: Value,
    weight_ih: Value,
    weight_hh: Value,
    bias: Value | None,
    peephole: Value | None,
    weight_ih_back: Value | None,
    weight_hh_back: Value | None,
    bias_back: Value | None,
    peephole_back: Value | None,
    direction: str,
    output_sequence: bool,
    recurrent_activation: str,
    cell_activation: str,
    activation: str,
    clip: float | None,
) -> tuple[str, ...]:
    """Long short-term memory; ``bidirectional`` runs a second layer from the end."""
    if clip is not None:
        raise UnsupportedOperationError(
            f"operation {x.reader} limits its memory by 'clip'; ONNX limits what goes into the "
            "activations instead, so it can't be exported"
        )
    layers = [(weight_ih, weight_hh, bias, peephole)]
    both = direction == "bidirectional"
    if both and weight_ih_back is not None and weight_hh_back is not None:
        layers.append((weight_ih_back, weight_hh_back, bias_back, peephole_back))
    hidden = weight_hh.sizes[1]
    parts = [_weights(g, w, r, None, b, (0, 2, 1, 3)) for w, r, b, _ in layers]
    weights = [g("Concat", *part, axis=0) for part in zip(*parts, strict=True)]
    peeps = [_peeps(g, x, p, hidden) for *_, p in layers]
    made = g.several(
        "LSTM",
        3,
        *(x if both else _in_order(g, x, direction), *weights, None),
        *(_start(g, state, x, len(layers)) for state in (initial_h, initial_c)),
        g("Concat", *peeps, axis=0) if peephole or peephole_back else None,
        hidden_size=hidden,
        direction="bidirectional" if both else "forward",
        **_named([recurrent_activation, cell_activation, activation] * len(layers)),
    )
    y, last = _returned(g, made[:2], output_sequence)
    return y, last, _joined(g, made[2])


def _weights(
    g: Graph,
    weight_ih: Value,
    weight_hh: Value,
    input_bias: Value | None,
    bias: Value | None,
    gates: tuple[int, ...],
) -> list[str]:
    """Return the weights and the biases of one direction, the gates in ONNX's order."""
    hidden = weight_hh.sizes[1]
    order = np.concatenate([np.arange(hidden) + gate * hidden for gate in gates])
    zeros = np.zeros(len(order), np.float32)

    def arranged(rows: Operand) -> str:
        return g("Unsqueeze", g("Gather", rows, order, axis=0), [0])

    biases = [arranged(zeros if b is None else b) for b in (input_bias, bias)]
    return [arranged(weight_ih), arranged(weight_hh), g("Concat", *biases, axis=1)]


def _peeps(g: Graph, x: Value, peephole: Value | None, hidden: int) -> str:
    """Return what the memory adds to the input, output and forget gates."""
    if peephole is None:
        return g("Unsqueeze", np.zeros(3 * hidden, x.dtype.numpy), [0])
    order = np.concatenate([np.arange(hidden) + gate * hidden for gate in (0, 2, 1)])
    return g("Unsqueeze", g("Gather", peephole, order, axis=0), [0])


def _in_order(g: Graph, x: Value, direction: str) -> Value | str:
    backwards = {"forward": False, "reverse": True}[direction]
    return flipped(g, x, [0]) if backwards else x


def _start(g: Graph, state: Value, x: Value, directions: int = 1) -> str:
    """Return the initial state as [directions, B, H]."""
    batch, features = x.sizes[1], state.sizes[1] // directions
    if state.sizes[0] != batch:
        raise UnsupportedOperationError(
            f"operation {x.reader} has an initial state of {state.sizes[0]} rows for a batch of "
            f"{batch}; it can be exported with one row for each"
        )
    return g("Transpose", g("Reshape", state, [batch, directions, features]), perm=[1, 0, 2])


def _named(names: list[str]) -> dict[str, Any]:
    rows = [_ACTIVATIONS[name.lower()] for name in names]
    named: dict[str, Any] = {"activations": [operator for operator, _ in rows]}
    constants = [pair for _, pair in rows if pair]
    if constants:
        named["activation_alpha"], named["activation_beta"] = map(
            list, zip(*constants, strict=True)
        )
    return named


def _returned(g: Graph, made: tuple[str, ...], output_sequence: bool) -> tuple[str, str]:
    """Return every step's state, or the last as the only step, and the last."""
    last = _joined(g, made[1])
    if not output_sequence:
        return g("Unsqueeze", last, [0]), last
    steps = g("Transpose", made[0], perm=[0, 2, 1, 3])  # [S, D, B, H] to [S, B, D, H]
    return g("Reshape", steps, [0, 0, -1]), last


def _joined(g: Graph, state: str) -> str:
    """Return [D, B, H] as [B, D H]."""
    return g("Reshape", g("Transpose", state, perm=[1, 0, 2]), [0, -1])
