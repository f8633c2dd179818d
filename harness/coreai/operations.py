"""Single operations of a network, each computed by Core AI's runtime on the values of PyTorch.

The network is executed once by PyTorch, operation by operation, as it was exported for Core AI. Of
each distinct operation (same target, shapes and constants) the first call is kept: what it got goes
to the runtime, as inputs of a program that consists of such operations, none reading another's
result. So an error is the operation's own. Both results are held against the same operation in
float64, which says whose error a difference is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from harness.coreai.asset import SUFFIX, Asset
from harness.coreai.convert import decomposed, export, lower, save
from harness.metrics import snr_db
from harness.subjects.protocol import Extracted

_BATCH_BYTES: Final = 512 << 20
"""Of values that wait to go to the runtime together; starting it takes a second."""

# fmt: off
_MOVES: Final = frozenset((
    "view", "permute", "slice", "unsqueeze", "clone", "select", "squeeze", "split_with_sizes",
    "expand", "alias", "copy", "constant_pad_nd", "cat", "getitem", "detach", "_to_copy",
    "_assert_tensor_metadata",
))
# fmt: on
"""Operations that compute nothing."""


@dataclass(frozen=True)
class OperationError:
    """What one operation of a network loses in Core AI's runtime.

    Attributes:
        operation: of ATen.
        module: path of the module that it belongs to; of the first, where several are alike.
        shape: of its first operand.
        calls: how many of the network's operations are alike.
        runtime_db, torch_db: SNR of the runtime's and of PyTorch's float32 result against float64.
    """

    operation: str
    module: str
    shape: tuple[int, ...]
    calls: int
    runtime_db: float
    torch_db: float


def compare_operations(
    inner: Extracted,
    inputs: Mapping[str, Tensor],
    *,
    as_is: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> list[OperationError]:
    """Return what each distinct operation loses, the worst first.

    Args:
        inner: what is converted of a subject.
        inputs: by name, float32.
        as_is: with long sums as the network has them, or written in stages.
        progress: is told of each batch.

    Raises:
        EngineUnavailableError, ExecutionError, ParityError: as conversion and `Asset.predict`.
    """
    found: list[tuple[RecordedCall, OperationError]] = []
    program = export(inner, as_is=as_is)
    recorder = CallRecorder(program.module(check_guards=False))
    for batch in recorder.batches(tuple(inputs[name] for name in inner.interface.inputs)):
        progress(f"{len(batch)} operations, from {batch[0].module or 'the inputs'} on")
        found += zip(batch, _judged(batch), strict=True)
    counted = [replace(error, calls=recorder.calls[call.key]) for call, error in found]
    return sorted(counted, key=lambda error: error.runtime_db)


@dataclass
class RecordedCall:
    """One operation of a network, and what PyTorch gave it and got."""

    key: Any
    target: Any
    module: str
    arguments: list[Any]  # leaves; tensors where there are tensors
    constant: list[bool]  # of each leaf: whether it is a tensor of the network's own
    spec: Any
    result: Tensor

    def operation(self, leaves: list[Any]) -> Tensor:
        """Compute it on other tensors; of several results the first."""
        args, kwargs = pytree.tree_unflatten(leaves, self.spec)
        made = self.target(*args, **kwargs)
        return made if isinstance(made, Tensor) else made[0]

    @property
    def reads(self) -> list[Tensor]:
        """The tensors that other operations, or the caller, made."""
        pairs = zip(self.arguments, self.constant, strict=True)
        return [leaf for leaf, constant in pairs if isinstance(leaf, Tensor) and not constant]


class CallRecorder(fx.Interpreter):
    """Executes an exported network and keeps the first call of each distinct operation."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self._graph = module.graph
        self.calls: dict[Any, int] = {}
        self._kept: list[RecordedCall] = []

    def batches(self, inputs: tuple[Tensor, ...]) -> Iterator[list[RecordedCall]]:
        """Run the network, and yield what was kept whenever it is a batch."""
        arguments = iter(inputs)
        for node in self._graph.nodes:
            with torch.no_grad():
                self.env[node] = (
                    next(arguments) if node.op == "placeholder" else self.run_node(node)
                )
            for gone in self.user_to_last_uses.get(node, ()):
                del self.env[gone]
            size = sum(c.result.nbytes + sum(x.nbytes for x in c.reads) for c in self._kept)
            if size > _BATCH_BYTES:
                yield self._take()
        if self._kept:
            yield self._take()

    def run_node(self, node: fx.Node) -> Any:
        """Return the result of ``node``, which is kept if it is the first of its kind."""
        made = super().run_node(node)
        if node.op == "call_function" and _name(node.target) not in _MOVES:
            self._keep(node, made[0] if isinstance(made, tuple) else made)
        return made

    def _keep(self, node: fx.Node, result: Tensor) -> None:
        places, spec = pytree.tree_flatten((node.args, node.kwargs), lambda x: x is None)
        own = [isinstance(place, fx.Node) and place.op == "get_attr" for place in places]
        leaves = [self.env[place] if isinstance(place, fx.Node) else place for place in places]
        shapes = tuple(x.shape if isinstance(x, Tensor) else repr(x) for x in leaves)
        key = (str(node.target), shapes)
        self.calls[key] = self.calls.get(key, 0) + 1
        if self.calls[key] == 1 and result.is_floating_point():
            call = RecordedCall(key, node.target, _module(node), leaves, own, spec, result)
            if call.reads:
                self._kept.append(call)

    def _take(self) -> list[RecordedCall]:
        kept, self._kept = self._kept, []
        return kept


