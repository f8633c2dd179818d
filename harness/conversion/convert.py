"""From a traced network to a Core ML ML Program, with each operation's precision from a recipe.

In: a `TracedModel` and a `PrecisionRecipe`. Out: an ``.mlpackage`` folder that appears whole or not
at all, with the inputs, states and outputs of the network's interface, and a
`ConvertedPackage` that says what was made. It works on any machine; running the package is another
room's business.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness._coremltools import import_coremltools
from harness.atomic import atomic_folder
from harness.atomic.products import PACKAGE
from harness.conversion.audit import Audit, audit_package
from harness.conversion.compression import compressed_pipeline
from harness.conversion.contract import check_contract
from harness.conversion.quiet import quiet_coremltools, sparing_walks
from harness.conversion.recipes import PrecisionRecipe, RuleCount
from harness.conversion.scopes import ModuleTree, module_scopes
from harness.conversion.selector import PrecisionSelector
from harness.conversion.sidecar import Sidecar, VanishedOperation
from harness.conversion.survey import (
    base_name,
    every_operation,
    surveyed_pipeline,
    values_read,
)
from harness.conversion.tap_mapping import TapMapping, TapOperation, find_taps
from harness.conversion.trace import TracedModel
from harness.errors import PackageError, ParityError, RecipeError, require_known
from harness.origin import git_commit, versions
from harness.rewriting import rewritten

COMPUTE_UNITS = ("ALL", "CPU_AND_GPU", "CPU_AND_NE", "CPU_ONLY")


@dataclass(frozen=True)
class ConvertedPackage:
    """What a conversion made.

    Attributes:
        path: the ``.mlpackage`` folder.
        size_bytes: of all its files.
        rules: what each rule of the recipe matched.
        taps: where the network's taps are in the program.
        vanished: operations that conversion took out after their precision had been chosen.
        audit: the saved package compared with the recipe, with its precision map.
        seconds: wall-clock time.
    """

    path: Path
    size_bytes: int
    rules: tuple[RuleCount, ...]
    taps: TapMapping
    vanished: tuple[VanishedOperation, ...]
    audit: Audit
    seconds: float

    @property
    def precision_map(self) -> Mapping[str, Mapping[str, int]]:
        """Number of operations by type and by declared element type of their output."""
        return self.audit.precision_map


def convert_to_coreml(
    traced: TracedModel,
    *,
    recipe: PrecisionRecipe,
    out: str | Path,
    subject: str,
    fingerprint: str = "",
    target: str = "iOS18",
    compute_units: str = "ALL",
    command: str = "",
) -> ConvertedPackage:
    """Convert ``traced`` to an ML Program, save it at ``out``, and audit what was saved.

    Converting is deterministic: the same trace and recipe give the same program.

    Args:
        traced: from `trace_inner_model`; may be used for any number of conversions.
        recipe: gives each operation its precision.
        out: the ``.mlpackage`` folder to write; an older one is replaced when the new one is whole.
        subject: name of the model, for the package's metadata.
        fingerprint: SHA-256 of its weights, likewise.
        target: the deployment target that decides the opset, as coremltools names it.
        compute_units: what the package is meant for, one of `COMPUTE_UNITS`. A package doesn't
            bind its loader to it, so it is only recorded.
        command: what made the package, to be recorded.

    Raises:
        RecipeError: a rule that isn't optional matches no operation; nothing is written.
        UnknownNameError: no such target or compute units.
        PackageError: ``out`` has another suffix than ``.mlpackage``.
        ParityError: coremltools can't convert the network.
    """
    started = time.perf_counter()
    out = Path(out)
    if out.suffix != ".mlpackage":
        raise PackageError(f"can't save a package as {out}: the name must end in .mlpackage")
    check_request(recipe, target, compute_units)
    selector = PrecisionSelector(recipe, lambda op: _module_path(op, traced.modules))

    with quiet_coremltools():
        model, reads = _convert(traced, recipe, selector, target)
    nodes, returned = _nodes(model, traced.modules)
    vanished = _vanished(model, selector, reads)
    taps = find_taps(nodes, returned, traced.taps)
    facts = {
        "subject": subject,
        "fingerprint": fingerprint,
        "sources": ",".join(traced.interface.sources),
        "target": target,
        "compute_units": compute_units,
        "command": command,
        "git_commit": git_commit(),
        **{f"version.{name}": version for name, version in versions().items()},
    }
    known = {name: fact for name, fact in facts.items() if fact}
    modules = {
        name: node.module for node in nodes if node.module is not None for name, _ in node.outputs
    }
    sidecar = Sidecar(recipe, modules, taps, vanished, known)
    model.short_description = f"{subject} without its STFT, precision recipe {recipe.name}"
    model.user_defined_metadata.update(sidecar.to_metadata())
    audit, size_bytes = _save(model, out, traced, recipe)
    return ConvertedPackage(
        path=out,
        size_bytes=size_bytes,
        rules=selector.report(),
        taps=taps,
        vanished=vanished,
        audit=audit,
        seconds=time.perf_counter() - started,
    )


def check_request(recipe: PrecisionRecipe, target: str, compute_units: str) -> None:
    """Check what can be refused before a model is loaded; the arguments are `convert_to_coreml`'s.

    Raises:
        UnknownNameError: no such target or compute units.
        RecipeError: the target can't hold what the recipe compresses.
    """
    ct = import_coremltools()
    require_known("compute units", COMPUTE_UNITS, compute_units)
    # ML Programs came with iOS 15 and what Apple released with it.
    targets = [name for name, value in ct.target.__members__.items() if value >= ct.target.iOS15]
    require_known("deployment target", targets, target)
    if recipe.compresses and ct.target[target] < ct.target.iOS16:
        raise RecipeError(
            f"precision recipe {recipe.name!r} compresses weights, which programs for {target} "
            "can't hold; take iOS16 or a later deployment target"
        )


def _convert(
    traced: TracedModel, recipe: PrecisionRecipe, selector: PrecisionSelector, target: str
) -> tuple[Any, dict[str, tuple[str, ...]]]:
    """Return coremltools' model, and for each surveyed operation the names of what it reads."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder

    # Operations are numbered by a count that whoever built a program in this process has moved on,
    # and that a failed conversion leaves behind; a recipe that names them needs the same names.
    Builder.name_count.clear()
    reads: dict[str, tuple[str, ...]] = {}
    takes = traced.interface

    def survey(operations: list[Any]) -> None:
        for operation in operations:
            selector(operation)
            reads[operation.name] = _reads(operation)
        selector.check()

    pipeline = rewritten(surveyed_pipeline(survey), recipe.rewrites)
    if recipe.compresses:
        pipeline = compressed_pipeline(pipeline, selector.weights)
    if recipe.is_uniform and recipe.default == "fp32":
        precision = ct.precision.FLOAT32
    else:
        precision = ct.transform.FP16ComputePrecision(op_selector=selector)
    try:
        with sparing_walks():
            model = ct.convert(
                traced.script,
                inputs=[
                    ct.TensorType(name, shape, np.int32 if name in takes.integers else np.float32)
                    for name, shape in takes.arguments.items()
                ],
                outputs=[ct.TensorType(name, dtype=np.float32) for name in takes.returned],
                states=[
                    ct.StateType(
                        ct.TensorType(shape=takes.inputs[name], dtype=np.float16), name=path
                    )
                    for name, path in takes.states.items()
                ],
                minimum_deployment_target=ct.target[target],
                compute_precision=precision,
                pass_pipeline=pipeline,
                convert_to="mlprogram",
                skip_model_load=True,
            )
    except RecipeError as error:
        # Frames of coremltools hold temporary folders, which complain when they are collected.
        # Let go of them here, where that is silenced.
        traceback.clear_frames(error.__traceback__)
        raise
    except (NotImplementedError, RuntimeError, ValueError) as error:
        traceback.clear_frames(error.__traceback__)
        raise ParityError(
            f"coremltools {ct.__version__} can't convert the network for {target}: {error}"
        ) from error
    return model, reads


