"""A network that a file declares, as the other rooms know networks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.audio.contract import Geometry
from harness.errors import DeclarationError, require_known
from harness.subjects.calls import of_call
from harness.subjects.declared.declaration import Audio, Declaration
from harness.subjects.declared.factory import (
    automatic_taps,
    build_model,
    called,
    check_taps,
    run_once,
)
from harness.subjects.declared.inputs import Shape, files_of
from harness.subjects.protocol import (
    Interface,
    Network,
    sound_of,
    state_output,
)

_N_FFT = 4096  # of figures; nothing of a declared network goes through it


class DeclaredNetwork(Network):
    """The network of a declaration.

    Its shapes are known once its model ran: `interface` makes it, and keeps what it found.
    """

    trained = False
    """Nobody says whether its stems are good, so there is no quality to be kept."""
    knows_constants = False
    """Conversion folds norms and gates into other constants, and which of them is not known."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self.name = declaration.name
        self.home = declaration.path
        self.bounds = declaration.gates
        self.passes_over_taps = declaration.taps is None
        if declaration.audio is not None:
            self._be_audio(declaration.audio)

    def _be_audio(self, audio: Audio) -> None:
        """Take what is said of sound: the only input [1, C, n] is a signal."""
        path, inputs = self.declaration.path, self.declaration.inputs
        shape = next(iter(inputs.values())).shape or ()
        if len(inputs) != 1 or len(shape) != 3 or shape[0] != 1:
            raise DeclarationError(
                f"{path}: a network that separates audio takes one input [1, channels, samples], "
                f"got {', '.join(inputs)} with shape {list(shape)}; leave 'audio' out otherwise"
            )
        self.sources, self.signal_shape = audio.sources, shape
        self.bag_weights = (tuple(1.0 for _ in audio.sources),)
        self.geometry = Geometry(audio.sample_rate, shape[1], _N_FFT, shape[2])

    @property
    def identity(self) -> str:
        """What decides what a golden holds, beside weights and cases, as text."""
        found = self.interface
        shown = {"outputs": dict(found.outputs), "taps": dict(found.taps)}
        return json.dumps([self.declaration.identity, shown])

    def build(self) -> nn.Module:
        """Return what the factory makes, in eval mode."""
        return build_model(self.declaration.path, self.declaration.factory)

    @cached_property
    def interface(self) -> Interface:
        """What the model takes and returns, by running it once.

        Raises:
            DeclarationError: the model can't be made, or is not as declared.
        """
        declared, model = self.declaration, self.build()
        states = self._states(model)
        shapes = {n: tuple(model.get_buffer(p).shape) for n, p in states.items()}
        arguments = {n: example.draw(n, 0, 1.0) for n, example in declared.inputs.items()}
        outputs, seen = run_once(declared.path, model, arguments)
        names = self._output_names(outputs)
        returned = {n: tuple(t.shape) for n, t in zip(names, outputs, strict=True)}
        if declared.taps is None:
            taps = automatic_taps(model, seen, outputs)
        else:
            taps = dict(declared.taps)
            check_taps(declared.path, model, taps, seen)
        found = Interface(
            inputs={n: tuple(tensor.shape) for n, tensor in arguments.items()} | shapes,
            outputs=returned | {state_output(n): shape for n, shape in shapes.items()},
            taps=taps,
            sources=self.sources,
            integers=frozenset(n for n, t in arguments.items() if t.dtype == torch.int32),
            states=states,
        )
        self._check_stems(found)
        return found

    def _states(self, model: nn.Module) -> dict[str, str]:
        """Return the names of the states, which Core ML spells without dots, and their buffers."""
        known = dict(model.named_buffers())
        for path, example in self.declaration.states.items():
            require_known(f"state in {self.declaration.path}, the path of a buffer", known, path)
            if not known[path].dtype.is_floating_point:
                raise DeclarationError(
                    f"{self.declaration.path}: state {path!r} is a buffer of {known[path].dtype}, "
                    "and Core ML keeps floating-point states alone; register it as float32"
                )
            example.shaped(tuple(known[path].shape))
        return {path.replace(".", "_"): path for path in self.declaration.states}

    def _output_names(self, outputs: Sequence[Tensor]) -> tuple[str, ...]:
        declared = self.declaration
        if declared.outputs and len(declared.outputs) != len(outputs):
            raise DeclarationError(
                f"{declared.path} names {len(declared.outputs)} outputs "
                f"({', '.join(declared.outputs)}), but the network returns {len(outputs)}"
            )
        several = tuple(f"output_{index}" for index in range(len(outputs)))
        return declared.outputs or (("output",) if len(outputs) == 1 else several)

    def _check_stems(self, found: Interface) -> None:
        if self.geometry is None:
            return
        _, channels, length = self.signal_shape
        expected: list[Shape] = [(1, len(self.sources), channels, length)]
        if channels == 1:
            expected.append((1, len(self.sources), length))
        name = self._stem_output(found)
        if found.outputs[name] not in expected:
            raise DeclarationError(
                f"{self.declaration.path}: output {name!r} has shape {list(found.outputs[name])}, "
                f"but {len(self.sources)} stems of its input are {list(expected[0])}"
            )

    def _stem_output(self, found: Interface) -> str:
        audio = self.declaration.audio
        name = audio.output if audio and audio.output else next(iter(found.outputs))
        require_known(f"audio.output in {self.declaration.path}", found.outputs, name)
        return name

    def inputs_of(self, signal: Tensor) -> dict[str, Tensor]:
        """Return the signal as the only input of a network that takes audio."""
        sound_of(self)
        return {next(iter(self.declaration.inputs)): signal}

    def example(
        self, seed: int, *, gain_db: float = 0.0, file: Path | None = None, calls: int = 1
    ) -> dict[str, Tensor]:
        """Return the inputs of a case, states rounded to the FP16 that Core ML keeps them in.

        Those of several calls are called as `harness.subjects.calls` has it.

        Args:
            seed: of what is drawn.
            gain_db: of arguments that are drawn from a normal or uniform distribution.
            file: with inputs that are not drawn; arguments have an axis of calls in front, if there
                are several.
            calls: how many.
        """
        interface, declared = self.interface, self.declaration
        gain = 10 ** (gain_db / 20)
        made = {
            of_call(name, call): example.draw(name, seed, gain, call=call)
            for call in range(1, calls + 1)
            for name, example in declared.inputs.items()
        }
        for name, path in interface.states.items():
            made[name] = declared.states[path].draw(name, seed, 1.0, interface.inputs[name])
        if file is not None:
            made |= files_of(
                file, interface.inputs, () if calls == 1 else interface.arguments, calls
            )
        for name in interface.states:
            made[name] = made[name].half().float()
        return made

    def observe(
        self, models: Sequence[nn.Module], inputs: Mapping[str, Tensor], *, taps: bool
    ) -> dict[str, Tensor]:
        """Run the model and return its outputs, its taps and, if it separates, its stems.

        Raises:
            DeclarationError: it doesn't take them.
        """
        made = called(
            self.declaration.path, inputs, partial(super().observe, models, inputs, taps=taps)
        )
        if self.sources:
            outputs = {name: made[name].numpy() for name in self.interface.outputs}
            made["stems"] = torch.from_numpy(self.stems_of(outputs))
        return made

    def separate(self, models: Sequence[nn.Module], signal: Tensor) -> Tensor:
        """Return the stems [S, C, n] that the model makes of one segment."""
        return self.observe(models, self.inputs_of(signal), taps=False)["stems"]

    def stems_of(self, outputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Return the stems [S, C, n]: an output without its batch."""
        stems = outputs[self._stem_output(self.interface)]
        return np.ascontiguousarray(stems.reshape(len(self.sources), *self.signal_shape[1:]))

    def stem_of(self, outputs: Mapping[str, Tensor], index: int) -> Tensor:
        """Return one stem [C, n] in float64."""
        stems = outputs[self._stem_output(self.interface)]
        return stems.reshape(len(self.sources), *self.signal_shape[1:])[index].double()
