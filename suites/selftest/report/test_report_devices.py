"""If these fail, the page tells of a device what was not predicted, or hides what it rests on."""

from __future__ import annotations

from dataclasses import replace

from harness.report import render
from harness.report.view_devices import device_tables
from harness.verdicts import Run
from harness.verdicts.rows.artefacts import Artefacts
from suites.selftest.report.run_rows import STEMS, device_row, device_rows

HOSTILE = '"><script>alert(1)</script>'


def of_devices(run: Run, *rows: object) -> Run:
    return replace(run, artefacts=Artefacts().plus(rows))


def test_devices_of_one_signal_stand_in_one_table(run: Run) -> None:
    (table,) = device_tables(of_devices(run, *device_rows()))
    assert table.names == STEMS
    assert [row.numerics for row in table.rows] == ["ane-m1", "gpu", "ane-m1, split worst"]
    assert [row.dominant for row in table.rows] == ["tables", "tables", ""]
    assert sorted(row.numerics for row in table.profiles) == ["ane-m1", "gpu"]


def test_the_page_shows_level_band_cause_and_claims(run: Run) -> None:
    html = render(of_devices(run, *device_rows()))
    section = html.partition('<section id="devices"')[2].partition("</section>")[0]
    for text in ("45.0", "40.5", "46.0", "captured", "58.5", "tables", "the worst of all"):
        assert text in section
    assert "1 measured, 1 inferred, 1 open" in section
    assert "they gate nothing" in section


def test_a_run_without_devices_has_no_such_section(run: Run) -> None:
    assert '<section id="devices"' not in render(of_devices(run))


def test_names_from_a_stranger_s_profile_stay_text(run: Run) -> None:
    assert "<script>alert" not in render(of_devices(run, device_row(HOSTILE)))
