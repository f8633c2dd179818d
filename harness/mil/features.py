"""Inputs, outputs and states of a model: what they are, and whether a value fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from harness.errors import ContractError
from harness.mil.description import Described, ShapeRule
from harness.mil.numerics import Numerics
from harness.mil.types import DataType, StateType, TensorType, ValueType, element_type
from harness.mil.values import allocating

_NO_RULE = ShapeRule()
_CONVERTIBLE = tuple(map(np.dtype, (np.int8, np.int32, np.float16, np.float32, np.float64)))


@dataclass(frozen=True)
class Feature:
    """An input, an output or a state.

    Attributes:
        name: as in the program.
        type: as the program declares it; of a state, the tensor that it holds.
        rule: which shapes a flexible input takes.
        default: what fills an input that is left out; ``None`` where it may not be.
    """

    name: str
    type: ValueType
    rule: ShapeRule = _NO_RULE
    default: float | None = None

    @classmethod
    def of(cls, name: str, type: ValueType, described: Described | None) -> Feature:
        """Join what the program declares and what the model's description adds."""
        held = type.wrapped if isinstance(type, StateType) else type
        feature = cls(name, held)
        if described is None:
            return feature
        if isinstance(held, TensorType) and not held.is_static:
            feature = replace(feature, rule=described.rule)
        return replace(feature, default=described.default if described.optional else None)

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """Declared shape, ``None`` for a flexible dimension; ``None`` if there is none."""
        return self.type.shape if isinstance(self.type, TensorType) else None

    @property
    def dtype(self) -> DataType:
        """Declared element type.

        Raises:
            ContractError: it is a dictionary.
        """
        dtype = element_type(self.type)
        if dtype is None:
            raise ContractError(f"{self} has no element type")
        return dtype

    @property
    def optional(self) -> bool:
        """Whether a caller may leave it out."""
        return self.default is not None

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"

    def check_array(self, array: object, numerics: Numerics, owner: object) -> np.ndarray:
        """Return ``array`` if it is one of exactly this feature's shape and type.

        Raises:
            ContractError: it is not; says what was found and what ``owner`` takes.
        """
        if isinstance(array, np.generic):
            array = np.asarray(array)
        if not isinstance(array, np.ndarray):
            raise ContractError(
                f"input {self.name!r} is a {type(array).__name__}; expected a NumPy array"
            )
        wide = numerics.format(self.dtype).carrier is torch.float64
        fits = array.dtype == self.dtype.numpy or (wide and array.dtype == np.float64)
        self._check(array.shape, str(array.dtype), str(self.dtype.numpy), fits, owner)
        return array

    def check_tensor(self, tensor: torch.Tensor, numerics: Numerics, owner: object) -> torch.Tensor:
        """Return ``tensor`` if it has this feature's shape and is in its carrier type.

        Raises:
            ContractError: it is not; says what was found and what ``owner`` takes.
        """
        carrier = numerics.format(self.dtype).carrier
        shape, fits = tuple(tensor.shape), tensor.dtype is carrier
        self._check(shape, str(tensor.dtype), str(carrier), fits, owner)
        return tensor

    def _check(
        self, shape: tuple[int, ...], found: str, expected: str, fits: bool, owner: object
    ) -> None:
        declared = TensorType(self.dtype, self.shape)
        if not declared.accepts(shape) or not fits:
            raise ContractError(
                f"input {self.name!r} of {owner} is {found} {list(shape)}, "
                f"but the package takes {expected} {str(declared).removeprefix(str(self.dtype))}"
            )
        if not self.rule.accepts(shape):
            raise ContractError(
                f"input {self.name!r} of {owner} has the shape {list(shape)}, "
                f"but the package takes {self.rule}"
            )

    def filled(self, numerics: Numerics, device: torch.device, owner: object) -> torch.Tensor:
        """Return the tensor that stands for this input where the caller leaves it out.

        Raises:
            ContractError: the package does not say which shape it has.
        """
        shape = self.rule.default if None in (self.shape or (None,)) else self.shape
        if shape is None or self.default is None:
            raise ContractError(f"optional input {self.name!r} of {owner} has no default shape")
        sizes = [size for size in shape if size is not None]
        with allocating(f"the default of input {self}"):
            tensor = torch.full(sizes, self.default, dtype=torch.float64, device=device)
            return numerics.store(tensor, self.dtype, writable=True)


