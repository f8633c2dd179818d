"""What a linter finds: which rule, where, what is wrong, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from harness.mil.graph import Node


class Severity(enum.Enum):
    """How bad a finding is.

    ``ERROR``: Core ML refuses the program, or what it computes is wrong for ordinary inputs.
    ``WARNING``: wrong on some devices or for some inputs, less exact than it could be, or idle.
    """

    ERROR = "error"
    WARNING = "warning"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, eq=False)
class Hit:
    """What a rule's function yields.

    Attributes:
        what: the value and what was expected of it, as a clause without a full stop.
        node: the operation; ``None`` where the whole function is meant.
    """

    what: str
    node: Node | None = None


@dataclass(frozen=True)
class LintFinding:
    """One thing that is wrong, and its place.

    Attributes:
        rule: name of the rule.
        severity: of the rule.
        what: the value, and what is wrong with it.
        function: name of the function.
        operation: name of the operation; "" where the whole function is meant.
        type: the operation's MIL type.
        value: name and declared type of its first output.
        place: function, enclosing blocks and index.
        module: path of the PyTorch module that it was made from; "" where it isn't known.
        next_step: what to do.
        source: where the rule comes from.
    """

    rule: str
    severity: Severity
    what: str
    function: str
    operation: str
    type: str
    value: str
    place: str
    module: str
    next_step: str
    source: str

    @property
    def where(self) -> str:
        """The operation and its place, in words."""
        if not self.operation:
            return f"function {self.function!r}"
        value = f" ({self.value})" if self.value else ""
        module = f" in {self.module}" if self.module else ""
        return f"{self.type} {self.operation!r}{value} at {self.place}{module}"

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"

    def to_dict(self) -> dict[str, str]:
        """All fields as text."""
        return {name: str(value) for name, value in vars(self).items()}
