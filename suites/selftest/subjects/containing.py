"""How others keep an HTDemucs: a state dict in every container, and the name that asks for it."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import torch
from demucs.htdemucs import HTDemucs
from demucs.states import save_with_checksum
from safetensors.torch import save_file

State = dict[str, torch.Tensor]
Arguments = dict[str, Any]


def _exported(state: State, arguments: Arguments) -> dict[str, Any]:
    return {"klass": HTDemucs, "args": (), "kwargs": arguments, "state": state}


def _stated(arguments: Arguments) -> Arguments:
    """Return what the configuration of a trainer says, which loads data at some sample rate."""
    return {"samplerate": 44_100, **arguments}


def _named(arguments: Arguments) -> str:
    """Return the options that say what no tensor shows."""
    default = {"samplerate": 44_100, "t_heads": 8}
    said = {
        key: arguments.get(key, default.get(key)) for key in ("segment", "samplerate", "t_heads")
    }
    options = [f"{key}={value}" for key, value in said.items()]
    order = {key: value for key, value in arguments.items() if key == "t_cross_first"}
    options += [f"{key}={str(value).lower()}" for key, value in order.items()]
    return "?" + "&".join([*options, f"sources={','.join(arguments['sources'])}"])


def export(folder: Path, state: State, arguments: Arguments) -> str:
    """Demucs' export, with its checksum in the name."""
    save_with_checksum(_exported(state, arguments) | {"training_args": {}}, folder / "abcd1234.th")
    return str(next(folder.glob("*.th")))


def half_export(folder: Path, state: State, arguments: Arguments) -> str:
    """Demucs' export in FP16, as its own command writes it."""
    half = {name: tensor.half() for name, tensor in state.items()}
    torch.save(_exported(half, arguments), folder / "half.th")
    return str(folder / "half.th")


def hub(folder: Path, state: State, arguments: Arguments) -> str:
    """A safetensors file with the class and its arguments, as Demucs' hub has them."""
    kwargs = {
        key: {"_type": "fraction", "numerator": v.numerator, "denominator": v.denominator}
        if isinstance(v, Fraction)
        else v
        for key, v in arguments.items()
    }
    about = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(kwargs)}
    save_file(_own(state), folder / "model.safetensors", metadata=about)
    return str(folder / "model.safetensors")


def in_a_folder(folder: Path, state: State, arguments: Arguments) -> str:
    """A folder with one checkpoint."""
    torch.save(_exported(state, arguments), folder / "best.th")
    return str(folder)


def bag(folder: Path, state: State, arguments: Arguments) -> str:
    """A bag of one, whose list shortens the segment."""
    torch.save(_exported(state, arguments), folder / "cafe0123.th")
    segment = float(arguments["segment"]) / 2
    weights = [[1.0] * len(arguments["sources"])]
    (folder / "own.yaml").write_text(
        f"models: [cafe0123]\nweights: {weights}\nsegment: {segment}\n"
    )
    return str(folder / "own.yaml")


def solver(folder: Path, state: State, arguments: Arguments) -> str:
    """The state of Demucs' solver, whose best weights are not the last ones."""
    own = {key: value for key, value in arguments.items() if key not in ("sources", "segment")}
    rate, channels = own.pop("samplerate", 44_100), own.pop("audio_channels", 2)
    dataset = {"sources": arguments["sources"], "channels": channels, "samplerate": rate}
    options = {
        "model": "htdemucs",
        "model_segment": float(arguments["segment"]),
        "htdemucs": own,
        "dset": dataset,
    }
    last = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    content = {"state": last, "best_state": state, "training_args": options, "history": []}
    torch.save(content, folder / "checkpoint.th")
    return str(folder / "checkpoint.th")


def lightning(folder: Path, state: State, arguments: Arguments) -> str:
    """A checkpoint of Lightning, with another module beside the network."""
    named = {f"model.{name}": tensor for name, tensor in state.items()}
    content = {
        "pytorch-lightning_version": "2.4.0",
        "state_dict": named | {"loss.window": torch.ones(8)},
        "hyper_parameters": Namespace(**_stated(arguments), lr=1e-3),
    }
    torch.save(content, folder / "last.ckpt")
    return str(folder / "last.ckpt")


def parallel(folder: Path, state: State, arguments: Arguments) -> str:
    """A bare state dict of DataParallel; the rest is in the name."""
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, folder / "net.pt")
    return str(folder / "net.pt") + _named(arguments)


def brain_floats(folder: Path, state: State, arguments: Arguments) -> str:
    """A bare state dict in BF16."""
    save_file(_own({n: t.bfloat16() for n, t in state.items()}), folder / "net.safetensors")
    return str(folder / "net.safetensors") + _named(arguments)


def configured(folder: Path, state: State, arguments: Arguments) -> str:
    """A state dict beside the configuration of its trainer."""
    torch.save(
        {"model_state_dict": state, "config": {"model": _stated(arguments)}}, folder / "net.pth"
    )
    return str(folder / "net.pth")


def compiled(folder: Path, state: State, arguments: Arguments) -> str:
    """What torch.compile makes of names."""
    named = {f"_orig_mod.{name}": tensor for name, tensor in state.items()}
    torch.save(
        {"state_dict": named, "hyper_parameters": {"lr": 1e-3, **_stated(arguments)}},
        folder / "c.ckpt",
    )
    return str(folder / "c.ckpt")


def _own(state: State) -> State:
    return {name: tensor.clone().contiguous() for name, tensor in state.items()}


CONTAINERS: Final[dict[str, Callable[[Path, State, Arguments], str]]] = {
    function.__name__: function
    for function in (
        export, half_export, hub, in_a_folder, bag, solver, lightning, parallel, brain_floats,
        configured, compiled,
    )
}  # fmt: skip
"""Each writes a network into a folder, and returns what stands behind the ``@`` of its name."""