def all_features(
    types: Mapping[str, ValueType], described: Sequence[Described]
) -> tuple[Feature, ...]:
    """Return the features with these names and declared types.

    The description gives the order, unless it tells of something else.
    """
    known = {entry.name: entry for entry in described}
    ordered = list(known) if sorted(known) == sorted(types) else list(types)
    return tuple(Feature.of(name, types[name], known.get(name)) for name in ordered)


def check_names(given: Mapping[str, object], features: Sequence[Feature], owner: object) -> None:
    """Check that every required input is given, and nothing else but optional ones.

    Raises:
        ContractError: lists what was given and what ``owner`` takes.
    """
    required = {feature.name for feature in features if not feature.optional}
    known = {feature.name for feature in features}
    if not (required <= set(given) <= known):
        takes = listed(f.name for f in features if not f.optional)
        optional = listed(f.name for f in features if f.optional)
        rest = f" (optional: {optional})" if known != required else ""
        raise ContractError(
            f"{owner} was given the inputs {listed(given)}, but takes {takes}{rest}"
        )


def converted(
    given: Mapping[str, np.ndarray], features: Sequence[Feature], numerics: Numerics
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return arrays in the element types that ``features`` declare, and what that changed.

    Core ML converts what it is given: between floating-point types by rounding, to integers by
    truncation. What it doesn't take (64-bit integers, booleans) stays as it is, to be refused.

    Args:
        given: arrays by name; names that are no feature's stay as they are.
        features: inputs of a model.
        numerics: one that carries float64 takes float64 as it is.

    Returns:
        The arrays, and a sentence for each of which a value changed.

    Source: ``coremlpython/CoreMLPythonUtils.mm`` of coremltools.
    """
    arrays, notes = dict(given), []
    for feature in features:
        array = given.get(feature.name)
        dtype = element_type(feature.type)
        if array is None or dtype is None or array.dtype not in _CONVERTIBLE:
            continue
        wide = numerics.format(dtype).carrier is torch.float64 and array.dtype == np.float64
        if array.dtype == dtype.numpy or wide or dtype is DataType.BOOL:
            continue
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            made = arrays[feature.name] = array.astype(dtype.numpy)
        held = made.astype(np.float64)
        changed = (held != array) & ~(np.isnan(held) & np.isnan(array))
        if changed.any():
            infinite = int(np.isinf(made).sum() - np.isinf(array).sum())
            overflow = f", {infinite} of them became infinite" if infinite else ""
            notes.append(
                f"input {feature.name!r} was converted from {array.dtype} to the {made.dtype} that "
                f"the package takes, as Core ML does: {np.count_nonzero(changed)} of {array.size} "
                f"values changed{overflow}"
            )
    return arrays, tuple(notes)


def complete_inputs(
    features: Sequence[Feature],
    given: Mapping[str, torch.Tensor],
    numerics: Numerics,
    device: torch.device,
    owner: object,
) -> dict[str, torch.Tensor]:
    """Return a tensor for each feature: what was given, checked, or what stands for it.

    Raises:
        ContractError: the given tensors are not what ``owner`` takes.
    """
    check_names(given, features, owner)
    tensors = {
        feature.name: feature.check_tensor(given[feature.name], numerics, owner)
        if feature.name in given
        else feature.filled(numerics, device, owner)
        for feature in features
    }
    _check_combination(features, given, owner)
    return tensors


def _check_combination(
    features: Sequence[Feature], given: Mapping[str, torch.Tensor], owner: object
) -> None:
    """Check that inputs which list their shapes have those of one place in their lists.

    Core ML takes no other combination: https://github.com/apple/coremltools/issues/2271.

    Raises:
        ContractError: the given shapes are at different places.
    """
    places: set[int] | None = None
    chosen: dict[str, list[int]] = {}
    for feature in features:
        if len(set(feature.rule.enumerated)) > 1 and feature.name in given:
            shape = tuple(given[feature.name].shape)
            chosen[feature.name] = list(shape)
            at = {n for n, listed in enumerate(feature.rule.enumerated) if listed == shape}
            places = at if places is None else places & at
    if places is not None and not places:
        shapes = ", ".join(f"{name} {shape}" for name, shape in chosen.items())
        raise ContractError(
            f"{owner} lists the shapes of several inputs, and Core ML takes together only those at "
            f"one place in the lists; {shapes} are at different ones"
        )


def listed(names: Iterable[str]) -> str:
    """Return ``names`` for a message."""
    return ", ".join(map(repr, sorted(names))) or "none"
