"""A metric of operations is one entry of a list and one function: everything else follows by name.

If these fail, a new metric lacks its column, is refused by its own reader, or lends its colours to
another column.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from harness import mil
from harness.diagnosis.profile import COMPUTED, Seen, computes, profile_operations
from harness.precision.virtual import VirtualPrecision
from harness.report import render
from harness.verdicts import Profile, Run
from harness.verdicts.rows.artefacts import Artefacts
from harness.verdicts.rows.operations import OPERATION_METRICS, OperationMetric, OperationSeries
from harness.verdicts.schema import run_schema

NEW = OperationMetric(
    "mean_level_db",
    "level of the mean magnitude",
    "decibels",
    lower_is_worse=False,
    column="Mean level",
)
Table = dict[str, dict[str, tuple[str, int | None]]]


def mean_level_db(seen: Seen) -> float:
    return float(20 * seen.best.abs().mean().clamp(min=1e-12).log10())


@pytest.fixture
def series(
    monkeypatch: pytest.MonkeyPatch, small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> OperationSeries:
    """What a small FP16 package gives, with the new metric as the first of the list."""
    known = dict(OPERATION_METRICS)
    monkeypatch.setattr("harness.diagnosis.profile.COMPUTED", dict(COMPUTED))
    for name in known:
        monkeypatch.delitem(OPERATION_METRICS, name)
    for name, metric in {NEW.name: NEW, **known}.items():
        monkeypatch.setitem(OPERATION_METRICS, name, metric)
    computes(mean_level_db)
    half: mil.Model = small.model(small.fp32_for(()))
    found = tuple(profile.rounded() for profile in profile_operations(small.base, half, signal))
    return OperationSeries("x", "noise", "fp16", "mil", "storage", "FP32", found)


def table_of(run: Run) -> Table:
    """Return words and colour of each cell of the table by type: by column, then by line."""
    html = render(run)
    table = re.search(r"<table class=\"heats\">.*?</table>", html, re.DOTALL)
    assert table
    headings = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", table[0])[2:]
    found: Table = {heading: {} for heading in headings}
    for line in re.findall(r"<tr><th scope=\"row\">.*?</tr>", table[0]):
        name = re.findall(r"<code>([^<]*)</code>", line)[0]
        cells = re.findall(r"<td class=\"number heat\"([^>]*)>([^<]*)</td>", line)
        for heading, (attributes, words) in zip(headings, cells, strict=True):
            heat = re.search(r"--heat:(\d+)%", attributes)
            found[heading][name] = (words, int(heat[1]) if heat else None)
    return found


def test_a_new_metric_has_its_column_its_colour_and_its_place_in_the_schema(
    series: OperationSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Run(Profile("x"), (), artefacts=Artefacts(operations=(series,))).to_json()
    run = Run.from_json(written)
    assert run.damaged == ()
    assert run.artefacts.operations == (series,)
    cells = table_of(run)
    assert next(iter(cells)) == "Mean level"

    levels: dict[str, float] = {}
    for operation in series.operations:
        level = operation.metrics["mean_level_db"]
        assert level is not None
        levels[operation.type] = max(levels.get(operation.type, level), level)
    low, high = min(levels.values()), max(levels.values())
    assert high - low > 3, "a colour of one level says nothing"
    for name, level in levels.items():
        words, heat = cells["Mean level"][name]
        assert words.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-") == (
            f"{round(level, 1) + 0.0:.1f} dB"
        )
        assert heat == pytest.approx(70 * (level - low) / (high - low), abs=1)

    metrics = run_schema()["$defs"]["OperationProfile"]["properties"]["metrics"]["properties"]
    assert "mean_level_db" in metrics

    monkeypatch.delitem(OPERATION_METRICS, "mean_level_db")
    assert Run.from_json(written).damaged, "a metric that nobody knows was taken for one"
    kept = [{n: v for n, v in o.metrics.items() if n != "mean_level_db"} for o in series.operations]
    pairs = zip(series.operations, kept, strict=True)
    without = replace(series, operations=tuple(replace(o, metrics=m) for o, m in pairs))
    before = table_of(Run(Profile("x"), (), artefacts=Artefacts(operations=(without,))))
    assert before == {name: column for name, column in cells.items() if name != "Mean level"}
