"""A function with every name resolved where it is read, inner blocks included.

A name is bound once within what sees it, but two blocks that don't see each other may use the same
one: a table from names to values would mix them up. Here each binding is a `GraphValue` of its own,
and each operation's inputs are the values that it really reads.

::

    for node in graph_of(program.function("main")).nodes:
        node.operation, node.read("x"), node.results

Nothing is executed, and nothing needs to be known to the executor.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.mil.program import Binding, Block, Constant, Function, Operation, Variable
from harness.mil.types import DataType, TensorType, ValueType


@dataclass(eq=False)
class GraphValue:
    """What a name stands for, or a constant that is written where it is read.

    Attributes:
        name: as the program spells it; "" for a constant in place.
        type: as declared.
        producer: the operation that makes it; ``None`` for an input of the function or of a block,
            and for a constant in place.
        constant: what it is, if that is written in the program.
        readers: the operations that read it, with the parameter, in program order.
        leaves: what returns it: the enclosing operation of a block, or ``None`` for the function.
    """

    name: str
    type: ValueType
    producer: Node | None = None
    constant: Constant | None = None
    readers: list[tuple[Node, str]] = field(default_factory=list)
    leaves: list[Node | None] = field(default_factory=list)

    @property
    def dtype(self) -> DataType | None:
        """Declared element type; ``None`` if it is no tensor."""
        return self.type.dtype if isinstance(self.type, TensorType) else None

    @property
    def is_read(self) -> bool:
        """Whether an operation reads it, or a block or the function returns it."""
        return bool(self.readers or self.leaves)


@dataclass(eq=False)
class Node:
    """One operation among its neighbours.

    Attributes:
        operation: as it stands in the program.
        reads: the values of each input.
        results: the values that it makes.
        blocks: what its blocks take and return.
    """

    operation: Operation
    reads: Mapping[str, tuple[GraphValue, ...]]
    results: tuple[GraphValue, ...] = ()
    blocks: tuple[GraphBlock, ...] = ()

    @property
    def inputs(self) -> Iterator[tuple[str, GraphValue]]:
        """Every value that it reads, with the parameter."""
        return ((name, value) for name, values in self.reads.items() for value in values)

    def read(self, parameter: str) -> GraphValue | None:
        """Return the value of an input that has exactly one."""
        values = self.reads.get(parameter, ())
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, eq=False)
class GraphBlock:
    """A function's block, or one inside an operation.

    Attributes:
        inputs: values that it takes.
        outputs: values that it returns.
        nodes: its operations but constants, in program order, without those of inner blocks.
    """

    inputs: tuple[GraphValue, ...]
    outputs: tuple[GraphValue, ...]
    nodes: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """A function's operations and values.

    Attributes:
        function: what was resolved.
        block: its block.
        nodes: every operation but constants, in program order, those of nested blocks before the
            operation that they belong to.
        values: every value, those that no operation reads included.
    """

    function: Function
    block: GraphBlock
    nodes: tuple[Node, ...]
    values: tuple[GraphValue, ...]


def graph_of(function: Function) -> Graph:
    """Resolve every name of a verified ``function``."""
    builder = _GraphBuilder()
    block = builder.block(function.block, function.inputs, None, ChainMap())
    return Graph(function, block, tuple(builder.nodes), tuple(builder.values))


class _GraphBuilder:
    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.values: list[GraphValue] = []

    def bind(self, variable: Variable, names: ChainMap[str, GraphValue]) -> GraphValue:
        value = GraphValue(variable.name, variable.type)
        self.values.append(value)
        names[variable.name] = value
        return value

    def block(
        self,
        block: Block,
        inputs: Sequence[Variable],
        owner: Node | None,
        names: ChainMap[str, GraphValue],
    ) -> GraphBlock:
        """Resolve ``block`` of the operation ``owner``, which sees ``names`` and adds its own."""
        taken = tuple(self.bind(variable, names) for variable in inputs)
        nodes = []
        for operation in block.operations:
            reads = {
                parameter: tuple(self._value(binding, names) for binding in bindings)
                for parameter, bindings in operation.inputs.items()
            }
            node = Node(operation, reads)
            node.blocks = tuple(
                self.block(inner, inner.inputs, node, names.new_child())
                for inner in operation.blocks
            )
            node.results = tuple(self.bind(variable, names) for variable in operation.outputs)
            for value in node.results:
                value.producer = node
            if operation.type == "const":
                node.results[0].constant = operation.attributes["val"]
                continue
            for parameter, value in node.inputs:
                value.readers.append((node, parameter))
            nodes.append(node)
            self.nodes.append(node)
        returned = tuple(names[name] for name in block.outputs)
        for value in returned:
            value.leaves.append(owner)
        return GraphBlock(taken, returned, tuple(nodes))

    def _value(self, binding: Binding, names: Mapping[str, GraphValue]) -> GraphValue:
        if isinstance(binding, str):
            return names[binding]
        value = GraphValue("", binding.type, constant=binding)
        self.values.append(value)
        return value
