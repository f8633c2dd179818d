"""The figures: what they say, that they can be trusted, and that no row can break the page.

If these fail, a reader is shown another operation, stem or moment than the one that is wrong, or a
run from a stranger takes the page over.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RunError
from harness.report import render
from harness.report.chart import Chart, ticks
from harness.report.raster import palette, source
from harness.report.summary import summary_markdown
from harness.report.units import db
from harness.report.view import build_page
from harness.report.view_sound import SoundView, extent_db, worst_stretch
from harness.verdicts import Profile, Run
from harness.verdicts.jsondata import plain, restored
from harness.verdicts.rows.artefacts import ROW_CLASSES, Artefacts
from harness.verdicts.rows.documents import SensitivityRow, TuningRow, attachment, read_attachment
from harness.verdicts.rows.operations import FP16_MAX
from harness.verdicts.rows.signals import MOST_PIXELS, Raster
from suites.selftest.report.figure_rows import (
    HEADROOM,
    SENSITIVITY,
    STEM,
    TUNING,
    figure_rows,
    series,
)
from suites.selftest.report.test_report_page import HOSTILE, Page


@pytest.fixture(scope="module")
def drawn(run: Run) -> Run:
    """A run with every kind of row that a figure needs."""
    return replace(run, artefacts=run.artefacts.plus(figure_rows()))


@pytest.fixture(scope="module")
def html(drawn: Run) -> str:
    return render(drawn)


def alone(*rows: Any) -> Run:
    profile = Profile("x", recipes=("fp32", "fp16", "mixed"))
    return Run(profile=profile, checks=(), artefacts=Artefacts().plus(rows))


def read_again(run: Run, kind: str, rows: Any) -> Run:
    """Return a run whose document has other rows of one kind."""
    document = json.loads(run.to_json())
    document["artefacts"][kind] = rows
    return Run.from_json(json.dumps(document))


def test_every_kind_of_row_is_drawn_and_the_same_bytes_come_again(drawn: Run, html: str) -> None:
    assert [kind for kind in ROW_CLASSES if not getattr(drawn.artefacts, kind)] == []
    assert render(Run.from_json(drawn.to_json())) == html
    assert "gelu &#39;y&#39; in encoder.0." in html
    assert "parity check X.mlpackage --subject mini" in html


def test_every_figure_has_a_name_and_says_how_to_read_it(html: str) -> None:
    figures = re.findall(r"<svg class=\"plot chart\".*?</svg>", html, flags=re.DOTALL)
    assert len(figures) > 25
    for figure in figures:
        assert re.match(
            r'<svg class="plot chart" role="img" viewBox="[^"]*" aria-label="[^"]+', figure
        )
        assert re.search(r"<desc id=[^>]*>[^<]+\.</desc>", figure)
        assert not re.search(r"#[0-9a-f]{6}\b", figure), "a fixed colour fails in the dark"
        assert "nan" not in re.sub(r'"data:[^"]*"', "", figure).lower()
    blocks = re.findall(
        r"<figure[^>]*>\s*<svg class=\"plot chart\".*?</figure>", html, flags=re.DOTALL
    )
    assert len(blocks) == len(figures)
    assert all("How to read it:" in block for block in blocks)


def test_pictures_and_sounds_are_in_the_page_and_nothing_else_is_fetched(html: str) -> None:
    outside = [link for link in Page(html).references if not link.startswith(("#", "data:"))]
    assert set(outside) == {"run.json", "junit.xml", "summary.md"}
    assert html.count("data:image/png;base64,") == 3 * 2 + 1
    assert html.count("data:audio/flac;base64,") == 3
    assert "img-src data:; media-src data:" in html


def test_the_first_operation_under_the_gate_is_the_one_that_is_named(drawn: Run) -> None:
    by_recipe = {item.row.recipe: item for item in build_page(drawn).operations}
    first = by_recipe["fp16"].below[0]
    assert (first.operation, first.snr_db) == ("op_56", 60.0), "60 dB is not above 60 dB"
    assert by_recipe["fp32"].below == ()


def test_an_operation_near_the_largest_number_is_named(drawn: Run) -> None:
    item = next(s for s in build_page(drawn).operations if s.row.recipe == "fp16")
    assert [point.operation for point in item.close] == ["op_33"]
    assert item.loudest is not None
    assert item.loudest.value("headroom_db") == pytest.approx(20 * math.log10(FP16_MAX / 40_000))


@given(
    levels=st.lists(
        st.one_of(st.none(), st.floats(-50, 200), st.sampled_from([math.inf, -math.inf, math.nan])),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=40, deadline=None)
def test_a_line_is_as_bad_as_its_worst_operation(levels: list[float | None]) -> None:
    (item,) = build_page(alone(series("fp16", len(levels), snr_db=levels))).operations
    for line in item.types:
        mine = [p.snr_db for p in item.points if p.type == line.name and p.snr_db is not None]
        if any(math.isnan(level) for level in mine):
            worst = line.worst["snr_db"]
            assert worst is not None
            assert math.isnan(worst), "not a number must not hide behind a number"
        else:
            assert line.worst["snr_db"] == min(mine, default=None)
        assert all(heat is None or 0 <= heat <= 1 for heat in line.heat.values())
    assert sum(line.fp16 + line.fp32 for line in item.types) == len(levels)
    not_above = [p for p in item.drawn if not (p.snr_db or 0.0) > 60]
    assert item.below == tuple(not_above)


def test_a_recipe_is_held_against_the_one_before_it(drawn: Run) -> None:
    diffs = build_page(drawn).diffs
    assert [(d.before, d.after) for d in diffs] == [("fp32", "fp16"), ("fp16", "mixed")]
    assert diffs[0].narrowed_count == 60
    assert diffs[1].widened_count == 30
    assert diffs[1].alike == 30


def test_the_histogram_counts_every_element_once(drawn: Run) -> None:
    for view in build_page(drawn).errors:
        assert view.exact_percent + sum(share for _, share in view.histogram) == pytest.approx(100)
        assert view.cumulative[-1][1] == pytest.approx(100)
        shares = [share for _, share in view.cumulative]
        assert shares == sorted(shares)


def sound_of(run: Run) -> SoundView:
    sound = next(view.sound for view in build_page(run).recipes if view.recipe == "fp16")
    assert sound is not None
    return sound


def test_the_worst_second_is_the_one_that_is_wrong(drawn: Run, html: str) -> None:
    view = sound_of(drawn)
    ((case, (line,)),) = view.timelines.items()
    assert (case, line.stem, worst_stretch(line)) == ("song", STEM, 1)
    assert f"the worst second is that of {STEM} at 1 s" in html


def test_colours_along_time_have_numbers(drawn: Run, html: str) -> None:
    """A strong cell could as well be 90 dB as 9."""
    (lines,) = sound_of(drawn).timelines.values()
    low, high = (db(level) for level in extent_db(lines)[0])
    assert f"Colours from {low} (strong) to {high} (pale)." in html
    assert extent_db([replace(lines[0], snr_db=(None,) * len(lines[0].snr_db))]) == ()


def test_the_gain_of_the_difference_is_stated(drawn: Run, html: str) -> None:
    view = sound_of(drawn)
    (clip,) = view.clips
    assert clip.difference_gain_db > 20
    assert f"amplified by {clip.difference_gain_db:.0f}" in html


def test_few_operations_carry_the_error_and_the_curve_is_what_nothing_beats(drawn: Run) -> None:
    page = build_page(drawn)
    (shares,) = page.sensitivities
    assert (shares.top[0].name, shares.half) == ("op_0", 1)
    assert shares.cumulative[-1] == pytest.approx(100)
    (tuning,) = page.tunings
    assert [trial.worst_db for trial in tuning.pareto] == [54.0, 58.0, 62.0, 70.0]
    (headroom,) = page.run.artefacts.headroom
    counts = headroom.operation_count, headroom.at_risk_count
    assert (counts, headroom.least_headroom_db) == ((4, 1), 3.0)
    text = Page(render(drawn)).text
    assert "1 of 4 operations that compute at risk" in text
    assert "what only moves values is not counted" in text


def test_compressed_weights_stand_apart_from_the_rounding_of_their_operation(run: Run) -> None:
    rows = [
        {"operation": "op_0", "type": "conv", "error": error, "mean": {"stems": share}}
        for error, share in (("fp16", 1e-7), ("int8", 3e-7))
    ]
    item = attachment("s", {**SENSITIVITY, "operations": rows})
    (shares,) = build_page(replace(run, artefacts=run.artefacts.plus([item]))).sensitivities
    assert [(row.type, row.percent) for row in shares.top] == [
        ("conv, int8 weights", pytest.approx(75)),
        ("conv", pytest.approx(25)),
    ]
    assert [row.name for row in shares.types] == ["conv, int8 weights", "conv"]


def test_what_was_not_recorded_is_said_and_not_left_blank(run: Run) -> None:
    whole = replace(run, artefacts=Artefacts(), profile=replace(run.profile, name="parity"))
    text = Page(render(whole)).text
    for words in (
        "the run holds no errors of single operations",
        "no document of the precision lab is in this run",
        "Not recorded: no stem second by second",
        "Not evaluated: the run holds no precision map",
        "the run holds no errors of the transform",
    ):
        assert words in text


def hostile(value: Any) -> Any:
    """Return a row in which every text is hostile, but pictures and versions stay."""
    if isinstance(value, dict):
        kept = ("pixels", "candidate", "difference", "media_type", "precision", "verdict")
        sound = (*kept, "reference") if "media_type" in value else kept
        return {
            key: item if key in sound and not isinstance(item, dict) else hostile(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [hostile(item) for item in value]
    return HOSTILE if isinstance(value, str) and value not in ("inf", "-inf", "nan") else value


def test_hostile_names_are_text(drawn: Run) -> None:
    document = json.loads(drawn.to_json())
    document["artefacts"] = hostile(document["artefacts"])
    run = Run.from_json(json.dumps(document))
    page = Page(render(run))
    assert run.damaged == ()
    assert page.tags["script"] == 1
    assert page.attributes["onerror"] == 0
    assert page.open == []


@pytest.mark.parametrize("kind", ROW_CLASSES)
@pytest.mark.parametrize("damage", [None, "text", -1, [], {}, [None, "x", {}], "nan", 10**18])
def test_a_damaged_field_does_not_take_the_page_with_it(drawn: Run, kind: str, damage: Any) -> None:
    (row, *_) = json.loads(drawn.to_json())["artefacts"][kind]
    run = read_again(alone(), kind, [row, *({**row, field: damage} for field in row)])
    page = Page(render(run))
    assert page.open == []
    assert run.damaged or damage == [], "no field of the row is held to anything"
    assert getattr(run.artefacts, kind)[0] == getattr(drawn.artefacts, kind)[0]
    assert len(getattr(run.artefacts, kind)) + len(run.damaged) == 1 + len(row)


@pytest.mark.parametrize(
    ("kind", "rows", "words"),
    [
        ("future", [1], "run.artefacts.future: of a kind that this version doesn't know"),
        ("quality", {"not": "a list"}, "run.artefacts.quality: no list of rows"),
        ("quality", [7], "run.artefacts.quality[0] is 7, expected an object"),
        ("separation", [{"stem": 3}], "run.artefacts.separation[0] has no 'case'"),
    ],
)
def test_what_can_not_be_drawn_is_listed_on_the_page_and_stays_so(
    run: Run, kind: str, rows: Any, words: str
) -> None:
    """A row that silently vanished would look like one that was never recorded."""
    damaged = read_again(run, kind, rows)
    again = Run.from_json(damaged.to_json())
    assert again.damaged == damaged.damaged
    assert len(damaged.damaged) == 1
    text = Page(render(again)).text
    assert "What could not be drawn" in text
    assert words in text
    assert words.replace("_", "\\_").split("[")[0] in summary_markdown(build_page(again))
    assert "All 472 gating checks hold for htdemucs_6s@seeded." in text


def test_a_row_of_a_metric_that_nobody_knows_is_damaged(drawn: Run) -> None:
    row = json.loads(drawn.to_json())["artefacts"]["operations"][0]
    row["operations"][5]["metrics"]["charm_db"] = 3.0
    run = read_again(drawn, "operations", [row])
    assert 'a key of run.artefacts.operations[0].operations[5].metrics is "charm_db"' in (
        run.damaged[0].reason
    )


def test_many_damaged_rows_are_counted_and_not_all_kept(run: Run) -> None:
    many = read_again(run, "quality", [None] * 5000)
    assert len(many.damaged) == 201
    assert many.damaged[-1].reason == "and 4800 more damaged rows"


PNG = b"\x89PNG\r\n\x1a\n"


def pixels(codes: bytes) -> str:
    return base64.b64encode(zlib.compress(codes)).decode()


@given(rows=st.integers(1, 20), columns=st.integers(1, 20), seed=st.binary(min_size=400))
@settings(max_examples=25, deadline=None)
def test_a_raster_is_a_png_of_the_same_pixels(rows: int, columns: int, seed: bytes) -> None:
    codes = bytes(value % 64 for value in seed[: rows * columns])
    address = source(Raster(rows, columns, -90.0, 0.0, 64, pixels(codes)))
    png = base64.b64decode(address.partition(",")[2])
    assert png.startswith(PNG)
    data = png[png.index(b"IDAT") + 4 :]
    lines = zlib.decompressobj().decompress(data)
    assert b"".join(lines[k * (columns + 1) + 1 :][:columns] for k in range(rows)) == codes
    assert palette(64) in png


@pytest.mark.parametrize(
    "changed",
    [
        {"pixels": pixels(bytes(7))},
        {"pixels": pixels(b"\x40" * 6)},
        {"pixels": "no Base64"},
        {"pixels": base64.b64encode(b"no zlib").decode()},
        {"rows": MOST_PIXELS, "pixels": pixels(bytes(3 * MOST_PIXELS))},
        {"rows": 0},
        {"levels": 1000},
        {"low_db": None},
        {"high_db": "inf"},
    ],
)
def test_a_raster_that_lies_about_itself_is_refused(changed: dict[str, Any]) -> None:
    whole = plain(Raster(2, 3, -9.0, 0.0, 64, pixels(bytes(6))))
    assert restored(Raster, whole, "picture").codes == bytes(6)
    with pytest.raises(RunError):
        restored(Raster, {**whole, **changed}, "picture")


@given(low=st.floats(-1e6, 1e6), size=st.floats(1e-3, 1e6))
def test_ticks_are_round_and_within_their_bounds(low: float, size: float) -> None:
    found = [value for value, _ in ticks(low, low + size)]
    assert 1 <= len(found) <= 8
    assert all(low - 1e-6 * size - 1e-9 <= v <= low + size + 1e-6 * size + 1e-9 for v in found)


def test_a_chart_keeps_its_dots_inside() -> None:
    chart = Chart((0, 10), (0, 10))
    assert chart.across(-5) == chart.across(0)
    assert chart.up(50) == chart.up(10)
    assert chart.up(10) < chart.up(0)


@pytest.mark.parametrize("document", [SENSITIVITY, TUNING, HEADROOM])
def test_documents_are_attached_once_and_survive_the_run(
    run: Run, tmp_path: Path, document: dict[str, Any]
) -> None:
    file = tmp_path / "lab.json"
    file.write_text(json.dumps(document))
    item = read_attachment(file)
    twice = replace(run, artefacts=run.artefacts.plus([item]).plus([read_attachment(file)]))
    kept = Run.from_json(twice.to_json()).artefacts
    (row,) = (*kept.sensitivity, *kept.tuning, *kept.headroom)
    assert (row.name, row) == ("lab.json", item)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "sweep"}', '{"operations": []}'])
def test_what_is_no_document_of_the_lab_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(RunError, match="can't attach"):
        read_attachment(file)


def test_an_attachment_is_cut_to_what_is_drawn() -> None:
    wide = {**SENSITIVITY, "operations": SENSITIVITY["operations"] * 1000, "more": ["x"] * 50}
    row = attachment("s", wide)
    assert isinstance(row, SensitivityRow)
    assert (row.measure, len(row.operations)) == ("stems", 4000)
    tuning = attachment("t", TUNING)
    assert isinstance(tuning, TuningRow)
    assert [trial.fp32_count for trial in tuning.trials] == [1, 2, 3, 5]
