"""coremltools without progress bars, log lines, warnings and all but one check of a program."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness._coremltools import import_coremltools, logged_apart


@contextmanager
def quiet_coremltools() -> Iterator[list[str]]:
    """Silence coremltools, and yield the list that its log lines go to."""
    import_coremltools()
    from coremltools.converters.mil.frontend.torch import ops
    from coremltools.converters.mil.mil.passes import pass_pipeline
    from coremltools.optimize.coreml import _quantization_passes as compression

    bars = (
        (ops, "_tqdm", ops._tqdm),
        (pass_pipeline, "tqdm", pass_pipeline.tqdm),
        (compression, "tqdm", compression.tqdm),
    )
    for module, name, bar in bars:  # coremltools has no option for this
        setattr(module, name, functools.partial(bar, disable=True))
    try:
        with logged_apart(logging.WARNING) as lines:
            yield lines
    finally:
        for module, name, bar in bars:
            setattr(module, name, bar)


@contextmanager
def validated_once() -> Iterator[None]:
    """Validate what is converted inside the ``with`` when it is through; coremltools' errors.

    `PassPipelineManager.apply_pipeline` validates the whole program after each of some 110 passes,
    and spells it out before and after each pipeline for a debug log: nearly half the time of a
    conversion. A pass that leaves a program broken is a defect of the pass, and the program at the
    end shows it.
    """
    import_coremltools()
    from coremltools.converters.mil.mil import Program

    validate, spell = Program.validate, Program.__str__
    asked: dict[Any, bool] = {}

    def note(program: Any, check_essential_scope: bool = False) -> None:
        asked[program] = asked.get(program, False) or check_essential_scope

    Program.validate, Program.__str__ = note, lambda program: type(program).__name__
    try:
        yield
    finally:
        Program.validate, Program.__str__ = validate, spell
    for program, scopes in asked.items():
        program.validate(check_essential_scope=scopes)
