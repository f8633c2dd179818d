"""What is drawn of a run for print: the numbers of its rows, the gates, and nothing cut off.

If these fail, a paper shows another number than was measured, or a reviewer sees a bound where none
was. What is drawn is asked of matplotlib's own artists.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from harness.errors import ParityError
from harness.figures import KINDS, WIDTHS, Drawing, Paper, drawings_of
from harness.verdicts import GATES, Profile, Run
from harness.verdicts.rows.artefacts import Artefacts
from harness.verdicts.rows.documents import attachment
from harness.verdicts.rows.operations import TapSeries
from harness.verdicts.rows.signals import StemPicture, StemTimeline
from suites.selftest.report.conftest import build_run
from suites.selftest.report.figure_rows import SENSITIVITY, TUNING, figure_rows, labels, series
from suites.selftest.report.run_rows import RECIPES, STEMS, SUBJECT, separation_row
from suites.selftest.report.test_odd_documents import SOUND, odd

Drawn = Callable[[str], Figure]


def alone(*rows: Any) -> Run:
    profile = Profile("x", recipes=tuple(RECIPES))
    return Run(profile=profile, checks=(), artefacts=Artefacts().plus(rows))


def draw(run: Run, start: str, width: float = WIDTHS["column"]) -> Figure:
    """Return the first figure whose name begins with ``start``."""
    paper = Paper.of(width, run)
    drawing = next(drawing for drawing in drawings_of(run) if drawing.name.startswith(start))
    with paper.style():
        return drawing.draw(paper)


def lines(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    """Return x and y of the named series of a panel, by name."""
    found = {str(line.get_label()): line for line in axes.get_lines()}
    return {
        label: ([float(x) for x in line.get_xdata()], [float(y) for y in line.get_ydata()])
        for label, line in found.items()
        if not label.startswith("_")
    }


def bounds(axes: Axes) -> dict[str, float]:
    """Return the levels at which a panel has a bound, by the words beside it."""
    across = {
        line.get_ydata()[0]
        for line in axes.get_lines()
        if list(line.get_xdata()) == [0, 1] and len(set(line.get_ydata())) == 1
    }
    said = {text.get_text(): text.xy[1] for text in axes.texts if text.get_text().endswith(" dB")}
    assert across == set(said.values())
    return said


@pytest.fixture(scope="module")
def run() -> Run:
    """A run with every kind of row that a figure is drawn from."""
    whole = build_run()
    return replace(whole, artefacts=whole.artefacts.plus(figure_rows()))


@pytest.fixture
def drawn(run: Run) -> Drawn:
    return lambda start: draw(run, start)


def test_every_kind_is_drawn_from_a_run_that_has_its_rows(run: Run) -> None:
    assert {drawing.kind for drawing in drawings_of(run)} == set(KINDS)
    names = [drawing.name for drawing in drawings_of(run)]
    assert len(set(names)) == len(names)
    assert f"operations-{SUBJECT}-song" in names


def test_a_panel_of_operations_has_a_dot_for_each_of_them_by_its_precision(drawn: Drawn) -> None:
    figure = drawn("operations")
    assert [axes.get_title("left").split(",")[0] for axes in figure.axes] == list(RECIPES)
    for axes, recipe in zip(figure.axes, RECIPES, strict=True):
        found = lines(axes)
        points = series(recipe).operations
        for precision in ("fp16", "fp32"):
            mine = [point for point in points if point.precision == precision]
            across, up = found.get(f"result in {precision.upper()}", ([], []))
            assert across == [point.index for point in mine]
            finite = [(y, p.snr_db) for y, p in zip(up, mine, strict=True) if p.snr_db != math.inf]
            assert all(y == level for y, level in finite)
        assert bounds(axes) == {"gate\n60 dB": GATES["conversion"].min_snr_db}
        exact = [label.get_text() for label in axes.get_yticklabels()].index("exact")
        rail = axes.get_yticks()[exact]
        assert max(y for _, up in found.values() for y in up) == rail > 140.0


def test_a_line_of_taps_is_the_row_and_breaks_where_nothing_is_known(
    drawn: Drawn, run: Run
) -> None:
    axes = drawn("taps").axes[0]
    found = lines(axes)
    assert list(found) == list(RECIPES)
    for row in run.artefacts.taps:
        up = found[row.recipe][1]
        for level, point in zip(up, row.operations, strict=True):
            if point.snr_db is None:
                assert math.isnan(level)
            elif math.isfinite(point.snr_db):
                assert level == point.snr_db
            else:
                assert level == axes.get_yticks()[-1]
    assert bounds(axes) == {"gate\n60 dB": GATES["conversion"].min_snr_db}


def test_stems_show_the_lowest_of_all_cases_against_the_gate(drawn: Drawn, run: Run) -> None:
    axes = drawn("stems").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == list(STEMS)
    found = lines(axes)
    for recipe in RECIPES:
        rows = [row for row in run.artefacts.separation if row.recipe == recipe]
        lowest = [min(r.snr_db or 0.0 for r in rows if r.stem == stem) for stem in STEMS]
        assert found[recipe][1] == pytest.approx(lowest, abs=0)
    assert bounds(axes) == {"gate\n60 dB": GATES["end_to_end"].min_snr_db}


def test_the_timeline_is_the_worst_stem_of_each_second_and_names_the_worst_moment() -> None:
    def stem(name: str, recipe: str, *levels: float | None) -> StemTimeline:
        starts = tuple(float(second) for second in range(len(levels)))
        return StemTimeline(
            **labels(recipe), stem=name, stretch_s=1.0, start_s=starts, snr_db=levels
        )

    run = alone(
        stem("bass", "fp16", 70.0, 55.0, None, 80.0),
        stem("drums", "fp16", 65.0, 75.0, None, math.inf),
        stem("bass", "fp32", 120.0, 130.0, math.inf, 125.0),
    )
    axes = draw(run, "timeline").axes[0]
    found = lines(axes)
    silent = 2  # a second without a ratio parts the line
    assert math.isnan(found["fp16"][1].pop(silent))
    assert found["fp16"] == ([0.5, 1.5, 2.5, 3.5], [65.0, 55.0, 80.0])
    assert found["fp32"] == ([0.5, 1.5, 2.5, 3.5], [120.0, 130.0, axes.get_yticks()[-1], 125.0])
    assert [text.get_text() for text in axes.texts] == ["bass, 55.0 dB", "gate\n60 dB"]


def test_spectrograms_show_their_levels_and_the_candidate_on_the_scale_of_the_reference(
    drawn: Drawn, run: Run
) -> None:
    row: StemPicture = run.artefacts.stem_picture[0]
    figure = drawn("spectrograms")
    panels = {axes.get_title("left"): axes.images[0] for axes in figure.axes if axes.images}
    assert list(panels) == ["Reference", "Candidate", "Difference"]
    for title, picture in zip(panels, (row.reference, row.candidate, row.difference), strict=True):
        levels = np.asarray(panels[title].get_array()).ravel()
        step = (picture.high_db - picture.low_db) / (picture.levels - 1)
        codes = np.rint((levels - picture.low_db) / step).astype(int)
        assert bytes(codes.tolist()) == picture.codes
        left, right, bottom, top = panels[title].get_extent()
        assert (left, right) == (0.0, row.duration_s)
        assert (10**bottom, 10**top) == pytest.approx((row.low_hz, row.high_hz))
    assert panels["Candidate"].get_clim() == panels["Reference"].get_clim()
    assert panels["Difference"].get_clim()[1] < panels["Reference"].get_clim()[1]


def test_sensitivities_are_shares_in_percent_and_their_sum(drawn: Drawn) -> None:
    top, together = drawn("sensitivities").axes
    shares = [4.0**-place for place in range(9)]
    percent = [100 * share / sum(shares) for share in shares]
    assert [bar.get_width() for bar in top.patches] == pytest.approx(percent)
    assert top.get_yticklabels()[0].get_text() == "op_0 (conv)"
    line = together.get_lines()[0]
    assert list(line.get_ydata()) == pytest.approx([0, *np.cumsum(percent)], abs=1e-3)
    assert [text.get_text() for text in together.texts] == ["half of it: 1 of 9"]


def test_pareto_is_what_was_tried_against_the_target(drawn: Drawn) -> None:
    axes = drawn("pareto").axes[0]
    found = lines(axes)
    assert found["reaches the target"] == ([30.0, 50.0], [62.0, 70.0])
    assert found["misses it"] == ([10.0, 20.0], [54.0, 58.0])
    assert found["best up to a cost"] == ([10.0, 20.0, 30.0, 50.0], [54.0, 58.0, 62.0, 70.0])
    assert found["chosen"] == ([30.0], [61.0])
    assert bounds(axes) == {"target\n60 dB": TUNING["goal"]["min_snr_db"]}
    assert axes.get_xlabel() == "share of flops in FP32 (%)"


@pytest.mark.parametrize(
    "width",
    [WIDTHS["column"], WIDTHS["slide"]]
    + [pytest.param(at, marks=pytest.mark.exhaustive) for at in (3.2, 5.9, 6.0, 7.0)],
)
def test_nothing_is_cut_off_and_every_axis_says_what_it_is(run: Run, width: float) -> None:
    paper = Paper.of(width, run)
    one_of_each = {drawing.kind: drawing for drawing in drawings_of(run)}
    for kind, drawing in one_of_each.items():
        with paper.style():
            figure = drawing.draw(paper)
            figure.draw_without_rendering()
        box, (wide, high) = figure.get_tightbbox(), figure.get_size_inches()
        cut = [-box.x0, -box.y0, box.x1 - wide, box.y1 - high]
        assert max(cut) < 0.01, kind
        assert figure.get_suptitle().split("\n")[1].startswith(SUBJECT)
        named = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
        assert named
        assert [label for label in named if not re.search(r"\((dB|dBFS|Hz|%)\)$", label)] == []


def test_a_recipe_looks_the_same_everywhere_and_like_no_other_one_in_grey(run: Run) -> None:
    looks = Paper.of(7.0, run).looks
    assert list(looks) == list(RECIPES)
    without_colour = [(look["linestyle"], look["marker"]) for look in looks.values()]
    assert len(set(without_colour)) == len(RECIPES)
    for start in ("taps", "timeline", "stems"):
        for line in draw(run, start).axes[0].get_lines():
            if line.get_label() in looks:
                look = looks[str(line.get_label())]
                assert to_rgb(line.get_color()) == to_rgb(look["color"])
                assert line.get_marker() == look["marker"]


def test_a_name_is_text_whatever_it_holds() -> None:
    """A dollar sign begins no formula, and a name is cut before it fills the figure."""
    tricky = r"$\frac{1}{$ <b>" + "x" * 5000
    rows = [replace(row, recipe=tricky) for row in figure_rows() if isinstance(row, StemTimeline)]
    figure = draw(alone(*rows), "timeline")
    figure.draw_without_rendering()
    assert figure.legends[0].texts[0].get_text().startswith(r"$\frac{1}{$ <")
    assert figure.get_tightbbox().x1 < WIDTHS["column"] + 0.01
    rows = [replace(row, recipe="_draft") for row in rows]
    assert draw(alone(*rows), "timeline").legends[0].texts[0].get_text() == " _draft"


def test_a_sensitivity_whose_half_is_beyond_the_curve_has_no_note() -> None:
    many = [{"operation": f"o{i}", "type": "add", "mean": {"stems": 1e-6}} for i in range(900)]
    run = alone(attachment("s", {**SENSITIVITY, "operations": many}))
    together = draw(run, "sensitivities").axes[1]
    assert not together.texts
    assert together.get_title("left") == "Together (200 of 900)"


def _only_drawn(document: dict[str, Any]) -> dict[str, Any]:
    kinds = {
        *("network", "operations", "taps", "separation", "stem_timeline", "stem_picture"),
        *("sensitivity", "tuning"),
    }
    rows = {kind: rows if kind in kinds else [] for kind, rows in document["artefacts"].items()}
    return {**document, "checks": [], "faults": [], "waivers": [], "goldens": [], "artefacts": rows}


def _draw_whatever(document: dict[str, Any]) -> list[Drawing]:
    try:
        run = Run.from_json(json.dumps(document))
    except ParityError:
        return []
    paper = Paper.of(WIDTHS["column"], run)
    with paper.style():
        for drawing in drawings_of(run):
            drawing.draw(paper).draw_without_rendering()
    return list(drawings_of(run))


@pytest.mark.parametrize("number", [1.7e308, -1.7e308, 5e-324, -1.0, 0.0])
def test_a_number_that_no_signal_has_is_drawn_at_the_end_of_its_axis(number: float) -> None:
    line, picture = (
        next(row for row in figure_rows() if isinstance(row, kind))
        for kind in (StemTimeline, StemPicture)
    )
    line = replace(line, start_s=(0.0, number), snr_db=(number, 50.0), stretch_s=number)
    picture = replace(picture, duration_s=number)
    document = json.loads(alone(line, picture).to_json())
    assert [drawing.kind for drawing in _draw_whatever(document)] == ["timeline", "spectrograms"]


def test_a_row_with_nothing_in_it_is_an_empty_panel() -> None:
    timeline = next(row for row in figure_rows() if isinstance(row, StemTimeline))
    tried = {"trials": [], "best": None, "goal": {"min_snr_db": None, "cost": "flops"}}
    run = alone(
        series("fp16", 0),
        TapSeries(**labels("fp16"), reference="PyTorch", operations=()),
        separation_row(snr_db=None),
        replace(timeline, start_s=(), snr_db=()),
        attachment("s", {**SENSITIVITY, "operations": []}),
        attachment("t", {**TUNING, **tried}),
    )
    found = _draw_whatever(json.loads(run.to_json()))
    assert [drawing.kind for drawing in found] == [kind for kind in KINDS if kind != "spectrograms"]


@pytest.mark.exhaustive
@settings(deadline=None, suppress_health_check=list(HealthCheck), database=None, max_examples=400)
@given(document=odd(_only_drawn(SOUND)))
def test_odd_rows_are_drawn_or_left_out(document: dict[str, Any]) -> None:
    names = [drawing.name for drawing in _draw_whatever(document)]
    assert [name for name in names if len(name) > 140 or re.search(r"[/\s]", name)] == []
