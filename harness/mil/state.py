"""The state of a model between predictions, as Core ML's ``MLState``.

``Model.new_state()`` makes one that holds zeros. Each prediction that is given it reads it and,
once it has succeeded, leaves in it what the program wrote; a prediction that fails changes nothing.
So one model can follow several sequences side by side, a state for each.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from harness.errors import ContractError, UnknownNameError
from harness.mil.features import Feature
from harness.mil.numerics import Numerics, get_numerics
from harness.mil.values import StateCell, allocating


class State:
    """Named tensors that live between predictions.

    Attributes:
        features: name, shape and element type of each.
    """

    def __init__(self, features: tuple[Feature, ...]) -> None:
        self.features = features
        self._numerics = get_numerics("storage")
        self._tensors: dict[str, torch.Tensor] = {}
        for feature in features:
            carrier = self._numerics.format(feature.dtype).carrier
            with allocating(f"the state {feature}"):
                zeros = torch.zeros(_shape(feature), dtype=carrier)
            self._tensors[feature.name] = zeros

    def read(self, name: str) -> np.ndarray:
        """Return a copy of what the state ``name`` holds, in its declared type.

        Raises:
            UnknownNameError: there is none of this name.
        """
        feature = self._feature(name)
        return self._numerics.to_numpy(self._tensors[name].clone(), feature.dtype)

    def write(self, name: str, array: np.ndarray) -> None:
        """Let the state ``name`` hold a copy of ``array``, of its shape and declared type.

        Raises:
            UnknownNameError: there is none of this name.
            ContractError: ``array`` has another shape or type.
        """
        feature = self._feature(name)
        checked = feature.check_array(array, self._numerics, "the state").copy()
        self._tensors[name] = self._numerics.from_numpy(checked, feature.dtype)

    def cells(self, numerics: Numerics, device: torch.device) -> dict[str, StateCell]:
        """Return cells for one run, in the carrier types of ``numerics``."""
        cells = {}
        for feature in self.features:
            tensor = self._tensors[feature.name].to(device)
            if numerics is not self._numerics:
                tensor = numerics.store(tensor, feature.dtype, writable=False)
            cells[feature.name] = StateCell(tensor)
        return cells

    def take(self, cells: Mapping[str, StateCell], numerics: Numerics) -> None:
        """Hold from now on what the cells of a finished run hold; gradients end here."""
        self._tensors = {name: cell.value.detach() for name, cell in cells.items()}
        self._numerics = numerics

    def _feature(self, name: str) -> Feature:
        for feature in self.features:
            if feature.name == name:
                return feature
        raise UnknownNameError("state", name, [feature.name for feature in self.features])


def cells_of(
    state: State | None,
    features: tuple[Feature, ...],
    numerics: Numerics,
    device: torch.device,
    owner: object,
) -> dict[str, StateCell]:
    """Return cells for one run of ``owner``, whose states are ``features``.

    Raises:
        ContractError: a state is missing, or is of another model.
    """
    takes = ", ".join(map(str, features))
    if state is None:
        if features:
            raise ContractError(f"{owner} has states ({takes}): pass state=model.new_state()")
        return {}
    if state.features != features:
        raise ContractError(
            f"the state given to {owner} is of another model: it has "
            f"{', '.join(map(str, state.features))}, but the package takes {takes or 'none'}"
        )
    return state.cells(numerics, device)


def _shape(feature: Feature) -> list[int]:
    if feature.shape is None or None in feature.shape:
        raise ContractError(f"the state {feature} has no fixed shape")
    return [size for size in feature.shape if size is not None]
