"""``parity tune --device``: the forms in which a device computes a network with less error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from harness.cli.console import answer, decibels, json_text, log, out, print_table

if TYPE_CHECKING:
    import torch

    from harness.precision.tuning.forms import FormSearch


def tune_forms(
    subject: str,
    devices: Sequence[str],
    inputs: Mapping[str, Mapping[str, torch.Tensor]],
    target: Path,
    package: Path | None,
    min_snr: float,
    max_more_operations: float,
    approximate: bool,
    json: bool,
) -> NoReturn:
    """Search forms, write recipe, passes and document, and exit with the verdict."""
    from harness.atomic import write_texts
    from harness.conversion import convert_to_coreml, trace_inner_model
    from harness.errors import ParityError
    from harness.subjects import load_subject
    from harness.verdicts import EXIT_CODES, Verdict
    from harness.workbench.rewriting import passes_source, recipe_of, search_forms

    if subject.endswith(".mlpackage"):
        raise ParityError(
            f"{subject} can't be written in other forms: a conversion applies them; give the "
            "subject that it was converted from"
        )
    log.print(f"opening {subject}")
    found = search_forms(
        subject,
        devices,
        inputs,
        min_snr_db=min_snr,
        max_more_operations=max_more_operations,
        report=log.print,
        approximate=approximate,
    )
    recipe = recipe_of(found, target.stem, subject)
    document = {"subject": subject, **found.to_dict()}
    if package is not None:
        loaded = load_subject(subject)
        convert_to_coreml(
            trace_inner_model(loaded.extract()),
            recipe=recipe,
            out=package,
            subject=loaded.name,
            fingerprint=loaded.fingerprint,
        )
    texts = {
        target.name: recipe.to_toml(),
        f"{target.stem}.py": passes_source(recipe),
        f"{target.stem}.json": json_text(document) + "\n",
    }
    write_texts(target.parent, texts)
    answer(json, document, lambda: _print_forms(found, target))
    raise typer.Exit(EXIT_CODES[Verdict.PASS if found.reached else Verdict.FAIL])


def _print_forms(found: FormSearch, target: Path) -> None:
    rows = [
        (
            ", ".join(trial.rewrites) or "as it was",
            str(trial.operations),
            decibels(trial.worst_db),
            ", ".join(trial.supposed) or "as it is",
        )
        for trial in found.trials
    ]
    print_table("forms that were tried", ("rewritten", "operations", "worst", "device"), rows)
    levels = [
        (key, decibels(found.plain.measured_db[key]), decibels(level))
        for key, level in found.best.measured_db.items()
    ]
    print_table("predicted, all in FP16", ("device/case/output", "as it was", "rewritten"), levels)
    equal = min(found.equal_db.values())
    out.print(f"in FP32, rewritten beside as it was: {decibels(equal)}")
    if not found.within:
        out.print(f"{found.best.operations} operations are more than are allowed")
    if found.best.worst_db <= found.min_snr_db:
        print_table(
            f"{found.min_snr_db:g} dB are not reached; the worst output would have",
            ("if the device had", "worst"),
            [(name, decibels(level)) for name, level in found.limits.items()],
        )
    for otherwise, level in found.risks.items():
        out.print(
            f"weights_with_gain counts on how sums are cut, which nothing published settles: with "
            f"{otherwise} the worst output has {decibels(level)}; parity kit can tell"
        )
    out.print(f"recipe {target}, passes {target.with_suffix('.py')}")
