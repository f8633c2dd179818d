"""The sets of operations that came with releases of iOS, as every format spells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Opset:
    """A set of operations.

    Attributes:
        name: as protocol buffers spell it.
        release: the release of iOS that it came with.
        specification: the lowest specification version of a model that uses it.
    """

    name: str
    release: int
    specification: int

    @property
    def text(self) -> str:
        """As the text of compiled models spells it."""
        return f"ios{self.release}"


OPSETS: Final = {
    opset.name: opset
    for opset in (
        Opset("CoreML5", 15, 6),
        Opset("CoreML6", 16, 7),
        Opset("CoreML7", 17, 8),
        Opset("CoreML8", 18, 9),
        Opset("CoreML9", 26, 10),
    )
}
"""All of them, by name. Source: ``mlmodel/format/Model.proto`` of coremltools."""
