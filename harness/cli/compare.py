"""``parity compare``: a verdict on two sets of tensors or stems, with the cause of what fails.

Where the first of them is a pack, its own tolerances judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.console import (
    Json,
    answer,
    decibels,
    listed,
    mark_page,
    out,
    print_failures,
    print_table,
    progress,
    verdict_text,
    write_page,
)
from harness.cli.settings import Page, number_option
from harness.errors import NotEvaluatedError, ParityError, UnknownNameError

if TYPE_CHECKING:
    from harness.comparison import ComparisonRow
    from harness.verdicts import Run
    from harness.verdicts.collector import Collector
    from harness.verdicts.rows.scores import Scores

_EXAMPLES = (
    "Examples: parity compare golden/tensors/mini/song.safetensors mine.safetensors; "
    "parity compare stems_pytorch/ stems_swift/ --min-snr 60; "
    "parity compare true_stems/ separated/ --scores; "
    "parity compare golden.npz mine.npz --only 'tap.*' --gate surgery; "
    "parity compare reference.wav mine.flac --resample --downmix --report out/; "
    "parity compare packs/ops results/ --only 'conv*' --forward. "
    "What judges what, and the causes that are told: docs/comparing.md; packs: docs/packs.md. "
    "Exit code 3: a pack's required tensor is missing, or nothing is left to compare."
)


commands = typer.Typer()


@commands.command("compare", epilog=_EXAMPLES)
def compare_files(
    expected: Annotated[Path, typer.Argument(help="The reference: file, folder or pack.")],
    actual: Annotated[Path, typer.Argument(help="The candidate: file or folder.")],
    rtol: Annotated[float | None, number_option("Relative tolerance; needs --atol.")] = None,
    atol: Annotated[float | None, number_option("Absolute tolerance; needs --rtol.")] = None,
    min_snr: Annotated[float | None, number_option("SNR in dB that must be exceeded.")] = None,
    gate: Annotated[
        str | None, typer.Option(help="A gate of the table judges everything, e.g. surgery.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Names to compare (repeatable).")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Names to leave out (repeatable).")
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Resample a candidate of another sample rate.")
    ] = False,
    downmix: Annotated[
        bool, typer.Option("--downmix", help="Average channels where their numbers differ.")
    ] = False,
    scores: Annotated[
        bool, typer.Option("--scores", help="Add the scores that separation is published with.")
    ] = False,
    forward: Annotated[
        bool, typer.Option("--forward", help="Of a pack, judge outputs alone, no gradients.")
    ] = False,
    report: Page = None,
    json: Json = False,
) -> None:
    """Compare tensors, audio files, or folders of them, each by the gate of its kind.

    With a pack as the reference, the results of an implementation are judged by its tolerances.
    """
    from harness.packs.manifest import TSV_NAME

    if (expected / TSV_NAME).is_file():  # what every pack has
        others = (rtol, atol, min_snr, gate, ignore, resample, downmix, scores)
        if any(option is not None and option is not False for option in others):
            raise ParityError(
                f"{expected} is a pack, which says its own tolerances: beside it only --only, "
                "--forward, --report and --json can be given"
            )
        from harness.cli.judged import judge_results
        from harness.packs import Request, open_pack

        request = Request(tuple(only or ()), forward)
        run = judge_results(open_pack(expected), actual, request, None, report, json=json)
        raise typer.Exit(run.exit_code)
    if forward:
        raise ParityError(f"--forward is for packs, and {expected} is none")
    from harness.comparison import (
        ComparisonRequest,
        chosen_gate,
        judge,
        pair_up,
        published_scores,
        read_side,
    )
    from harness.verdicts import Profile
    from harness.verdicts.collector import Collector

    how = ComparisonRequest(chosen_gate(rtol, atol, min_snr, gate), resample, downmix, _sources)
    if expected.exists() and actual.exists() and expected.is_dir() != actual.is_dir():
        raise ParityError(f"{expected} and {actual} must both be files or both be folders")
    pairs = pair_up(read_side(expected), read_side(actual))
    names = [pair.name for pair in pairs]
    for glob in only or ():
        if not any(_matches(name, glob) for name in names):
            raise UnknownNameError("name", glob, names)
    kept = [pair for pair in pairs if _wanted(pair.name, only, ignore)]
    ignored = [pair.name for pair in pairs if pair not in kept]
    if not kept:
        raise NotEvaluatedError(
            f"nothing is left to compare: --only and --ignore leave out all {len(pairs)} "
            f"({listed(ignored, 5)})"
        )
    for pair in kept:
        for item in (pair.expected, pair.actual):
            if isinstance(item, ParityError):
                raise ParityError(f"{item}; --ignore leaves it out") from item
    mark_page(report)
    asked = {"only": only or (), "all but": ignore or ()}
    narrowed = tuple(f"{word} {', '.join(globs)}" for word, globs in asked.items() if globs)
    collector = Collector(Profile("compare", (), (), narrowed=narrowed))
    findings: list[ComparisonRow] = []
    with progress("comparing") as advance:
        for done, pair in enumerate(kept):
            advance(done, len(kept))
            findings += judge(pair, pairs, how)
    from harness.verdicts.jsondata import plain

    scored = published_scores(kept, _sources) if scores else ()
    run = _run(collector, findings, ignored, scored)
    write_page(run, report)
    document = {
        "verdict": run.verdict.value,
        "checks": [_row(finding) for finding in findings],
        "ignored": ignored,
        "scores": [plain(row.actual) for row in scored],
    }
    answer(json, document, lambda: _print(run, findings, ignored, scored))
    raise typer.Exit(run.exit_code)


def _sources(count: int) -> Sequence[str]:
    from harness.subjects.names import FOUR_SOURCES, SIX_SOURCES

    return {len(FOUR_SOURCES): FOUR_SOURCES, len(SIX_SOURCES): SIX_SOURCES}.get(count, ())


def _wanted(name: str, only: list[str] | None, ignore: list[str] | None) -> bool:
    if only and not any(_matches(name, glob) for glob in only):
        return False
    return not any(_matches(name, glob) for glob in ignore or ())


def _matches(name: str, glob: str) -> bool:
    """Whether a glob fits a whole name, or the tensor's own name within a file or folder."""
    short = name.rpartition(":")[2].rpartition("/")[2]
    return fnmatchcase(name, glob) or fnmatchcase(short, glob)


