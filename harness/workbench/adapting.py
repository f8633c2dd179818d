"""Packages of other converters on their way into `check`, `separate`, `diagnose` and the lab.

An adapter lies beside its package; where one does, the package is shown in it, and whoever asks
gets the contract's inputs and outputs (`harness.adapters`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from harness import mil
from harness.adapters import (
    AdaptedModel,
    Adapter,
    Guess,
    Sizes,
    adapter_beside,
    guess_adapter,
)
from harness.adapters.view import package_shapes
from harness.conversion import (
    PrecisionRecipe,
    audit_package,
    load_recipe,
    precision_map,
)
from harness.errors import ParityError, command_line, one_line
from harness.golden.builder import case_signal, network_inputs, observe_segment
from harness.layers import Tensors, audit_check, contract_check, lint_check
from harness.lint import lint_package
from harness.mil import Model
from harness.subjects import Network, Subject, describe_subject, load_subject, run_extracted
from harness.verdicts import Check, gate, not_evaluated
from harness.verdicts.rows.packages import Explanation, Step
from harness.workbench.papers import describe_package
from harness.workbench.predictions import Prediction
from harness.workbench.sources.cases import find_cases

ROUNDED: Final = PrecisionRecipe("rounded", "fp16", gating=True)
"""Of a package in FP32 that takes or returns FP16: 110 dB are out of its reach."""
_OTHERWISE: Final = (
    "in another converter's layout, so it isn't compared with a fresh conversion operation by "
    "operation"
)


def adapted(model: Model, network: Network) -> AdaptedModel | None:
    """Return a package in the adapter that lies beside it; None if none does.

    Raises:
        ParityError: the adapter can't be read, or isn't one of this package and network.
    """
    adapter = adapter_beside(model.package.path)
    return None if adapter is None else AdaptedModel(model, adapter, Sizes.of(network))


def adapter_words(package: Path) -> tuple[str, ...]:
    """Return what the adapter beside a package says; nothing if there is none."""
    adapter = adapter_beside(package)
    if adapter is None:
        return ()
    return *adapter.words(), f"it shows {', '.join(adapter.shows)}, and is {_OTHERWISE}"


def find_layout(
    package: Path,
    subject: str,
    golden_root: Path,
    *,
    case: str = "song",
    known: Adapter | None = None,
    numerics: str = "storage",
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Guess, dict[str, np.ndarray]]:
    """Return the layout of a package, confirmed by running it beside PyTorch, and its own inputs.

    Args:
        package: the ``.mlpackage``.
        subject: the single model that it was converted from.
        golden_root: the folder with ``recipes.toml``.
        case: as `find_cases` takes it.
        known: an adapter to be confirmed in the place of all candidates.
        numerics: how the executor computes.
        advance: called as ``advance(done, total)`` with numbers of runs.

    Raises:
        ContractError: no layout explains the package, or several do.
        ParityError: the package, the subject or the case can't be used.
    """
    chosen, outline = find_cases([case], golden_root)[case], describe_subject(subject)
    model, sizes = mil.load(package), Sizes.of(outline)
    shapes, loaded = package_shapes(model), load_subject(subject)
    signal, _ = case_signal(chosen, outline)
    arrays = network_inputs(outline, signal) | observe_segment(loaded, signal, taps=False)
    golden = {name: torch.from_numpy(value) for name, value in arrays.items()}
    half = {f.name for f in model.inputs if f.dtype is mil.DataType.FLOAT16}

    def run(inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        given = {n: v.half().float() if n in half else v for n, v in inputs.items()}
        made = model.run(given, numerics=numerics)
        return {name: value.float() for name, value in made.items()}

    both = shapes["inputs"], shapes["outputs"]
    found = guess_adapter(*both, run, golden, sizes, known=known, advance=advance)
    return found, AdaptedModel(model, found.adapter, sizes).own_inputs(arrays)


def declared_recipe(model: Model) -> PrecisionRecipe | None:
    """Return FP32 where all of a program is; None where it isn't, and nobody says what it is."""
    counts = precision_map(model.package)
    narrow = sum(found.get("fp16", 0) for kind, found in counts.items() if kind != "cast")
    return None if narrow else load_recipe("fp32")


def check_recipe_of_stranger(package: Path, recipe: PrecisionRecipe, subject: str) -> None:
    """Check that what a recipe costs can be predicted by the subject's own conversion.

    Raises:
        ParityError: it speaks of operations that another package has.
    """
    if not recipe.is_for(subject):
        tuned = ", ".join(recipe.subjects)
        given = ("--reference", "X32.mlpackage", "--inputs", "in.safetensors")
        beside = command_line("check", package, *given)
        raise ParityError(
            f"recipe {recipe.name!r} was made for {one_line(tuned, 120)}, and a conversion of "
            "the subject has other operations; 'parity adapt --inputs-out' writes inputs, with "
            f"which the package is judged beside that one: {beside}"
        )


def stranger_checks(
    view: AdaptedModel,
    recipe: PrecisionRecipe | None,
    labels: Mapping[str, str],
) -> Iterator[Check]:
    """Judge the papers of a package in an adapter: its layout, its precision, what Core ML takes.

    Its program and its constants have no counterpart to be held against: that is said, and gates
    nothing. What they compute is judged by numbers.
    """
    yield contract_check(None, labels)
    yield audit_check(None if recipe is None else audit_package(view.model, recipe), labels)
    for name in ("program", "weights"):
        where = {**labels, "what": name}
        yield Check("conversion", where, False, gate(name), not_evaluated(_OTHERWISE))
    yield lint_check(lint_package(view.model, modules=None), labels)


def stranger_rows(
    view: AdaptedModel, recipe: PrecisionRecipe | None, subject: str
) -> Iterator[object]:
    """Yield what the report shows of a package in an adapter."""
    question = "How do its inputs and outputs map to the model contract?"
    shown = ", ".join(view.adapter.shows)
    answer = f"By the adapter beside it, which shows {shown}; {_OTHERWISE}."
    yield Explanation((Step(question, answer, view.adapter.words()),), ())
    if recipe is not None:
        yield describe_package(subject, audit_package(view.model, recipe), recipe)


def to_be_shown(
    view: AdaptedModel, subject: Subject, golden: Tensors, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return what PyTorch makes of all that a package in an adapter shows.

    A package that takes FP16 is held to what PyTorch makes of the inputs that it is given.

    Args:
        view: the package.
        subject: the single model.
        golden: what PyTorch made of ``inputs``.
        inputs: the contract's.
    """
    names = (*subject.network.interface.outputs, "stems")
    values = {name: golden[name] for name in names}
    if view.half_inputs:
        seen = {name: torch.from_numpy(value) for name, value in view.seen(inputs).items()}
        made = run_extracted(subject.extract(), seen)
        values = {name: value.numpy() for name, value in made.items()}
        values["stems"] = subject.network.stems_of(values)
    return {**values, **view.expected(values)}


def allowed(
    view: AdaptedModel,
    run: Callable[[Mapping[str, np.ndarray]], Prediction],
    inputs: Mapping[str, np.ndarray],
) -> Prediction:
    """Return what a package's precision, and the types at its border, allow it to show.

    Args:
        view: the package.
        run: a virtual run of its recipe, on the contract's inputs.
        inputs: the contract's.
    """
    seen = view.seen(inputs)
    made = run(seen)
    shown = view.expected({**seen, **made.tensors})
    if view.half_outputs:
        with np.errstate(over="ignore"):
            shown = {n: value.astype(np.float16).astype(np.float32) for n, value in shown.items()}
    return replace(made, outputs=shown, taps={})
