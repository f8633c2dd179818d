"""The records that ``parity report`` writes beside a page: what was asked for, and the files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.cli.console import out
from harness.errors import ParityError

if TYPE_CHECKING:
    from harness.verdicts import Record, Run

SUMMARY: Final = "GITHUB_STEP_SUMMARY"
"""The variable in which GitHub names the file of a step's summary."""
_BENCHMARK: Final = re.compile(r"([\w.-]+/[\w.-]+):([\w.-]+)")


@dataclass(frozen=True)
class Wanted:
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


def write_records(run: Run, wanted: Wanted, record: Record | None) -> dict[str, str]:
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
    summary = os.environ.get(SUMMARY)
    if summary:
        with Path(summary).open("a", encoding="utf-8") as file:  # other steps' parts stay
            file.write(summary_markdown(build_page(run, record)) + "\n")
