"""What the other rooms need to know of a model: the protocol `Network`.

A network is described without its weights: what it takes and returns, what shows inside, and what
is done around it. Its models come as `torch.nn.Module` where something is computed. HTDemucs is one
implementation (`harness.subjects.htdemucs`); `harness.subjects.network` makes others known.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.audio.contract import Geometry
from harness.errors import ParityError, require_known

Shape: TypeAlias = tuple[int, ...]
Role: TypeAlias = Literal["weight", "bias"]
Place: TypeAlias = tuple[str, Role]
"""Module path, and what its operations do with the numbers: multiply by them, or add them."""
Constants: TypeAlias = Mapping[Place, Sequence[tuple[str, npt.NDArray[np.floating]]]]
"""The tensors that belong to each place, with their names, in program order; float32."""


def state_output(name: str) -> str:
    """Return the name of what a call leaves in a state: an output beside those of ``forward``."""
    return f"state.{name}"


@dataclass(frozen=True)
class Interface:
    """What a network takes and returns, all of it float32 but for integer inputs.

    A state is an input, what it holds before a call, and an output, what it holds after it: so one
    call says everything, and calls don't depend on those before.

    Attributes:
        inputs: shape of each: the arguments of ``forward`` in their order, then the states.
        outputs: shape of each: what ``forward`` returns, in its order, then the states' outputs.
        taps: inner values in the order of computation: for each the path of the module whose
            (first) output it is. An output may be among them, by its own name.
        sources: names of the stems that the outputs stand for; none if they stand for none.
        integers: those of the inputs that are int32.
        states: for each state the path of the buffer, float16, that the model keeps it in.
    """

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    taps: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    integers: frozenset[str] = frozenset()
    states: Mapping[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Shape]:
        """Shapes of the arguments of ``forward``: the inputs that are no states."""
        return {name: shape for name, shape in self.inputs.items() if name not in self.states}

    @property
    def returned(self) -> dict[str, Shape]:
        """Shapes of what ``forward`` returns: the outputs that are no states'."""
        left = {state_output(name) for name in self.states}
        return {name: shape for name, shape in self.outputs.items() if name not in left}

    @property
    def inner_taps(self) -> tuple[str, ...]:
        """Names of the taps but the outputs."""
        return tuple(name for name in self.taps if name not in self.outputs)