class SideBySide(nn.Module):
    """Operations side by side: each reads inputs of its own and the network's constants."""

    def __init__(self, calls: list[RecordedCall]) -> None:
        super().__init__()
        self._calls = calls
        for index, call in enumerate(calls):
            for place, (leaf, constant) in enumerate(
                zip(call.arguments, call.constant, strict=True)
            ):
                if constant:
                    self.register_buffer(f"c{index}_{place}", leaf)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the first result of each; ``inputs`` are what they read, one after the other."""
        given, results = iter(inputs), []
        for index, call in enumerate(self._calls):
            places = enumerate(zip(call.arguments, call.constant, strict=True))
            leaves = [
                next(given)
                if isinstance(leaf, Tensor) and not constant
                else getattr(self, f"c{index}_{place}", leaf)
                for place, (leaf, constant) in places
            ]
            results.append(call.operation(leaves))
        return tuple(results)


def _judged(calls: list[RecordedCall]) -> list[OperationError]:
    tensors = [x.contiguous() for call in calls for x in call.reads]
    takes = [f"x{index}" for index in range(len(tensors))]
    gives = [f"y{index}" for index in range(len(calls))]
    program = lower(decomposed(SideBySide(calls).eval(), tuple(tensors), as_is=True), takes, gives)
    with tempfile.TemporaryDirectory(prefix="parity-coreai-") as folder:
        path = Path(folder, f"operations{SUFFIX}")
        save(program, path, {})
        given = {name: x.numpy() for name, x in zip(takes, tensors, strict=True)}
        made = Asset(path).execute(given)
    return [_error(call, made[name]) for call, name in zip(calls, gives, strict=True)]


def _error(call: RecordedCall, made: np.ndarray) -> OperationError:
    wide = [
        x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in call.arguments
    ]
    with torch.no_grad():
        exact = call.operation(wide).numpy()
    shape = tuple(call.reads[0].shape)
    runtime, ours = (snr_db(exact, np.asarray(x, np.float64)) for x in (made, call.result.numpy()))
    return OperationError(_name(call.target), call.module, shape, 1, runtime, ours)


def _name(target: Any) -> str:
    return str(getattr(target, "_opname", target.__name__))


def _module(node: fx.Node) -> str:
    """Return the path of the innermost module that a node belongs to, in the network."""
    paths = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
    return paths[-1].removeprefix("inner").removeprefix(".") if paths else ""
