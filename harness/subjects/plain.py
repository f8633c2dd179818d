"""The base of networks that are converted as they are: no surgery, no stems.

A network of one's own is one class in a plugin (`harness.plugins`)::

    @network
    class Denoiser(PlainNetwork):
        name = "denoiser"
        signal_shape = (1, 2, 4096)
        inputs = {"x": (1, 2, 4096)}
        outputs = {"y": (1, 2, 4096)}
        taps = {"encoder": "encoder.0"}    # name -> path of a module

        def build(self) -> nn.Module: ...

`build` must make the same weights whenever it is called. A subject of this name is then converted,
executed and judged on the golden cases, as any other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn, cast

import numpy.typing as npt
from torch import Tensor, nn

from harness.errors import ParityError
from harness.subjects.protocol import (
    Constants,
    Extracted,
    Interface,
    Shape,
    run_extracted,
    state_constants,
)


class PlainNetwork(ABC):
    """A network whose whole original is converted; see `harness.subjects.protocol.Network`.

    Attributes:
        inputs, outputs: shape of each, in order.
        taps: inner values: the path of the module whose (first) output each is.
    """

    name: ClassVar[str]
    signal_shape: ClassVar[Shape]
    inputs: ClassVar[Mapping[str, Shape]]
    outputs: ClassVar[Mapping[str, Shape]]
    taps: ClassVar[Mapping[str, str]] = {}
    cases: ClassVar[tuple[str, ...]] = ()
    trained: ClassVar[bool] = True
    small: ClassVar[bool] = True
    sources: ClassVar[tuple[str, ...]] = ()
    bag_weights: ClassVar[tuple[tuple[float, ...], ...]] = ((),)
    geometry: ClassVar[None] = None
    has_surgery: ClassVar[bool] = False

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the model with its weights: takes the inputs in order, returns the outputs."""

    @property
    def interface(self) -> Interface:
        """What the model takes and returns."""
        return Interface(dict(self.inputs), dict(self.outputs), dict(self.taps))

    def inputs_of(self, signal: Tensor) -> dict[str, Tensor]:
        """Return the inputs made of a signal [1, C, n]; the signal itself if there is one input.

        Raises:
            ParityError: there are several, and the class doesn't say how they are made.
        """
        if len(self.inputs) != 1:
            raise ParityError(f"network {self.name!r} has several inputs: define its 'inputs_of'")
        (name,) = self.inputs
        return {name: signal}

    def observe(
        self, models: Sequence[nn.Module], inputs: Mapping[str, Tensor], *, taps: bool
    ) -> dict[str, Tensor]:
        """Run the model; returns outputs and taps."""
        made = run_extracted(self.extract(models[0]), inputs, None if taps else ())
        return {name if name in self.outputs else f"tap.{name}": v for name, v in made.items()}

    def separate(self, models: Sequence[nn.Module], signal: Tensor) -> NoReturn:
        """There are no stems.

        Raises:
            ParityError: always.
        """
        raise ParityError(f"network {self.name!r} separates nothing: its outputs are no audio")

    separate_file = separate

    def extract(self, model: nn.Module) -> Extracted:
        """Return the model itself, which says now what it takes and returns."""
        model.interface = self.interface  # type: ignore[assignment]
        return cast(Extracted, model)

    def constants(self, model: nn.Module) -> Constants:
        """Return the tensors of the state dict."""
        return state_constants(model)

    def stems_of(self, outputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """There are no stems."""
        return
