"""What stands for other people's classes while a pickle is read: inert, with nothing to run.

PyTorch's restricted unpickler calls what is on its allow-list. So nothing of demucs, OmegaConf,
Lightning or NumPy is on it, but a placeholder under each of their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, Final, NoReturn

from harness.subjects.foreign import HTDEMUCS_CLASS, OTHER_CLASSES


class CodeInCheckpointError(Exception):
    """A pickle asks for more than data."""


class ModelClass:
    """Stands for a model class in a pickle: it can be named, not constructed."""

    dotted: ClassVar[str] = ""

    def __new__(cls, *args: object, **kwargs: object) -> NoReturn:
        """Refuse: its constructor is code."""
        raise CodeInCheckpointError(cls.dotted)


class ConfigNode:
    """Stands for a node of an OmegaConf configuration, or for a namespace; keeps its content."""

    content: Any = None

    def __setstate__(self, state: object) -> None:
        if isinstance(state, Mapping):
            # A container's and a value's content in OmegaConf, and all of a namespace.
            own = [state[key] for key in ("_content", "_val") if key in state]
            self.content = own[0] if own else state


class Ignored:
    """Stands for what nobody needs here; takes any arguments and keeps none."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Dictionary:
    """Stands for subclasses of dict: a plain one."""

    def __new__(cls, *args: object) -> Any:
        return {}


def _fraction(*args: object) -> Fraction:
    """Return a small fraction. ``Fraction("1e999999999")`` would take all memory and days."""
    if not all(isinstance(arg, int | str) for arg in args):
        raise ValueError("a fraction of something else than numbers")
    text = "/".join(map(str, args))
    if not re.fullmatch(r"-?\d{1,18}(/\d{1,18})?", text):
        raise ValueError(f"{text[:40]!r} is no plain fraction")
    return Fraction(text)


MODEL_CLASSES: Final = (HTDEMUCS_CLASS, *OTHER_CLASSES)
"""Those of every version of Demucs: other models than HTDemucs are read to be told by name."""

_NODES: Final = (
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean")),
    "argparse.Namespace",
)
_DICTIONARIES: Final = (
    "collections.defaultdict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
_IGNORED: Final = (
    # NumPy numbers among the training metrics, in the words of NumPy 1 and 2.
    "_codecs.encode", "numpy.dtype", "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    # The types that OmegaConf notes for its nodes.
    "omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata", "typing.Any",
    *(f"builtins.{name}" for name in ("dict", "list", "int", "float", "str", "bool")),
)  # fmt: skip

ALLOWED: Final[list[Any]] = [
    *((type("Class", (ModelClass,), {"dotted": name}), name) for name in MODEL_CLASSES),
    *((ConfigNode, name) for name in _NODES),
    *((_Dictionary, name) for name in _DICTIONARIES),
    *((Ignored, name) for name in _IGNORED),
    (_fraction, "fractions.Fraction"),
]
"""What checkpoints refer to beside what PyTorch allows by itself. All are inert."""
