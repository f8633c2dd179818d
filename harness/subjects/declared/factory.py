"""The model of a declaration: its factory imported and called, and run once to know it.

What is imported is the user's own code, named in the user's own file. What it raises becomes one
sentence, because a traceback through an importer helps nobody who wrote a name wrong.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from harness.errors import DeclarationError, UnknownNameError, one_line, require_known

Made = TypeVar("Made")

_BROKEN: Final = (
    ImportError, OSError, SyntaxError, NameError, AttributeError, LookupError, TypeError,
    ValueError, RuntimeError, AssertionError, ArithmeticError,
)  # fmt: skip
"""What importing, making or calling somebody's model raises when it is wrong."""
_SEED: Final = 0
"""Of weights that a factory draws without a seed of its own."""
_FOLDERS: dict[str, str] = {}  # where the modules of factories were looked for


def build_model(path: Path, factory: str) -> nn.Module:
    """Return the model that ``package.module:make`` makes, in eval mode and without gradients.

    The folder of ``path`` is searched first, as Python does with that of a program.

    Raises:
        DeclarationError: it can't be imported or called, or returns no module.
    """
    module, _, name = factory.partition(":")
    folder, root = str(path.parent.resolve()), module.partition(".")[0]
    sys.path[:] = [folder, *(place for place in sys.path if place != folder)]
    if _FOLDERS.setdefault(root, folder) != folder:  # another network's module of this name
        for held in [name for name in sys.modules if name.partition(".")[0] == root]:
            del sys.modules[held]
        _FOLDERS[root] = folder
    try:
        made: Any = importlib.import_module(module)
        for part in name.split("."):
            if not hasattr(made, part):
                known = [key for key in vars(made) if not key.startswith("_")]
                raise UnknownNameError(f"function in {module}, the factory of {path}", part, known)
            made = getattr(made, part)
    except _BROKEN as error:
        raise DeclarationError(
            f"the factory {factory!r} of {path} can't be imported ({_said(error)}); it is looked "
            f"for in {folder} and in what is installed"
        ) from error
    try:
        with torch.random.fork_rng():
            torch.manual_seed(_SEED)
            model = made()
    except _BROKEN as error:
        raise DeclarationError(
            f"the factory {factory!r} of {path} failed ({_said(error)}); it is called without "
            "arguments and returns a torch.nn.Module"
        ) from error
    if not isinstance(model, nn.Module):
        raise DeclarationError(
            f"the factory {factory!r} of {path} returned {type(model).__name__}, expected a "
            "torch.nn.Module"
        )
    return model.eval().requires_grad_(False)


def run_once(
    path: Path, model: nn.Module, arguments: Mapping[str, Tensor]
) -> tuple[list[Tensor], dict[str, list[Any]]]:
    """Call a model once; return what it returns, and what each module in it returned each time.

    Raises:
        DeclarationError: it doesn't take these arguments, or returns something else than float32.
    """
    seen: dict[str, list[Any]] = {}

    def hook(name: str) -> Any:
        def keep(module: nn.Module, args: Any, output: Any) -> None:
            seen.setdefault(name, []).append(output)

        return keep

    handles = [m.register_forward_hook(hook(n)) for n, m in model.named_modules() if n]
    try:
        with torch.no_grad():
            returned = called(path, arguments, lambda: model(*arguments.values()))
    finally:
        for handle in handles:
            handle.remove()
    outputs = list(returned) if isinstance(returned, tuple | list) else [returned]
    for index, output in enumerate(outputs):
        if not isinstance(output, Tensor) or output.dtype != torch.float32:
            found = _dtype(output) if isinstance(output, Tensor) else type(output).__name__
            raise DeclarationError(
                f"the network of {path} returns {found} as output {index}, expected a float32 "
                "tensor, or a tuple of them; wrap it in a module that returns those"
            )
    return outputs, seen


def called(path: Path, arguments: Mapping[str, Tensor], run: Callable[[], Made]) -> Made:
    """Return what a model makes of its arguments.

    Raises:
        DeclarationError: it doesn't take them.
    """
    try:
        return run()
    except _BROKEN as error:
        given = one_line(", ".join(_described(n, t) for n, t in arguments.items()), 200)
        raise DeclarationError(
            f"the network of {path} doesn't take {given} ({_said(error)}); correct 'inputs' there"
        ) from error


def _described(name: str, value: Tensor) -> str:
    number = f" = {value.item():g}" if value.numel() == 1 else ""
    return f"{name} {list(value.shape)} {_dtype(value)}{number}"


def automatic_taps(
    model: nn.Module, seen: Mapping[str, list[Any]], outputs: list[Tensor]
) -> dict[str, str]:
    """Return every direct block of a model, by its path, in the order of computation.

    A block is a child that is called once and returns one float32 tensor, or a tuple whose first
    tensor is the only one of its size. Of other children (containers, wrappers, what returns a
    data class) the children are looked at. What the model returns is no inner value.
    """
    returned = {id(output) for output in outputs}
    blocks = set(_blocks(model, "", seen))
    return {
        name: name
        for name, values in seen.items()
        if name in blocks and id(_first(values[0])) not in returned
    }


def check_taps(path: Path, model: nn.Module, taps: Mapping[str, str], seen: Any) -> None:
    """See to it that each tap is the path of a module that is called.

    Raises:
        UnknownNameError: there is no such module; the nearest one is suggested.
        DeclarationError: it is never called, or makes no float32 tensor.
    """
    known = [name for name, _ in model.named_modules() if name]
    for tap in taps.values():
        require_known(f"tap in {path}, the path of a module", known, tap)
        value = _first(seen.get(tap, [None])[-1])
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            raise DeclarationError(
                f"{path}: the module {tap!r} of the tap of its name returns no float32 tensor when "
                "the network runs; take another one"
            )


def _blocks(model: nn.Module, prefix: str, seen: Mapping[str, list[Any]]) -> list[str]:
    found = []
    for name, child in model.named_children():
        path = f"{prefix}{name}"
        values = seen.get(path, [])
        if len(values) == 1 and _is_one(values[0]) and not isinstance(child, nn.Sequential):
            found.append(path)
        else:
            found += _blocks(child, f"{path}.", seen)
    return found


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) and output else output


def _is_one(output: Any) -> bool:
    """Whether a module's output is one tensor, or has one that no other can be taken for."""
    first = _first(output)
    if not isinstance(first, Tensor) or first.dtype != torch.float32 or first.numel() < 2:
        return False
    parts = output if isinstance(output, tuple) else ()
    same = [part for part in parts if isinstance(part, Tensor) and part.numel() == first.numel()]
    return len(same) <= 1


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _said(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}", 180)
