"""What a report says from the moment on at which a newer run begins in its place.

In: the folder of a report. Out: the same report with one reason more why it is not green. So a run
that is killed leaves no older page behind that looks current.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from harness.atomic import recover_set
from harness.errors import RunError
from harness.report.render import FILES, write_report
from harness.verdicts import Profile, Record, Run
from harness.verdicts.jsondata import read_document


def mark_overtaken(out_dir: Path, record: Record | None = None, *, started: str = "") -> None:
    """Say in the report in ``out_dir`` that a newer run has begun whose report will replace it.

    All of its files say so, and none of them is green any more. Where there is no report, none is
    made; where its run document can't be read, a report takes its place that says why.

    Args:
        out_dir: where the newer run will write its report.
        record: earlier runs that the old one is held against.
        started: when the newer run began, ISO 8601 in UTC; by default now.

    Raises:
        OSError: the folder can't be written; the old report stays.
    """
    recover_set(out_dir)
    if not any((out_dir / name).exists() for name in FILES):
        return
    try:
        run = read_document(out_dir / "run.json", Run.from_json)
    except RunError as error:
        nothing = Profile("unknown", layers=(), engines=())
        run = Run(nothing, (), gaps=(f"the report before it can't be read: {error}",))
    moment = started or datetime.now(timezone.utc).isoformat(timespec="seconds")
    write_report(replace(run, overtaken=moment), out_dir, record)
