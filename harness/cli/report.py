"""``parity report`` and ``parity baseline``: render runs again, hold one against another."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from harness.cli.console import Json, answer, out
from harness.cli.outputs import file_option, folder_option
from harness.errors import ParityError, RunError

if TYPE_CHECKING:
    from harness.verdicts import Changes, Movement, Record, Run

BASELINE = Path("reports", "baseline.json")
HISTORY = Path("reports", "history")
_SUMMARY: Final = "GITHUB_STEP_SUMMARY"
"""The variable in which GitHub names the file of a step's summary."""
_BENCHMARK: Final = re.compile(r"([\w.-]+/[\w.-]+):([\w.-]+)")

baselines = typer.Typer(
    help="The run that later runs are held against.",
    no_args_is_help=True,
    epilog="Example: parity baseline accept reports/latest/run.json --reason 'torch 2.13'",
)
RunFile = Annotated[Path, typer.Argument(metavar="RUN.json", help="A run document.")]
BaselineFile = Annotated[Path, typer.Option("--baseline", help="The file of the baseline.")]
Attach = Annotated[
    list[Path] | None,
    typer.Option(
        "--attach",
        help="A document of parity sensitivity, tune, headroom or conformance, or of nox -s "
        "bench; repeatable.",
    ),
]


commands = typer.Typer()
commands.add_typer(baselines, name="baseline")


@commands.command(
    "report",
    epilog="Examples: parity report reports/latest/run.json --out page; "
    "parity report before/run.json after/run.json --out page; "
    "parity report reports/latest/run.json --attach mini.json --out page; "
    "parity report reports/latest/run.json --parquet checks.parquet --github",
)
def report(
    run_files: Annotated[
        list[Path],
        typer.Argument(
            metavar="[BEFORE.json] RUN.json", help="A run; with an earlier one, what moved since."
        ),
    ],
    out_dir: Annotated[Path | None, folder_option("Folder for index.html and the rest.")] = None,
    parquet: Annotated[
        Path | None, file_option("Write every check as a row of this table.", option="--parquet")
    ] = None,
    model_card: Annotated[
        Path | None,
        file_option(
            "Write the front matter of a Hugging Face model card (.md) here.", option="--model-card"
        ),
    ] = None,
    eval_results: Annotated[
        Path | None,
        file_option("Write .eval_results/*.yaml of the Hub here.", option="--eval-results"),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME:TASK", help="The benchmark that --eval-results is of."),
    ] = None,
    github: Annotated[
        bool,
        typer.Option("--github", help="Print annotations, and append the summary to the job's."),
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help=f"A file of 'parity baseline accept', or none; {BASELINE} by default, if it is "
            "there."
        ),
    ] = None,
    history: Annotated[
        Path, typer.Option("--history", help="The folder of the runs that are remembered.")
    ] = HISTORY,
    attach: Attach = None,
    json: Json = False,
) -> None:
    """Render a run: as a page (with junit.xml and summary.md), and as records for other tools.

    With one run, changes are counted from the accepted baseline, if there is one; with two, from
    the first to the second. Attached documents are drawn, and kept in the run that is written
    beside the page.
    """
    from harness.report import write_report
    from harness.verdicts import Record, Snapshot, changes, record_of

    if len(run_files) > 2:
        raise ParityError(f"a report compares two runs, not {len(run_files)}")
    wanted = _Wanted(parquet, model_card, eval_results, benchmark, github)
    wanted.refuse(out_dir, json)
    run = read_run(run_files[-1], attach or ())
    record = record_of(baseline_file(baseline, BASELINE), history)
    if len(run_files) == 2:
        record = Record(Snapshot.of(read_run(run_files[0])), past=record.past)
    written = _write_records(run, wanted, record)
    if out_dir is not None:
        written = {"page": str(write_report(run, out_dir, record)), **written}
    document: dict[str, Any] = {**written, "verdict": run.verdict.value}
    if record.before is not None:
        document |= _counts(changes(record.before, Snapshot.of(run)))
    answer(json, document, lambda: out.print("\n".join([*written.values(), run.sentence()])))


@dataclass(frozen=True)
class _Wanted:
    """What was asked for beside the page; see the options of ``parity report``."""

    parquet: Path | None = None
    model_card: Path | None = None
    eval_results: Path | None = None
    benchmark: str | None = None
    github: bool = False

    def refuse(self, page: Path | None, as_json: bool) -> None:
        """Raise `ParityError` for what can't be done, before anything is read or written."""
        files = (page, self.parquet, self.model_card, self.eval_results)
        if not self.github and all(file is None for file in files):
            raise ParityError(
                "nothing to write: give --out, --parquet, --model-card, --eval-results or --github"
            )
        if self.github and as_json:
            raise ParityError("give --github or --json, not both: each prints to stdout")
        if (self.eval_results is None) != (self.benchmark is None):
            raise ParityError("give --eval-results and --benchmark, or neither")
        if self.benchmark is not None and not _BENCHMARK.fullmatch(self.benchmark):
            raise ParityError(
                f"--benchmark {self.benchmark!r} names no benchmark of the Hub; expected "
                "OWNER/NAME:TASK, as in its eval.yaml"
            )
        if self.parquet is not None:
            from harness.extras import require_extra

            require_extra("records", "--parquet")


