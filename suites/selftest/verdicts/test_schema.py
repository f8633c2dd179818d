"""The published schema: what readers in other languages rely on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jsonschema
import pytest

from harness.verdicts import (
    GATES,
    Check,
    EngineState,
    GoldenState,
    Outcome,
    Profile,
    Run,
    Verdict,
    not_evaluated,
)
from harness.verdicts.rows.artefacts import ROW_CLASSES, Damaged
from harness.verdicts.schema import run_schema
from suites.selftest.report.figure_rows import figure_rows
from suites.selftest.report.run_rows import run_rows

PUBLISHED = Path("docs", "run.schema.json")


def full_run() -> Run:
    """A run with every kind of value that a document can hold."""
    exact = Outcome(Verdict.PASS, "", "a", "b", math.inf, 0.0, {"snr_db": math.nan, "at": [1, 2]})
    gate = GATES["conversion"]
    return Run(
        Profile("parity", subjects=("mini",), recipes=("fp32",), cases={"mini": ("song",)}),
        (
            Check("conversion", {"subject": "mini"}, True, gate, exact, 0.5, "pytest x"),
            Check("ops", {"what": "y"}, True, None, not_evaluated("no engine")),
        ),
        engines=(EngineState("mil", True, "", "1", True),),
        goldens=(GoldenState("mini", "song", "match", "", "00"),),
        problems=("a worker died",),
        gaps=("a test was skipped",),
        artefacts=run_rows().plus(figure_rows()),
        damaged=(Damaged("run.artefacts.quality[0]", "no row"),),
        provenance={"versions": {"torch": "2.13"}},
        started="2026-01-01T00:00:00+00:00",
    )


def test_the_published_schema_is_that_of_this_program() -> None:
    """A reader that was written against the file must not meet another document."""
    assert json.loads(PUBLISHED.read_text("utf-8")) == run_schema(), (
        "write it again: python -m harness.verdicts.schema > docs/run.schema.json"
    )


def test_a_full_run_is_valid() -> None:
    """Otherwise the schema promises what the program does not write."""
    held = full_run().artefacts
    assert [kind for kind in ROW_CLASSES if not getattr(held, kind)] == []
    jsonschema.Draft202012Validator.check_schema(run_schema())
    jsonschema.validate(json.loads(full_run().to_json()), run_schema())


@pytest.mark.parametrize(
    "path",
    [
        ("verdict",),
        ("checks", 0, "outcome", "verdict"),
        ("profile", "name"),
        ("schema_version",),
        ("artefacts", "operations", 0, "operations", 0, "metrics", "snr_db"),
        ("artefacts", "operations", 0, "operations", 0, "metrics", "no_metric"),
        ("artefacts", "error_counts", 0, "cells", 0),
        ("artefacts", "audio_clip", 0, "media_type"),
        ("artefacts", "sensitivity", 0, "operations", 0, "share"),
        ("artefacts", "conformance", 0, "operations", 0, "passed"),
        ("artefacts", "no_kind"),
    ],
)
def test_a_document_with_another_value_is_not(path: tuple[str | int, ...]) -> None:
    """A schema that accepts everything would protect nobody."""
    document = json.loads(full_run().to_json())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = {"not": "this"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, run_schema())