class Network(ABC):
    """A model, in so far as the other rooms know it; all tensors are float32.

    What is defined here holds for a network that is converted as it is and whose outputs are no
    audio. A network of one's own is one decorated class of that kind::

        @network
        class Denoiser(Network):
            name = "denoiser"
            signal_shape = (1, 2, 4096)
            inputs = {"x": (1, 2, 4096)}
            outputs = {"y": (1, 2, 4096)}
            taps = {"encoder": "encoder.0"}

            def build(self) -> nn.Module: ...

    Attributes:
        name: of the subject that it is the network of.
        signal_shape: [1, C, n] of the signal of a case of one segment; empty if it takes none.
        inputs, outputs, taps: of its `interface`.
        sources: names of the stems that its outputs stand for, in order; none if they are no audio.
        bag_weights: for each model, the weight of each of its stems in the result.
        geometry: the sound that its signal stands for; None where the outputs become no audio.
        cases: the golden cases that it is judged on; empty for all of one segment, and where it has
            stems for those of files, too.
        derived: the inputs that the original makes itself of another one.
        trained: whether its weights are, so that what it does has a quality to be kept.
        small: whether one run takes half a second at most, so that many can be afforded.
        knows_constants: whether `constants` can say what they are; else outputs, taps and the
            comparison with a fresh conversion have to see it.
        passes_over_taps: whether a tap is left out that conversion left no value of: nobody named
            it, it was only found in the model.
        bounds: by the name of a gate what its outputs are held to instead of it, by field.
        home: the file that declares it, beside which its goldens are; None for a Python class.
        has_surgery: whether what is converted is another module than the original.
        stages: for figures, in order: module path, the stage that what is under it belongs to, and
            the output at the end of its branch.
    """

    name: str
    signal_shape: Shape = ()
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    taps: Mapping[str, str] = MappingProxyType({})
    sources: tuple[str, ...] = ()
    bag_weights: Sequence[Sequence[float]] = ((),)
    geometry: Geometry | None = None
    cases: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    trained: bool = True
    small: bool = True
    knows_constants: bool = True
    passes_over_taps: bool = False
    bounds: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    home: Path | None = None
    has_surgery: bool = False
    stages: Sequence[tuple[str, str, str]] = ()

    def build(self) -> nn.Module:
        """Return the model with its weights, the same ones whenever it is called.

        Raises:
            ParityError: its subjects are loaded in another way.
        """
        raise ParityError(f"network {self.name!r} doesn't say how its model is built")

    @property
    def interface(self) -> Interface:
        """What is converted takes and returns this."""
        return Interface(dict(self.inputs), dict(self.outputs), dict(self.taps), self.sources)

    def inputs_of(self, signal: Tensor) -> dict[str, Tensor]:
        """Return the inputs made of a signal [1, C, n]; the signal itself where one is enough.

        Raises:
            ParityError: there are several, and the network doesn't say how they are made.
        """
        if len(self.inputs) != 1:
            raise ParityError(f"network {self.name!r} has several inputs: define its 'inputs_of'")
        return dict.fromkeys(self.inputs, signal)

    def example(
        self, seed: int, *, gain_db: float = 0.0, file: Path | None = None, calls: int = 1
    ) -> dict[str, Tensor]:
        """Return inputs of a case that is no signal: standard normal numbers, amplified.

        Raises:
            ParityError: they are to be read of a file, or to be of several calls.
        """
        if file is not None:
            raise ParityError(f"network {self.name!r} reads no inputs of {file}")
        if calls > 1:
            raise ParityError(f"network {self.name!r} knows no cases of several calls")
        generator = torch.Generator().manual_seed(seed)
        gain = 10 ** (gain_db / 20)
        shapes = self.interface.inputs
        return {n: gain * torch.randn(s, generator=generator) for n, s in shapes.items()}

    def observe(
        self, models: Sequence[nn.Module], inputs: Mapping[str, Tensor], *, taps: bool
    ) -> dict[str, Tensor]:
        """Run the original and return what a golden keeps of it.

        That is: `derived` inputs, outputs, ``tap.NAME`` of each inner tap if ``taps``, and
        ``stems`` [S, C, n] if it has stems.
        """
        original = Network.extract(self, models[0])  # as it is, whatever surgery makes of it
        made = run_extracted(original, inputs, None if taps else ())
        outputs = self.interface.outputs
        return {name if name in outputs else f"tap.{name}": v for name, v in made.items()}

    def separate(self, models: Sequence[nn.Module], signal: Tensor) -> Tensor:
        """Return the stems [S, C, n] that the original makes of one segment, by its own forward."""
        raise ParityError(f"network {self.name!r} separates nothing: its outputs are no audio")

    def separate_file(self, models: Sequence[nn.Module], mixture: Tensor) -> Tensor:
        """Return the stems [S, C, n] of a whole file [C, n] as the originals' own library does."""
        raise ParityError(f"network {self.name!r} separates nothing: its outputs are no audio")

    def stems_of(self, outputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Return the stems [S, C, n] that outputs stand for."""
        raise ParityError(f"the outputs of network {self.name!r} stand for no stems")

    def stem_of(self, outputs: Mapping[str, Tensor], index: int) -> Tensor:
        """Return one stem [C, n] in float64 of outputs, in which it is linear and differentiable.

        Of an error of the outputs it is the error of the stem.
        """
        raise ParityError(f"the outputs of network {self.name!r} stand for no stems")

    def extract(self, model: nn.Module) -> Extracted:
        """Return what is converted: ``model`` after surgery, or as it is."""
        model.interface = self.interface  # type: ignore[assignment]
        return cast(Extracted, model)

    def constants(self, model: nn.Module) -> Constants:
        """Return what the constants of a converted ``model`` must be: those of its state dict."""
        return state_constants(model)

    def factors(self, model: nn.Module) -> Mapping[str, Sequence[float]]:
        """Return what a program holds certain tensors multiplied by, with their axes reversed.

        By the tensors' names, one factor after the other, as they are multiplied in FP32.
        """
        return {}


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, or a bag of models, with weights.

    Attributes:
        name: ``NAME[@WEIGHTS][?OPTIONS]``.
        network: what it is.
        models: the original, or the members of the bag.
        fingerprint: SHA-256 over names, shapes and bytes of all weights, and over what else makes
            the network another than its name says.
        warnings: what is odd about the weights or was assumed, one sentence each.
        notes: what was done to them, one sentence each.
    """

    name: str
    network: Network
    models: tuple[nn.Module, ...]
    fingerprint: str
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the stems, in the order of the outputs."""
        return self.network.sources

    @property
    def geometry(self) -> Geometry:
        """The sound that its signals stand for.

        Raises:
            ParityError: they stand for none.
        """
        return sound_of(self.network)

    @property
    def segment_length(self) -> int:
        """Samples of one segment of its sound."""
        return self.geometry.segment_length

    @property
    def model(self) -> nn.Module:
        """The only model.

        Raises:
            ParityError: this is a bag of several.
        """
        if len(self.models) > 1:
            raise ParityError(
                f"{self.name} is a bag of {len(self.models)} models, and one is needed here; "
                "take each of Subject.models"
            )
        return self.models[0]

    @property
    def members(self) -> tuple[Subject, ...]:
        """Each model as a subject of its own."""
        return tuple(replace(self, models=(model,)) for model in self.models)

    def extract(self) -> Extracted:
        """Return what of the only model is converted."""
        return self.network.extract(self.model)


def sound_of(network: Network) -> Geometry:
    """Return the sound that a network's signals stand for.

    Raises:
        ParityError: they stand for none.
    """
    if network.geometry is None:
        raise ParityError(f"{network.name} takes and returns no audio, so it separates nothing")
    return network.geometry


class Extracted(Protocol):
    """A `torch.nn.Module` that is converted, and its interface."""

    @property
    def interface(self) -> Interface:
        """What it takes and returns."""
        ...

    def __call__(self, *inputs: Tensor) -> Any:
        """Return the outputs: a tuple of tensors, or the only one."""
        ...

    def get_submodule(self, target: str) -> nn.Module:
        """Return the module at a path."""
        ...


def run_extracted(
    inner: Extracted, inputs: Mapping[str, Tensor], taps: Iterable[str] | None = ()
) -> dict[str, Tensor]:
    """Run what is converted once, without gradients; returns the taps, then the outputs, by name.

    Args:
        inner: the module.
        inputs: by name.
        taps: names of taps; None for all.

    Raises:
        UnknownNameError: there is no such tap.
        ParityError: other inputs than the network takes.
    """
    interface = inner.interface
    if inputs.keys() != interface.inputs.keys():
        takes, got = (", ".join(names) or "none" for names in (interface.inputs, inputs))
        raise ParityError(f"the network takes the inputs {takes}, got {got}")
    wanted = tuple(interface.taps if taps is None else taps)
    require_known("tap", interface.taps, *wanted)
    module = cast(nn.Module, inner)
    kept = {name: module.get_buffer(path) for name, path in interface.states.items()}
    with recorded_outputs(inner, {n: interface.taps[n] for n in wanted}) as seen, torch.no_grad():
        for name, buffer in kept.items():
            buffer.copy_(inputs[name])
        returned = inner(*(inputs[name] for name in interface.arguments))
    outputs = (returned,) if isinstance(returned, Tensor) else tuple(returned)
    made = {name: detached(value) for name, value in zip(interface.returned, outputs, strict=True)}
    # A copy: the next call writes over the buffer.
    made |= {state_output(n): b.detach().to(torch.float32, copy=True) for n, b in kept.items()}
    return {name: seen[name] for name in wanted} | made


@contextmanager
def recorded_outputs(model: Any, paths: Mapping[str, str]) -> Iterator[dict[str, Tensor]]:
    """Record the (first) output of the module at each path, by hooks that are gone at the end.

    Of a module that is called several times the last output is kept.
    """
    seen: dict[str, Tensor] = {}

    def hook(name: str) -> Any:
        def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            value = output[0] if isinstance(output, tuple) else output
            seen[name] = detached(value).clone()  # the next module may write over it

        return keep

    with ExitStack() as stack:
        for name, path in paths.items():
            handle = model.get_submodule(path).register_forward_hook(hook(name))
            stack.callback(handle.remove)
        yield seen


@contextmanager
def plain_attention() -> Iterator[None]:
    """Have nn.MultiheadAttention do without its fused kernel, which no converter knows."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def state_constants(model: nn.Module) -> dict[Place, list[tuple[str, npt.NDArray[np.floating]]]]:
    """Return the tensors of a model's state dict, each where its module's operations read it."""
    expected: dict[Place, list[tuple[str, npt.NDArray[np.floating]]]] = {}
    for name, tensor in model.state_dict().items():
        module, _, attribute = name.rpartition(".")
        role: Role = "bias" if attribute.endswith("bias") else "weight"
        # An attention calls no module for its last projection, but reads the module's tensors.
        place = (module.removesuffix(".out_proj"), role)
        expected.setdefault(place, []).append((name, tensor.numpy()))
    return expected


def detached(tensor: Tensor) -> Tensor:
    """Return a tensor without its gradient, contiguous."""
    return tensor.detach().contiguous()