def _write_records(run: Run, wanted: _Wanted, record: Record | None) -> dict[str, str]:
    """Write what is wanted, and return the path of each file by what it is."""
    from harness.atomic import write_text
    from harness.records import eval_results, model_index, write_table

    written = {}
    texts: list[tuple[str, Path, str]] = []
    if wanted.model_card is not None:
        name = wanted.model_card.stem if wanted.model_card.stem != "README" else "converted model"
        texts.append(("model_card", wanted.model_card, model_index(run, name)))
    if wanted.eval_results is not None and wanted.benchmark is not None:
        benchmark, _, task = wanted.benchmark.partition(":")
        texts.append(("eval_results", wanted.eval_results, eval_results(run, benchmark, task)))
    if wanted.parquet is not None:
        write_table(run, wanted.parquet)
        written["parquet"] = str(wanted.parquet)
    for name, path, text in texts:
        write_text(path, text)
        written[name] = str(path)
    if wanted.github:
        _tell_github(run, record)
    return written


def _tell_github(run: Run, record: Record | None) -> None:
    from harness.records import annotations_of
    from harness.report.summary import summary_markdown
    from harness.report.view import build_page

    for line in annotations_of(run):
        out.print(line, soft_wrap=True)
    summary = os.environ.get(_SUMMARY)
    if summary:
        with Path(summary).open("a", encoding="utf-8") as file:  # other steps' parts stay
            file.write(summary_markdown(build_page(run, record)) + "\n")


def baseline_file(given: Path | None, usual: Path) -> Path | None:
    """Return what a run is held against: what is given, if not ``none``, or the usual file.

    Only the usual one may be absent.
    """
    if given is None:
        return usual if usual.exists() else None
    return None if given == Path("none") else given


@baselines.command()
def accept(
    run_file: RunFile,
    reason: Annotated[str, typer.Option("--reason", help="Why this run is what to expect now.")],
    baseline: Annotated[
        Path, file_option("The file of the baseline.", option="--baseline")
    ] = BASELINE,
    json: Json = False,
) -> None:
    """Accept a run as the baseline; it must have passed."""
    from harness.atomic import write_text
    from harness.verdicts import Baseline, Snapshot, Verdict

    run = read_run(run_file)
    if not reason.strip():
        raise ParityError("--reason is empty; say why this run is what to expect from now on")
    if run.verdict is not Verdict.PASS:
        raise RunError(
            f"{run_file} is no baseline: {run.sentence()} Only a run that passed can be accepted"
        )
    snapshot = Snapshot.of(run)
    write_text(baseline, Baseline(snapshot, reason.strip()).to_json())
    checks = len(snapshot.readings)
    words = f"{baseline}: {checks} checks of {run_file}"
    answer(json, {"baseline": str(baseline), "checks": checks}, lambda: out.print(words))


@baselines.command()
def diff(
    run_file: RunFile,
    baseline: BaselineFile = BASELINE,
    json: Json = False,
) -> None:
    """Say what moved since the baseline; exit code 1 if a gating check got worse."""
    from harness.verdicts import EXIT_CODES, Baseline, Snapshot, Verdict, changes

    run, accepted = read_run(run_file), Baseline.read(baseline)
    found = changes(accepted.snapshot, Snapshot.of(run))
    counts = _counts(found)
    worse = [m for m in (*found.flipped, *found.moved, *found.removed) if m.worse]
    document = {**counts, "worse": [movement.id for movement in worse]}
    answer(json, document, lambda: _print_changes(found, worse, counts))
    if worse:
        raise typer.Exit(EXIT_CODES[Verdict.FAIL])


def _print_changes(
    found: Changes, worse: Sequence[Movement], counts: Mapping[str, Mapping[str, int]]
) -> None:
    for name, before, after in found.environment:
        out.print(f"environment: {name} was {before or '-'}, is {after or '-'}")
    for movement in worse:
        moved = "" if movement.moved_db is None else f" by {-movement.moved_db:.1f} dB"
        verdict = movement.after.verdict.value if movement.after else "no longer checked"
        verdict = "no longer gating" if movement.demoted else verdict
        out.print(f"worse{moved}: {movement.id} ({verdict.replace('_', ' ')})")
    compared = counts["compared"]
    out.print(f"compared with {compared['checks']} of {compared['of']} checks of the baseline")
    out.print(", ".join(f"{value} {name}" for name, value in counts["since"].items()))


def _counts(found: Changes) -> dict[str, dict[str, int]]:
    return {
        "since": {
            "verdicts changed": len(found.flipped),
            "moved": len(found.moved),
            "under another gate": len(found.regated),
            "new": len(found.added),
            "gone": len(found.removed),
            "unmoved": found.unmoved,
        },
        "compared": {"checks": found.compared, "of": found.total},
    }


def read_run(path: Path, attached: Sequence[Path] = ()) -> Run:
    """Return the run in the file at ``path``, with the documents that are attached to it.

    Raises:
        RunError: there is none, or one of them can't be read.
    """
    from harness.verdicts import Run
    from harness.verdicts.jsondata import read_document
    from harness.verdicts.rows.documents import read_attachment

    run = read_document(path, Run.from_json)
    return replace(run, artefacts=run.artefacts.plus(map(read_attachment, attached)))
