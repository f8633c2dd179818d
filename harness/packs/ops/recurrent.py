"""Recurrent layers: LSTM and GRU, in each direction."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from harness.packs.problems import OPS, SEVERAL, Array, Draw, Problem

_STATE = "[directions, batch, hidden]"
_LAYOUTS = {
    "x": "[time, batch, in]",
    "h0": _STATE,
    "c0": _STATE,
    "h": _STATE,
    "c": _STATE,
    "y": "[time, batch, directions * hidden]: forward, then backward",
    "weight_ih": "[gates * hidden, in]",
    "weight_hh": "[gates * hidden, hidden]",
    "weight_ih_reverse": "[gates * hidden, in]",
    "weight_hh_reverse": "[gates * hidden, hidden]",
}


def _parameters(draw: Draw, gates: int, size: int, hidden: int, direction: str) -> dict[str, Array]:
    suffixes = {"forward": [""], "reverse": [""], "both": ["", "_reverse"]}[direction]
    scale, rows = hidden**-0.5, gates * hidden
    found: dict[str, Array] = {}
    for suffix in suffixes:
        found[f"weight_ih{suffix}"] = draw(rows, size, scale=scale)
        found[f"weight_hh{suffix}"] = draw(rows, hidden, scale=scale)
        found[f"bias_ih{suffix}"] = draw(rows, scale=0.5)
        found[f"bias_hh{suffix}"] = draw(rows, scale=0.5)
    return found


def _flat(p: dict[str, Tensor]) -> list[Tensor]:
    suffixes = ["", "_reverse"] if "weight_ih_reverse" in p else [""]
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [p[kind + suffix] for suffix in suffixes for kind in kinds]


def _reordered(tensor: Tensor, order: str, known: str) -> Tensor:
    """Return blocks of rows in the order of gates that PyTorch has."""
    blocks = dict(zip(order.split(","), tensor.chunk(len(known.split(","))), strict=True))
    return torch.cat([blocks[gate] for gate in known.split(",")])


def lstm_of(
    x: Tensor, h0: Tensor, c0: Tensor, direction: str, gate_order: str, biases: str, **p: Tensor
) -> dict[str, Tensor]:
    """Run an LSTM whose biases may be summed and whose gates may be in another order."""
    if biases == "summed":
        both = [name for name in p if name.startswith("bias")]
        p |= {name.replace("bias", "bias_ih"): p[name] for name in both}
        p |= {name.replace("bias", "bias_hh"): torch.zeros_like(p[name]) for name in both}
    flat = [_reordered(tensor, gate_order, "i,f,g,o") for tensor in _flat(p)]
    backwards = direction == "reverse"
    time = x.flip(0) if backwards else x
    both_ways = direction == "both"
    y, h, c = torch.lstm(time, (h0, c0), flat, True, 1, 0.0, False, both_ways, False)
    return {"y": y.flip(0) if backwards else y, "h": h, "c": c}


@OPS.operation("lstm", _LAYOUTS, bounds=SEVERAL)
def lstm(draw: Draw) -> Iterator[Problem]:
    """i, f, o = sigmoid, g = tanh of (weight_ih x + bias_ih + weight_hh h + bias_hh);
    c = f c + i g; h = o tanh(c). gate_order says in which order the rows of the gates lie.
    """

    def case(
        name: str,
        direction: str,
        gate_order: str = "i,f,g,o",
        biases: str = "split",
        steps: int = 7,
    ) -> Problem:
        size, hidden, batch = 5, 6, 2
        directions = 2 if direction == "both" else 1
        given = {
            "x": draw(steps, batch, size),
            "h0": draw(directions, batch, hidden, scale=0.5),
            "c0": draw(directions, batch, hidden, scale=0.5),
        }
        parameters = _parameters(draw, 4, size, hidden, direction)
        if biases == "summed":
            parameters = {n: a for n, a in parameters.items() if not n.startswith("bias_hh")}
            parameters = {n.replace("bias_ih", "bias"): a for n, a in parameters.items()}
        attributes = {"direction": direction, "gate_order": gate_order, "biases": biases}
        return Problem(name, lstm_of, given, parameters, attributes, levels=name == "forward")

    yield case("forward", "forward")
    yield case("reverse", "reverse")
    yield case("both", "both")
    yield case("one_step", "forward", steps=1)
    yield case("long", "forward", steps=200)
    yield case("core_ml_order", "forward", "i,f,o,g", "summed")
    yield case("onnx_order", "both", "i,o,f,g")


@OPS.operation("gru", _LAYOUTS, bounds=SEVERAL, gate_order="r,z,n", biases="split")
def gru(draw: Draw) -> Iterator[Problem]:
    """r, z = sigmoid(weight_ih x + bias_ih + weight_hh h + bias_hh); n = tanh(weight_ih x + bias_ih
    + r (weight_hh h + bias_hh)), the reset behind the product; h = (1 - z) n + z h.
    """

    def compute(x: Tensor, h0: Tensor, direction: str, **p: Tensor) -> dict[str, Tensor]:
        backwards = direction == "reverse"
        time = x.flip(0) if backwards else x
        both = direction == "both"
        y, h = torch.gru(time, h0, _flat(p), True, 1, 0.0, False, both, False)
        return {"y": y.flip(0) if backwards else y, "h": h}

    for direction in ("forward", "reverse", "both"):
        directions = 2 if direction == "both" else 1
        given = {"x": draw(6, 2, 4), "h0": draw(directions, 2, 5, scale=0.5)}
        parameters = _parameters(draw, 3, 4, 5, direction)
        levels = direction == "forward"
        yield Problem(
            direction, compute, given, parameters, {"direction": direction}, levels=levels
        )
