"""The options of a parity run, and what they ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import RunError
from harness.profiles import GOLDEN_ROOT, chosen_profile
from harness.verdicts import Profile, Record, Waiver, read_baseline, read_waivers, recall
from harness.verdicts.artefacts import Attachment
from harness.verdicts.attachments import read_attachment


def add_options(parser: pytest.Parser) -> None:
    """Add the options of a parity run."""
    group = parser.getgroup("parity", "parity run")
    group.addoption("--parity-out", type=Path, metavar="DIR", help="write run.json and report here")
    group.addoption(
        "--parity-history", type=Path, metavar="DIR", help="remember the run in this folder"
    )
    group.addoption(
        "--parity-baseline", type=Path, metavar="FILE", help="the accepted baseline, if it is there"
    )
    group.addoption(
        "--parity-waivers", type=Path, metavar="FILE", help="failures that are accepted for a while"
    )
    group.addoption(
        "--parity-attach",
        action="append",
        type=Path,
        metavar="FILE",
        help="a document of parity sensitivity, tune or headroom for the report (repeatable)",
    )
    group.addoption(
        "--parity-audio", action="store_true", help="keep short excerpts of stems to be heard"
    )
    group.addoption(
        "--subject", action="append", metavar="S", help="subject under proof (repeatable)"
    )
    group.addoption("--recipe", action="append", metavar="P", help="precision recipe (repeatable)")
    group.addoption("--case", action="append", metavar="C", help="only these cases (repeatable)")
    group.addoption(
        "--require", action="append", metavar="ENGINE", help="an engine that must have executed"
    )
    group.addoption(
        "--golden-root", type=Path, metavar="DIR", help="golden folder (default: golden)"
    )


def profile_of(config: pytest.Config) -> Profile:
    """Return what this invocation sets out to evaluate."""
    return chosen_profile(
        subjects=config.getoption("--subject") or (),
        cases=config.getoption("--case") or (),
        recipes=config.getoption("--recipe") or (),
        engines=config.getoption("--require") or (),
    )


def golden_root(config: pytest.Config) -> Path:
    """Return the folder with the golden recipes that this invocation uses."""
    given: Path | None = config.getoption("--golden-root")
    return given or config.rootpath / GOLDEN_ROOT


def waivers_of(config: pytest.Config) -> tuple[Waiver, ...]:
    """Return the failures that this invocation accepts."""
    file: Path | None = config.getoption("--parity-waivers")
    try:
        return read_waivers(file) if file else ()
    except RunError as error:
        raise pytest.UsageError(str(error)) from error


def record_of(config: pytest.Config) -> Record:
    """Return what the report of this invocation is held against, read before any test runs."""
    folder: Path | None = config.getoption("--parity-history")
    file: Path | None = config.getoption("--parity-baseline")
    try:
        past = recall(folder) if folder else ()
        if file is None or not file.exists():
            return Record(past=past)
        baseline = read_baseline(file)
    except RunError as error:
        raise pytest.UsageError(str(error)) from error
    return Record(baseline.snapshot, baseline.reason, past)


def attachments_of(config: pytest.Config) -> list[Attachment]:
    """Return the documents that the report of this invocation gets."""
    files: list[Path] = config.getoption("--parity-attach") or []
    try:
        return [read_attachment(file) for file in files]
    except RunError as error:
        raise pytest.UsageError(str(error)) from error
