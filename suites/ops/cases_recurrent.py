"""Cases of recurrent layers, against PyTorch's modules and, where these stop, step by step."""

from __future__ import annotations

import numpy as np
import torch

from suites.ops.cases import Case, normal

STEPS, BATCH, INPUTS, HIDDEN = 5, 2, 3, 4


def gates(array, order):
    """Reorder the gates of a weight from Core ML's order to PyTorch's."""
    parts = np.split(array, len(order))
    return torch.tensor(np.concatenate([parts[k] for k in order]))


def layer(kind, order, x, start, weight_ih, weight_hh, bias=None, input_bias=None, **settings):
    """Run PyTorch's module with Core ML's weights on ``x`` [steps, batch, features]."""
    module = getattr(torch.nn, kind)(
        x.shape[2], weight_hh.shape[1], dtype=torch.float64, **settings
    )
    zero = np.zeros(len(weight_ih))
    with torch.no_grad():
        module.weight_ih_l0.copy_(gates(weight_ih, order))
        module.weight_hh_l0.copy_(gates(weight_hh, order))
        module.bias_ih_l0.copy_(gates(zero if input_bias is None else input_bias, order))
        module.bias_hh_l0.copy_(gates(zero if bias is None else bias, order))
        states = tuple(torch.tensor(s)[None] for s in start)
        y, last = module(torch.tensor(x), states if kind == "LSTM" else states[0])
    last = last if kind == "LSTM" else (last,)
    return y.numpy(), *(state[0].numpy() for state in last)


def rnn(x, initial_h, direction="forward", output_sequence=False, activation="tanh", **weights):
    x = x[::-1].copy() if direction == "reverse" else x
    y, h = layer("RNN", [0], x, [initial_h], nonlinearity=activation, **weights)
    return y if output_sequence else y[-1:], h


def gru(x, initial_h, output_sequence=False, reset_after=True, **weights):
    y, h = layer("GRU", [0, 2, 1], x, [initial_h], **weights)
    return y if output_sequence else y[-1:], h


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_reset_before(x, initial_h, weight_ih, weight_hh, bias, direction, output_sequence):
    h, states = initial_h, []
    w, u, b = (np.split(a, 3) for a in (weight_ih, weight_hh, bias))
    for step in x[::-1] if direction == "reverse" else x:
        r = sigmoid(step @ w[0].T + h @ u[0].T + b[0])
        z = sigmoid(step @ w[2].T + h @ u[2].T + b[2])
        o = np.tanh(step @ w[1].T + (r * h) @ u[1].T + b[1])
        h = (1 - z) * o + z * h
        states.append(h)
    return np.stack(states) if output_sequence else states[-1][None], h


def lstm(x, initial_h, initial_c, direction="forward", output_sequence=False, **weights):
    order = [0, 1, 3, 2]
    ahead = {name: value for name, value in weights.items() if not name.endswith("_back")}
    if direction != "bidirectional":
        x = x[::-1].copy() if direction == "reverse" else x
        y, h, c = layer("LSTM", order, x, [initial_h, initial_c], **ahead)
        return y if output_sequence else y[-1:], h, c
    back = {k.removesuffix("_back"): v for k, v in weights.items() if k.endswith("_back")}
    starts = [np.split(state, 2, -1) for state in (initial_h, initial_c)]
    y, h, c = layer("LSTM", order, x, [s[0] for s in starts], **ahead)
    z, g, d = layer("LSTM", order, x[::-1].copy(), [s[1] for s in starts], **back)
    joined = (
        np.concatenate([y, z[::-1]], -1) if output_sequence else np.concatenate([h, g], -1)[None]
    )
    return joined, np.concatenate([h, g], -1), np.concatenate([c, d], -1)


def lstm_by_steps(x, initial_h, initial_c, weight_ih, weight_hh, bias, peephole, clip, **_):
    h, c, states = initial_h, initial_c, []
    p_i, p_f, p_o = np.split(peephole, 3)
    for step in x:
        i, f, o, z = np.split(step @ weight_ih.T + h @ weight_hh.T + bias, 4, -1)
        i, f = (np.clip(0.2 * g + 0.5, 0, 1) for g in (i + p_i * c, f + p_f * c))
        c = np.clip(f * c + i * np.maximum(z, 0), -clip, clip)
        h = np.clip(0.2 * (o + p_o * c) + 0.5, 0, 1) * c
        states.append(h)
    return np.stack(states), h, c


def weights(count, suffix="", seed=0):
    return {
        f"weight_ih{suffix}": normal(count * HIDDEN, INPUTS, seed=seed, scale=0.5),
        f"weight_hh{suffix}": normal(count * HIDDEN, HIDDEN, seed=seed + 1, scale=0.5),
        f"bias{suffix}": normal(count * HIDDEN, seed=seed + 2, scale=0.5),
    }


X = normal(STEPS, BATCH, INPUTS)
ONE = {"x": X, "initial_h": normal(BATCH, HIDDEN)}
TWO = ONE | {"initial_c": normal(BATCH, HIDDEN, seed=1)}
BOTH = {
    "x": X,
    "initial_h": normal(BATCH, 2 * HIDDEN),
    "initial_c": normal(BATCH, 2 * HIDDEN, seed=1),
}
ALL = {"output_sequence": True}

CASES = [
    Case("rnn", "rnn", rnn, ONE, weights(1), ALL),
    Case("rnn_relu", "rnn", rnn, ONE, weights(1), {"activation": "relu", "direction": "reverse"}),
    Case("gru", "gru", gru_reset_before, ONE, weights(3), ALL | {"direction": "forward"}),
    Case(
        "gru_reverse",
        "gru",
        gru_reset_before,
        ONE,
        weights(3),
        {"output_sequence": False, "direction": "reverse"},
    ),
    Case(
        "gru_reset_after",
        "gru",
        gru,
        ONE,
        weights(3) | {"input_bias": normal(3 * HIDDEN, seed=9)},
        ALL | {"reset_after": True},
    ),
    Case("lstm", "lstm", lstm, TWO, weights(4), ALL),
    Case("lstm_last", "lstm", lstm, TWO, weights(4), {"direction": "reverse"}),
    Case(
        "lstm_bidirectional",
        "lstm",
        lstm,
        BOTH,
        weights(4) | weights(4, "_back", seed=3),
        ALL | {"direction": "bidirectional"},
    ),
    Case(
        "lstm_bidirectional_last",
        "lstm",
        lstm,
        BOTH,
        weights(4) | weights(4, "_back", seed=3),
        {"direction": "bidirectional"},
    ),
    Case(
        "lstm_peephole",
        "lstm",
        lstm_by_steps,
        TWO,
        weights(4) | {"peephole": normal(3 * HIDDEN, seed=7)},
        ALL
        | {
            "clip": 0.75,
            "recurrent_activation": "hard_sigmoid",
            "cell_activation": "relu",
            "activation": "linear",
        },
    ),
]
