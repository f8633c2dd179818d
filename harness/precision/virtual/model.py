"""Precision without conversion: an FP32 program rewritten as coremltools would convert it.

In: a model in FP32 and, for each of its operations, FP16 or FP32. Out: a model that has FP16
tensors and casts exactly where the package that is really converted so has them. So one FP32
package serves every precision recipe, and a virtual run is a run of the same executor, with any
numerics, taps and observer::

    lab = VirtualPrecision(mil.load("fp32.mlpackage"))
    lab.recipe_model(load_recipe("mixed")).predict(inputs)

Values keep the names that they have in the FP32 program, whatever their precision. What is imitated
is the pass ``add_fp16_cast`` (``converters/mil/mil/passes/defs/quantization.py`` of coremltools
9.0): an operation in FP16 gets its floating inputs rounded, constants included, and makes FP16; an
operation in FP32 reads what the others made, widened. A constant over 65504 keeps its operation in
FP32, and constants of fewer than 400 elements don't become zero: they stop at the smallest FP16.

Weights that a recipe compresses are compressed by coremltools' own functions, after they were
rounded, and stand in the program as the floats that a package expands them to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeVar

from harness.conversion.compression import channel_axis, is_compressible
from harness.conversion.precision_map import floating_outputs, has_precision, stored_weights
from harness.conversion.recipes import (
    DescribedOperation,
    Precision,
    PrecisionRecipe,
    Weights,
    check_every_pattern_matched,
    count_rules,
)
from harness.conversion.sidecar import read_sidecar
from harness.conversion.survey import base_name
from harness.errors import PackageError, RecipeError
from harness.mil import DataType, Model
from harness.mil.graph import graph_of
from harness.mil.program import Binding, Constant, Function, Location, Operation, Variable
from harness.mil.types import TensorType, ValueType
from harness.precision.virtual.constants import ConstantStore, Stored, is_fp32

Choice = Mapping[str, Precision]
"""The precision of each operation of an FP32 program that has one, by its name in recipes."""

Compression = Mapping[str, Weights]
"""How the weights of operations are stored, by their names in recipes; others store floats."""

_FLOATS: Final[Compression] = MappingProxyType({})
_Decision = TypeVar("_Decision", bound=str)

# Since iOS 17 these inputs may stay in FP32 beside an FP16 tensor, and coremltools leaves them.
_STAY_WIDE: Final = {
    **dict.fromkeys(("elu", "leaky_relu", "prelu", "thresholded_relu"), ("alpha",)),
    **dict.fromkeys(
        (
            "clamped_relu",
            "linear_activation",
            "scaled_tanh",
            "sigmoid_hard",
            "softplus_parametric",
        ),
        ("alpha", "beta"),
    ),
    **dict.fromkeys(("inverse", "log", "rsqrt"), ("epsilon",)),
}


@dataclass(frozen=True, eq=False)
class VirtualPrecision:
    """An FP32 model that can be had at any precision.

    Attributes:
        base: the model in FP32.
        operations: what a recipe sees of each operation that has a precision, in program order.
        movable: names of those that can run in FP16; the rest has a constant beyond FP16.

    Raises:
        PackageError: the model isn't all FP32, or has more than one block.
    """

    base: Model
    operations: tuple[DescribedOperation, ...] = field(init=False)
    movable: frozenset[str] = field(init=False)
    _described: dict[str, DescribedOperation] = field(init=False, default_factory=dict)
    _constants: ConstantStore = field(init=False)
    _rewrites: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        function = self.base.plan.function
        object.__setattr__(self, "_constants", ConstantStore(self.base.package.constants.array))
        sidecar = read_sidecar(self.base)
        modules = sidecar.modules if sidecar else {}
        object.__setattr__(self, "_rewrites", sidecar.recipe.rewrites if sidecar else ())
        returned = frozenset(function.block.outputs)  # which may be in FP16 of a program in FP32
        # What goes through a state is rounded to FP16 in every program (`harness.mil.functional`).
        stateful = any(name.startswith("state.") for name in returned)
        described, movable = [], []
        for node in graph_of(function).nodes:
            operation = node.operation
            if operation.blocks:
                raise PackageError(f"{operation} has blocks; virtual precision knows none")
            narrow = any(d is not DataType.FLOAT32 for d in floating_outputs(node))
            returns = operation.type == "cast" and operation.outputs[0].name in returned
            keeps = operation.type == "cast" and stateful
            if (narrow and not (returns or keeps)) or operation.type.startswith("constexpr_"):
                raise PackageError(
                    f"{self.base.package.path} is not all FP32 ({operation} is not); virtual "
                    "precision starts from a package in FP32 (parity convert --precision fp32, or "
                    "compute_precision=FLOAT32 of coremltools)"
                )
            if not has_precision(node):
                continue
            name = operation_name(operation)
            module = modules.get(operation.outputs[0].name)
            weights = stored_weights(node, self.base.package.constants.array)
            described.append(DescribedOperation(operation.type, name, module, bool(weights)))
            self._described[operation.name] = described[-1]
            if not self._overflows(operation):
                movable.append(name)
        object.__setattr__(self, "operations", tuple(described))
        object.__setattr__(self, "movable", frozenset(movable))

    def by_recipe(self, recipe: PrecisionRecipe) -> dict[str, Precision]:
        """Return the precision that ``recipe`` gives each operation.

        Raises:
            RecipeError: a rule that isn't optional matches nothing, or asks for module paths that
                the package doesn't record.
        """
        return self._decided(recipe, recipe.decide)

    def weights_by_recipe(self, recipe: PrecisionRecipe) -> dict[str, Weights]:
        """Return how ``recipe`` stores the weights of each operation that it compresses those of.

        Raises:
            RecipeError: as for `by_recipe`.
        """
        decided: dict[str, Weights] = self._decided(recipe, recipe.decide_weights)
        return {name: weights for name, weights in decided.items() if weights != "float"}

    def recipe_model(self, recipe: PrecisionRecipe) -> Model:
        """Return the model that ``recipe`` makes of the FP32 one: its precision, and its weights.

        Raises:
            RecipeError: as for `by_recipe`.
        """
        return self.model(self.by_recipe(recipe), self.weights_by_recipe(recipe))

    def _decided(
        self, recipe: PrecisionRecipe, decide: Callable[[DescribedOperation], _Decision | None]
    ) -> dict[str, _Decision]:
        if recipe.rewrites != self._rewrites:
            raise RecipeError(
                f"precision recipe {recipe.name!r} has the rewrites {list(recipe.rewrites)}, and "
                f"{self.base.package.path} was converted with {list(self._rewrites)}; convert an "
                "FP32 package with the same, or hold the recipe by parity convert and parity check"
            )
        check_every_pattern_matched(recipe, count_rules(recipe, self.operations))
        decided: dict[str, _Decision] = {}
        for operation in self.operations:
            decision = decide(operation)
            if decision is None:
                raise RecipeError(
                    f"precision recipe {recipe.name!r} has a rule by module, and "
                    f"{self.base.package.path} doesn't record the module of {operation.name!r}"
                )
            decided[operation.name] = decision
        return decided

    def fp32_for(self, names: Collection[str]) -> dict[str, Precision]:
        """Return FP32 for the operations in ``names`` and FP16 for all others."""
        return {o.name: "fp32" if o.name in names else "fp16" for o in self.operations}

    def described(self, name: str) -> DescribedOperation:
        """Return what a recipe sees of the operation that the FP32 program calls ``name``."""
        return self._described[name]

    def model(self, choice: Choice, weights: Compression = _FLOATS) -> Model:
        """Return the model with the precision of ``choice`` and the ``weights`` compressed.

        Making it costs about as much as a few operations of a run, and k-means of every palette;
        constants that it rounds or compresses are kept for the next one.

        Raises:
            RecipeError: ``choice`` leaves out an operation, or names one that doesn't exist.
            NotEvaluatedError: weights are to be compressed, and coremltools is not installed.
        """
        known = {operation.name for operation in self.operations}
        wrong = sorted(known.symmetric_difference(choice))
        if wrong:
            what = "leaves out" if wrong[0] in known else "names the unknown"
            raise RecipeError(f"a choice of precisions {what} operation {wrong[0]!r}")
        narrow = {name for name in self.movable if choice[name] == "fp16"}
        function = _Rewriter(self.base.plan.function, narrow, weights, self._constants).function()
        return Model.of(self.base.package, function)

    def _overflows(self, operation: Operation) -> bool:
        constants = self.base.plan.function.block.constants
        found = (
            binding if isinstance(binding, Constant) else constants.get(binding)
            for bindings in operation.inputs.values()
            for binding in bindings
        )
        return any(
            constant is not None and self._constants.overflows(constant) for constant in found
        )


def operation_name(operation: Operation) -> str:
    """Return the name by which recipes and choices know an operation."""
    return base_name(operation.name, [variable.name for variable in operation.outputs])


class _Rewriter:
    """Makes one function of another: retypes what runs in FP16, and puts casts at the borders."""

    def __init__(
        self,
        function: Function,
        narrow: Collection[str],
        weights: Compression,
        store: ConstantStore,
    ) -> None:
        self._function, self._narrow, self._weights = function, narrow, weights
        self._store = store
        self._constants = function.block.constants
        self._returned = frozenset(function.block.outputs)
        self._types: dict[str, ValueType] = {v.name: v.type for v in function.inputs}
        self._operations: list[Operation] = []
        self._casts: dict[tuple[str, DataType], str] = {}

    def function(self) -> Function:
        for operation in self._function.block.operations:
            if operation.type == "const":
                self._operations.append(operation)
            else:
                self._rewrite(operation)
        block = replace(self._function.block, operations=tuple(self._operations))
        return replace(self._function, block=block)

    def _rewrite(self, operation: Operation) -> None:
        narrow = operation.type != "cast" and operation_name(operation) in self._narrow
        wanted = DataType.FLOAT16 if narrow else DataType.FLOAT32
        wide = _STAY_WIDE.get(operation.type, ()) if narrow else ()
        inputs = {
            parameter: tuple(
                self._bound(operation, parameter, binding, wanted)
                if parameter not in wide
                else binding
                for binding in bindings
            )
            for parameter, bindings in operation.inputs.items()
        }
        if not narrow:
            self._add(replace(operation, inputs=inputs))
            return
        returned = [v for v in operation.outputs if v.name in self._returned]
        outputs = tuple(
            _in_fp16(v, f"{v.name}_cast_fp16" if v in returned else v.name)
            for v in operation.outputs
        )
        self._add(replace(operation, inputs=inputs, outputs=outputs))
        for variable in returned:
            source = f"{variable.name}_cast_fp16"
            self._cast(source, variable.name, operation.location, DataType.FLOAT32)

    def _bound(
        self, operation: Operation, parameter: str, binding: Binding, wanted: DataType
    ) -> Binding:
        """Return what an operation that reads ``binding`` in the type ``wanted`` is bound to."""
        if isinstance(binding, Constant) or binding in self._constants:
            constant = binding if isinstance(binding, Constant) else self._constants[binding]
            if not is_fp32(constant.type):
                return binding
            weights: Weights = "float"
            if is_compressible(constant.type):
                weights = self._weights.get(operation_name(operation), "float")
            if wanted is DataType.FLOAT32 and weights == "float":
                return binding
            key = binding if isinstance(binding, str) else f"{operation.location}.{parameter}"
            axis = channel_axis(operation) if weights == "int8" else 0
            return self._store.stored(constant, Stored(key, wanted, weights, axis))
        held = self._types[binding]
        if not isinstance(held, TensorType) or not held.dtype.is_floating or held.dtype is wanted:
            return binding
        border = (binding, wanted)
        if border not in self._casts:
            self._casts[border] = f"{binding}_to_{wanted}"
            self._cast(binding, self._casts[border], operation.location, wanted)
        return self._casts[border]

    def _cast(self, source: str, target: str, location: Location, dtype: DataType) -> None:
        held = self._types[source]
        assert isinstance(held, TensorType)
        word = Constant(TensorType(DataType.STRING, ()), str(dtype))
        variable = Variable(target, TensorType(dtype, held.shape))
        inputs: dict[str, tuple[Binding, ...]] = {"x": (source,), "dtype": (word,)}
        self._add(Operation("cast", target, inputs, (variable,), {}, location))

    def _add(self, operation: Operation) -> None:
        self._types.update((variable.name, variable.type) for variable in operation.outputs)
        self._operations.append(operation)


def _in_fp16(variable: Variable, name: str) -> Variable:
    held = variable.type
    if not isinstance(held, TensorType) or not held.dtype.is_floating:
        return variable
    return Variable(name, TensorType(DataType.FLOAT16, held.shape))
