"""coremltools without progress bars, log lines, warnings and all but one check of a program."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from harness._coremltools import import_coremltools, logged_apart


@contextmanager
def quiet_coremltools() -> Iterator[None]:
    """Silence coremltools."""
    import_coremltools()
    from coremltools.converters.mil.frontend.torch import ops
    from coremltools.converters.mil.mil.passes import pass_pipeline
    from coremltools.optimize.coreml import _quantization_passes as compression

    bars = [  # coremltools has no option for this
        (module, name, functools.partial(getattr(module, name), disable=True))
        for module, name in ((ops, "_tqdm"), (pass_pipeline, "tqdm"), (compression, "tqdm"))
    ]
    with _replaced(*bars), logged_apart(logging.WARNING):
        yield


@contextmanager
def sparing_walks() -> Iterator[None]:
    """Convert inside the ``with`` without the walks over a program that change nothing of it.

    coremltools validates the whole program after each of some 110 passes, and spells it out for
    debug logs. A pass that leaves a program broken is a defect of the pass, and the program at the
    end shows it, which is validated when it is through, with coremltools' errors. After each pass
    it tells every value which compressed constants it is made of: none, while there are none. All
    of it is more than half the time of a conversion.
    """
    import_coremltools()
    from coremltools.converters.mil.mil import Block, Function, Program

    asked: dict[Any, bool] = {}
    propagate, compressed = Block._propagate_nonreplaceable_vars, False

    def note(program: Any, check_essential_scope: bool = False) -> None:
        asked[program] = asked.get(program, False) or check_essential_scope

    def propagate_any(block: Any) -> None:
        nonlocal compressed
        compressed = compressed or _has_compressed(block)
        if compressed:
            propagate(block)

    with _replaced(
        (Program, "validate", note),
        (Program, "__str__", object.__repr__),
        (Function, "__str__", object.__repr__),
        (Block, "_propagate_nonreplaceable_vars", propagate_any),
    ):
        yield
    for program, scopes in asked.items():
        program.validate(check_essential_scope=scopes)


@contextmanager
def _replaced(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Have other values for attributes inside the ``with``: of what, its name, and the value."""
    with ExitStack() as stack:
        for owner, name, instead in changes:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, instead)
        yield


def _has_compressed(block: Any) -> bool:
    return any(
        operation.op_type.startswith("constexpr_") or any(map(_has_compressed, operation.blocks))
        for operation in block.operations
    )
