"""Known bugs as packages on disk: what a wrong converter would have shipped.

Bugs of the converted program, of its precision and of its constants are edits of the sound package;
they are saved with the sound package's papers, as a converter that has the bug would write them.
Bugs of weights and of loading them are injected into the network, which is then converted. What the
executor is made to compute otherwise is in no package, and is not saved::

    packager = FaultPackager(bench, recipe="fp32")
    for fault in savable_faults():
        saved = packager.save(fault, folder / f"{fault.name}.mlpackage")
        saved.path or saved.reason
"""

from __future__ import annotations

import copy
import re
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from harness.conversion import (
    convert_to_coreml,
    load_recipe,
    module_paths,
    read_sidecar,
    trace_inner_model,
)
from harness.errors import ParityError
from harness.faults.injector import SUBJECT
from harness.faults.judges.program import RECIPE, Converted, Shipment
from harness.faults.registry import Fault, all_faults
from harness.mil import Model, load
from harness.mil.program import Function, Variable, verify
from harness.mil.saving import save_package
from harness.structure import compare_programs
from harness.subjects import extract_inner_model
from harness.workbench import Workbench


@dataclass(frozen=True)
class SavedFault:
    """What became of a fault.

    Attributes:
        path: the package; None where there is none.
        reason: why there is none; "" where there is one.
    """

    path: Path | None
    reason: str = ""


def unsavable_reason(fault: Fault) -> str | None:
    """Return why no package can have a bug; None if one can."""
    if fault.judge in ("arithmetic", "mixed"):
        return "the executor computes it otherwise, and no package says how it is computed"
    if fault.judge in ("program", "package") or (
        fault.judge == "network" and fault.level == "weights"
    ):
        return None
    return f"it is injected into what the judge {fault.judge!r} looks at, which is no package"


def savable_faults() -> tuple[Fault, ...]:
    """Return the faults that `FaultPackager` can save, of at least one recipe."""
    return tuple(fault for fault in all_faults() if unsavable_reason(fault) is None)


class FaultPackager:
    """Saves faults in packages of one recipe.

    Args:
        bench: where the subject and its sound packages come from.
        recipe: of the packages.
        subject: the model.
    """

    def __init__(self, bench: Workbench, recipe: str = RECIPE, subject: str = SUBJECT) -> None:
        self._bench, self._recipe, self._subject = bench, recipe, subject

    @cached_property
    def sound(self) -> Converted:
        """The package without a bug, opened."""
        model = self._open(self._recipe)
        return Converted(model, module_paths(model))

    def save(self, fault: Fault, out: Path) -> SavedFault:
        """Save the package with ``fault`` in it at ``out``, an ``.mlpackage`` that isn't there yet.

        A package that computes what the sound one of the recipe that it claims does is none: that
        recipe has nothing there that could be got wrong so. It is taken away again.

        Raises:
            OSError: it can't be written.
        """
        reason = unsavable_reason(fault)
        if reason is not None:
            return SavedFault(None, reason)
        if fault.judge == "package" and self._recipe != RECIPE:
            return SavedFault(None, f"it is a bug of what is shipped as {RECIPE}, made of that")
        try:
            if fault.judge == "network":
                self._convert(fault, out)
            else:
                _save_model(self._inject(fault), out)
        except ParityError as error:
            return SavedFault(None, f"{type(error).__name__}: {error}")
        saved = load(out)
        if compare_programs(self._claimed(saved), saved).verdict == "pass":
            shutil.rmtree(out)
            return SavedFault(None, f"it changes nothing in a package of recipe {self._recipe}")
        return SavedFault(out)

    def _inject(self, fault: Fault) -> Model:
        sound: Converted | Shipment = self.sound
        if fault.judge == "package":
            sound = Shipment(self.sound.model, self._open)
        model: Model = fault.inject(sound).model
        return model

    def _convert(self, fault: Fault, out: Path) -> None:
        """Convert the network with the bug in it, under the papers of the sound weights."""
        subject = self._bench.goldens.subject(self._subject)
        network = extract_inner_model(copy.deepcopy(subject.model))
        fault.inject(network)
        convert_to_coreml(
            trace_inner_model(network),
            recipe=load_recipe(self._recipe),
            out=out,
            subject=self._subject,
            fingerprint=subject.fingerprint,
        )

    def _claimed(self, saved: Model) -> Model:
        """Return the sound package of the recipe that a package claims."""
        sidecar = read_sidecar(saved)
        recipe = self._recipe if sidecar is None else sidecar.recipe.name
        return self.sound.model if recipe == self._recipe else self._open(recipe)

    def _open(self, recipe: str) -> Model:
        return load(self._bench.packages.path(self._subject, recipe))


def _save_model(model: Model, out: Path) -> None:
    """Save an edited model with the papers that it has."""
    function = _with_identifiers(model.plan.function)
    verify(function)
    save_package(out, function, model.package.constants.array, model.package.metadata)


def _with_identifiers(function: Function) -> Function:
    """Return ``function`` with names that Core ML takes: edits name new values as they like."""
    made = [v.name for operation in function.block.operations for v in operation.outputs]
    names = {name: re.sub(r"\W", "_", name) + "_new" for name in made if re.search(r"\W", name)}
    operations = tuple(
        replace(
            operation,
            inputs={
                parameter: tuple(names.get(b, b) if isinstance(b, str) else b for b in bindings)
                for parameter, bindings in operation.inputs.items()
            },
            outputs=tuple(Variable(names.get(v.name, v.name), v.type) for v in operation.outputs),
        )
        for operation in function.block.operations
    )
    return replace(function, block=replace(function.block, operations=operations))