def _run(
    collector: Collector,
    findings: Sequence[ComparisonRow],
    ignored: Sequence[str],
    scored: Sequence[Scores],
) -> Run:
    from harness.origin import provenance
    from harness.verdicts import Check

    for finding in findings:
        labels = {"tensor": finding.name, "stem": finding.stem}
        place = "what" if finding.what == "worst second" else "channel"
        labels[place] = finding.what
        given = {name: text for name, text in labels.items() if text}
        collector.checks.append(Check(finding.layer, given, True, finding.gate, finding.outcome))
    collector.keep(*scored)
    return collector.finish(provenance(ignored=list(ignored)))


def _row(finding: ComparisonRow) -> dict[str, Any]:
    from harness.verdicts.jsondata import plain

    cause = finding.cause
    outcome: dict[str, Any] = plain(finding.outcome)
    return {
        "tensor": finding.name,
        "stem": finding.stem,
        "what": finding.what,
        "gate": {"name": finding.gate.name, "bounds": finding.gate.describe()},
        "cause": None if cause is None else vars(cause),
        "notes": list(finding.notes),
    } | outcome


def _print(
    run: Run,
    findings: Sequence[ComparisonRow],
    ignored: Sequence[str],
    scored: Sequence[Scores],
) -> None:
    from harness.verdicts import Verdict

    table = [
        (
            finding.name,
            " ".join(text for text in (finding.stem, finding.what) if text),
            verdict_text(finding.outcome.verdict),
            f"{finding.gate.name}: {finding.gate.describe()}",
            finding.outcome.observed,
            decibels(finding.outcome.headroom_db),
        )
        for finding in findings
        if not finding.lacking
    ]
    columns = ("tensor", "part", "verdict", "gate", "observed", "headroom")
    if table:
        print_table("Compared", columns, table, right=(5,))
    for note in _shared((text, row.name) for row in findings for text in row.notes):
        out.print(f"note: {note}")
    if scored:
        _print_scores(scored)
    failures = _shared((row.outcome.reason, row.name) for row in findings if row.lacking)
    bad = [row for row in findings if row.outcome.verdict is not Verdict.PASS and not row.lacking]
    for row in _telling(bad):
        where = " ".join(text for text in (row.name, row.stem, row.what) if text)
        failures.append(f"{where}: {row.outcome.reason}")
    print_failures(failures)
    if ignored:
        out.print(f"ignored: {len(ignored)} ({listed(ignored)})")
    out.print(f"{run.verdict.value.replace('_', ' ').upper()}: {run.headline()}.")


def _shared(said: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each text, with the first of the names that it is said of."""
    names: dict[str, dict[str, None]] = {}  # each once: a stem's rows have its notes
    for text, name in said:
        names.setdefault(text, {})[name] = None
    return [f"{listed(list(mine))}: {text}" for text, mine in names.items()]


def _print_scores(scored: Sequence[Scores]) -> None:
    columns = ("stem", "SDR", "ISR", "SIR", "SAR", "sources SDR", "SIR", "SAR", "distance")
    table = []
    for row in (scores.actual for scores in scored):
        ratios = (row.sdr_db, row.isr_db, row.sir_db, row.sar_db)
        sources = (row.source_sdr_db, row.source_sir_db, row.source_sar_db)
        place = "-" if row.delay_samples is None else f"{row.delay_samples:+.3f}"
        gain = "-" if row.gain is None else f"{row.gain:.4f}"
        numbers = map(decibels, (*ratios, *sources, row.distance_db))
        table.append((row.stem, *numbers, place, gain, decibels(row.null_db)))
    title = "Scores, gating nothing: medians over seconds, and bss_eval_sources"
    print_table(title, (*columns, "delay", "gain", "null"), table, right=tuple(range(1, 12)))


def _telling(bad: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Return the rows whose reason says more than the table: the first of a stem, and the second
    in which it is worst."""
    firsts = {(row.name, row.stem): row for row in reversed(bad)}
    return [row for row in bad if row is firsts[row.name, row.stem] or row.what == "worst second"]
