"""What ``parity reduce`` cuts down: a package on any inputs, or a conversion of a subject."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import mil
from harness.conversion import load_recipe
from harness.errors import ParityError
from harness.mil.features import converted
from harness.reduction import Attempt
from harness.subjects import load_subject
from harness.workbench.given import Note, given_inputs, silent
from harness.workbench.packages import Packages
from harness.workbench.sources import Source, is_package, source_of


@contextmanager
def whole_program(
    model: str,
    *,
    golden_root: Path,
    case: str | None = None,
    given: str | None = None,
    subject: str | None = None,
    recipe: str | None = None,
    function: str | None = None,
    numerics: str = "storage",
    note: Note = silent,
) -> Iterator[Attempt]:
    """Yield a whole program with the inputs on which it may fail.

    States of a package that is given inputs start from zero. On a case they are what the case says,
    and the program is one without states, as `harness.mil.functional` makes it.

    Args:
        model: a package, or the name of a subject, which is converted.
        golden_root: the golden folder.
        case: of the subject, or of the subject of a package.
        given: inputs of a package: a file, a folder or ``random:SEED``.
        subject: what a package was converted from.
        recipe: by which a subject is converted; "fp16" by default.
        function: of a package's program.
        numerics: how it will be executed.
        note: is told of inputs that a conversion changed.

    Raises:
        ParityError: what was given doesn't go together, or can't be opened or converted.
    """
    cases = None if case is None else [case]
    words = None if given is None else [given]
    source = source_of(
        model, golden_root=golden_root, cases=cases, given=words, note=note, subject=subject
    )
    if is_package(model):
        if recipe is not None:
            raise ParityError(f"{model} is a package and converted already: leave --precision out")
        program = mil.load(Path(model), function=function)
        if given is not None:
            arrays = given_inputs(given, program, numerics=numerics, note=note)
            yield Attempt(program, arrays, Path(model))
            return
        yield _on_case(program, source, numerics)
        return
    if function is not None:
        raise ParityError(f"--function is of a package; {model} is a subject")
    source.check_cases()
    with tempfile.TemporaryDirectory(prefix="parity-reduce-") as folder:
        made = Packages(Path(folder), load_subject).path(model, load_recipe(recipe or "fp16"))
        yield _on_case(mil.load(made), source, numerics)


def _on_case(program: mil.Model, source: Source, numerics: str) -> Attempt:
    model = mil.functional(program)
    arrays = {name: tensor.numpy() for name, tensor in source.inputs()[source.cases[0]].items()}
    inputs, _ = converted(arrays, model.inputs, mil.get_numerics(numerics))
    return Attempt(model, inputs, program.package.path if model is program else None)
