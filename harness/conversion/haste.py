"""coremltools' own checks of a program, made once instead of after every pass.

`PassPipelineManager.apply_pipeline` validates the whole program after each of some 110 passes, and
spells it out before and after each pipeline for a debug log: nearly half the time of a conversion.
A pass that leaves a program broken is a defect of the pass, and the program at the end shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness._coremltools import import_coremltools


@contextmanager
def validated_once() -> Iterator[None]:
    """Validate what is converted inside the ``with`` when it is through; coremltools' errors."""
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
