"""What ``parity faults --mutations`` and ``parity faults --clean-runs N`` do.

The first mutates every operation of the converted program and says what share is caught; the second
evaluates sound packages on fresh inputs and says how close the gates came to a false alarm.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.text import Text

from harness.cli.console import (
    answer,
    decibels,
    log,
    out,
    print_table,
    progress,
    verdict_text,
    write_document,
)
from harness.faults.clean import CleanResult, run_clean
from harness.faults.mutation import CampaignResult, MutationTarget, run_campaign
from harness.faults.mutation.results import STATUSES
from harness.verdicts import EXIT_CODES
from harness.workbench import Workbench

RECIPE = "fp32"


def mutations(
    subject: str,
    golden_root: Path,
    *,
    jobs: int | None = None,
    every: int = 1,
    folder: Path | None = None,
    json: bool = False,
) -> int:
    """Run the campaign, print what it found, and return the exit code.

    Args:
        subject: the model.
        golden_root: the golden folder.
        jobs: number of processes; one for each core by default.
        every: mutate only each so many-th operation.
        folder: where the JSON document is written; nowhere by default.
        json: print the document instead of tables.
    """
    with tempfile.TemporaryDirectory(prefix="parity-mutations-") as scratch:
        package = Workbench(golden_root, Path(scratch)).packages.path(subject, RECIPE)
        target = MutationTarget(package, golden_root, subject)
        with progress("mutating") as bar:
            last = ""

            def advance(what: str, done: int, total: int) -> None:
                nonlocal last
                if what != last:
                    last = what
                    log.print(f"on {what}")
                bar(done, total)

            workers = jobs or os.cpu_count() or 1
            result = run_campaign(target, recipe=RECIPE, jobs=workers, every=every, advance=advance)
    return _finish(result, folder and folder / "mutations.json", json, lambda: _print(result))


def clean_runs(
    subject: str,
    golden_root: Path,
    *,
    runs: int,
    folder: Path | None = None,
    json: bool = False,
) -> int:
    """Evaluate clean runs, print how close the closest came, and return the exit code.

    Args:
        subject, golden_root, folder, json: as in `mutations`.
        runs: how many.
    """
    with tempfile.TemporaryDirectory(prefix="parity-clean-") as scratch:
        package = Workbench(golden_root, Path(scratch)).packages.path(subject, RECIPE)
        with progress("clean runs") as advance:
            result = run_clean(package, subject, runs=runs, advance=advance)
    return _finish(
        result, folder and folder / "clean-runs.json", json, lambda: _print_clean(result)
    )


def _finish(
    result: CampaignResult | CleanResult, path: Path | None, json: bool, show: Callable[[], None]
) -> int:
    document = result.to_dict()
    write_document(path, document)
    if path is not None:
        log.print(f"document: {path}")
    answer(json, document, show)
    return EXIT_CODES[result.verdict]


def _print(result: CampaignResult) -> None:
    document = result.to_dict()
    rows = [
        (name, *(row.get(status, "") for status in STATUSES))
        for name, row in document["by_type"].items()
    ]
    rows.append(("all", *(document["statuses"].get(status, 0) for status in STATUSES)))
    print_table("Mutants by operation type", ("type", *STATUSES), rows, right=(1, 2, 3, 4, 5))
    seen = [(check, count) for check, count in document["by_check"].items()]
    print_table("What killed them", ("check", "mutants"), seen, right=(1,))
    left = [
        (m.type, m.operation, m.change, m.status, decibels(min(c.snr_db for c in m.changes)))
        for m in result.unseen()
    ]
    columns = ("type", "operation", "change", "status", "outputs unchanged to")
    print_table("What no check saw", columns, left, right=(4,))
    score = "-" if result.score is None else f"{100 * result.score:.2f} %"
    sentence = (
        f": mutation score {score}: so many of the mutants that change an output by more than its "
        f"tolerance were killed ({result.count('survived')} survived)"
    )
    out.print(verdict_text(result.verdict) + sentence)


def _print_clean(result: CleanResult) -> None:
    rows = []
    for environment in result.environments:
        runs = [run for run in result.runs if run.environment == environment.name]
        facts = runs[0].facts if runs else {}
        closest = {
            layer: min(run.headroom_db[layer] for run in runs)
            for layer in (runs[0].headroom_db if runs else {})
        }
        rows.append(
            (
                environment.name,
                facts.get("cpu_capability", ""),
                result.bits.get(environment.name, "")[:8],
                len(runs),
                sum(bool(run.alarms) for run in runs),
                *(decibels(value) for value in closest.values()),
            )
        )
    layers = list(result.closest)
    columns = ("environment", "PyTorch's kernels", "bits", "runs", "alarms", *layers)
    print_table("Smallest headroom", columns, rows, right=tuple(range(3, len(columns))))
    for run in result.runs:
        for alarm in run.alarms:
            out.print(Text("alarm", "red") + f" {run.environment}, {run.input}: {alarm}")
    counts = f": {result.alarms} alarms in {len(result.runs)} runs"
    out.print(verdict_text(result.verdict) + counts)