def _save(model: Any, out: Path, traced: TracedModel, recipe: PrecisionRecipe) -> tuple[Audit, int]:
    """Save ``model`` at ``out`` once it was found sound, and return its audit and size in bytes."""
    try:
        with atomic_folder(out, PACKAGE) as fresh:
            model.save(str(fresh))
            check_contract(fresh, traced.interface)
            audit = replace(audit_package(fresh, recipe), package=out)
            return audit, sum(f.stat().st_size for f in fresh.rglob("*") if f.is_file())
    finally:
        # coremltools deletes its working copy, as large as the package, only when Python exits.
        shutil.rmtree(model.package_path, ignore_errors=True)


def _nodes(model: Any, tree: ModuleTree) -> tuple[list[TapOperation], list[str]]:
    """Return the operations of the converted program, and the names of the values it returns."""
    function = model._mil_program.functions["main"]
    nodes = [
        TapOperation(
            type=operation.op_type,
            module=_module_path(operation, tree),
            inputs=_reads(operation),
            outputs=tuple((value.name, tuple(value.shape)) for value in operation.outputs),
        )
        for operation in every_operation(function)
        if operation.op_type != "const" and not operation.op_type.startswith("constexpr_")
    ]
    return nodes, [value.name for value in function.outputs]


def _vanished(
    model: Any, selector: PrecisionSelector, reads: dict[str, tuple[str, ...]]
) -> tuple[VanishedOperation, ...]:
    """Return the operations that were surveyed and are not in the converted program."""
    present = {
        base_name(operation.name, [value.name for value in operation.outputs])
        for operation in every_operation(model._mil_program.functions["main"])
    }
    vanished: dict[str, VanishedOperation] = {}
    for operation in selector.operations:
        if operation.name not in present:
            sources = [  # what a vanished operation read, if its result was read in turn
                source
                for name in reads[operation.name]
                for source in (vanished[name].reads if name in vanished else (name,))
            ]
            vanished[operation.name] = VanishedOperation(operation, tuple(sources))
    return tuple(vanished.values())


def _reads(operation: Any) -> tuple[str, ...]:
    """Return the names of the values that a coremltools ``Operation`` reads."""
    return tuple(value.name for value in values_read(operation))


def _module_path(operation: Any, tree: ModuleTree) -> str | None:
    return tree.resolve(module_scopes(operation))
