"""Small charts, drawn by hand: numbers in, inline SVG out.

In: places on two axes and plain numbers. Out: `markupsafe.Markup` with one ``<svg>`` that fills its
column, whose colours are the page's CSS variables and whose title and description say in words what
it shows. The same calls give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from markupsafe import Markup

from harness.report.text import printable, shorten

Ticks = Sequence[tuple[float, str]]
WIDTH = 400.0
_RIGHT = 10.0
MARKS = {
    "fp16": ("square", 2.6),
    "fp32": ("round", 3.2),
    "other": ("butt", 3.0),
    "pass": ("round", 3.6),
    "fail": ("square", 3.6),
}
"""Colour -> cap and width of its dots: squares and circles, so that colour is not needed."""


class Chart:
    """One pair of axes, drawn on from back to front.

    Args:
        x, y: the least and greatest number of each axis.
        height: in CSS pixels where the column is 400 wide.
        left, bottom, top: margins.
    """

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        height: float = 220.0,
        left: float = 46.0,
        bottom: float = 38.0,
        top: float = 18.0,
    ) -> None:
        self._x, self._y = _spread(x), _spread(y)
        self._left, self._right = left, WIDTH - _RIGHT
        self._top, self._bottom = top, height - bottom
        self._height = height
        self._parts: list[str] = []

    def across(self, value: float) -> float:
        """Return where ``value`` is on the horizontal axis, in pixels."""
        return _place(value, self._x, self._left, self._right)

    def up(self, value: float) -> float:
        """Return where ``value`` is on the vertical axis, in pixels."""
        return _place(value, self._y, self._bottom, self._top)

    def axes(
        self, x: Ticks, y: Ticks, x_name: str = "", y_name: str = "", *, turned: bool = False
    ) -> None:
        """Draw grid lines with labels, those of ``x`` upright if ``turned``; name the axes."""
        for value, label in y:
            height = self.up(value)
            self._across(height, "grid")
            self._text(self._left - 5, height + 4, label, "end")
        for value, label in x:
            place = self.across(value)
            self._parts.append(f'<path class="grid" d="M{_n(place)} {_n(self._bottom)}v4"/>')
            if turned:
                self._text(place + 4, self._bottom + 9, label, "end", turned=True)
            else:
                self._text(place, self._bottom + 16, label, "middle")
        middle = (self._left + self._right) / 2
        self._text(middle, self._height - 5, x_name, "middle", "muted")
        self._text(4, self._top - 6, y_name, "start", "muted")

    def level(self, value: float, label: str = "") -> None:
        """Draw a dashed line across, with a name at its right end."""
        height = self.up(value)
        self._across(height, "gate")
        self._text(self._right, height - 4, label, "end", "muted")

    def upright(self, value: float, label: str = "", style: str = "gate") -> None:
        """Draw a line up, with a name at its top."""
        place = self.across(value)
        self._up(place, style)
        anchor = "start" if place < (self._left + self._right) / 2 else "end"
        shift = 4 if anchor == "start" else -4
        self._text(place + shift, self._top + 9, label, anchor)

    def stage(self, start: float, stop: float, label: str) -> None:
        """Name a stretch of the horizontal axis above the chart, where there is room."""
        left, right = self.across(start), self.across(stop)
        self._up(left, "grid")
        if right - left > 7 * len(label):
            self._text((left + right) / 2, self._top - 6, label, "middle", "muted")

    def dots(self, places: Sequence[tuple[float, float]], mark: str, *, grown: float = 1.0) -> None:
        """Draw dots as one path of strokes without length: few bytes for many."""
        if places:
            cap, width = MARKS.get(mark, ("round", 4.0))
            path = "".join(f"M{_n(self.across(x))} {_n(self.up(y))}h0" for x, y in places)
            self._parts.append(
                f'<path d="{path}" fill="none" stroke="var(--{mark})" opacity=".85" '
                f'stroke-width="{_n(grown * width)}" stroke-linecap="{cap}"/>'
            )

    def ring(self, x: float, y: float, label: str = "") -> None:
        """Draw a ring around a place, with a name beside it."""
        across, height = self.across(x), self.up(y)
        self._parts.append(f'<circle class="ring" cx="{_n(across)}" cy="{_n(height)}" r="6"/>')
        left = across < (self._left + self._right) / 2
        self._text(
            across + (10 if left else -10),
            height - 7,
            shorten(label, 34),
            "start" if left else "end",
        )

    def line(
        self, places: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False
    ) -> None:
        """Draw a line through places; a NaN breaks it."""
        path, pen = [], "M"
        for x, y in places:
            if math.isnan(y):
                pen = "M"
                continue
            path.append(f"{pen}{_n(self.across(x))} {_n(self.up(y))}")
            pen = "L"
        dash = ' stroke-dasharray="5 3"' if dashed else ""
        self._parts.append(
            f'<path d="{"".join(path)}" fill="none" stroke="var(--{colour})" '
            f'stroke-width="1.6"{dash}/>'
        )

    def bars(self, bars: Sequence[tuple[float, float, float]], colour: str) -> None:
        """Draw upright bars (start, stop, height) from the lower end of the axis."""
        foot = self.up(self._y[0])
        path = "".join(
            f"M{_n(self.across(start))} {_n(foot)}V{_n(self.up(height))}"
            f"H{_n(self.across(stop))}V{_n(foot)}Z"
            for start, stop, height in bars
        )
        self._parts.append(f'<path d="{path}" fill="var(--{colour})" opacity=".85"/>')

    def band(
        self, low: Sequence[tuple[float, float]], high: Sequence[tuple[float, float]], colour: str
    ) -> None:
        """Fill what is between two lines over the same places."""
        there = "L".join(f"{_n(self.across(x))} {_n(self.up(y))}" for x, y in high)
        back = "L".join(f"{_n(self.across(x))} {_n(self.up(y))}" for x, y in reversed(low))
        self._parts.append(f'<path d="M{there}L{back}Z" fill="var(--{colour})" opacity=".8"/>')

    def cells(self, cells: Sequence[tuple[float, float, float, float, float]], colour: str) -> None:
        """Draw rectangles (left, right, low, high, strength up to 1) in shades of one colour."""
        shades: dict[int, list[str]] = {}
        for left, right, low, high, strength in cells:
            x, y = self.across(left), self.up(high)
            wide, tall = self.across(right) - x, self.up(low) - y
            shade = 1 if math.isnan(strength) else math.ceil(min(10.0 * strength, 10.0))
            shades.setdefault(max(1, shade), []).append(
                f"M{_n(x)} {_n(y)}h{_n(wide)}v{_n(tall)}h{_n(-wide)}z"
            )
        for shade in sorted(shades):
            self._parts.append(
                f'<path d="{"".join(shades[shade])}" fill="var(--{colour})" '
                f'opacity="{shade / 10:g}"/>'
            )

    def image(self, source: str) -> None:
        """Fill the axes with a picture."""
        self._parts.append(
            f'<image x="{_n(self._left)}" y="{_n(self._top)}" '
            f'width="{_n(self._right - self._left)}" height="{_n(self._bottom - self._top)}" '
            f'preserveAspectRatio="none" href="{source}"/>'
        )

    def note(self, x: float, y: float, label: str, anchor: str = "start") -> None:
        """Write words at a place."""
        self._text(self.across(x), self.up(y), label, anchor)

    def svg(self, name: str, title: str, description: str) -> Markup:
        """Return the chart; ``name`` starts its ids and is unique within the page."""
        label = quoteattr(printable(title))
        return Markup(
            f'<svg class="plot chart" role="img" viewBox="0 0 {_n(WIDTH)} {_n(self._height)}" '
            f'aria-label={label} aria-describedby="{name}-desc">'
            f'<title id="{name}-title">{escape(printable(title))}</title>'
            f'<desc id="{name}-desc">{escape(printable(description))}</desc>'
            f"{''.join(self._parts)}</svg>"
        )

    def _across(self, height: float, style: str) -> None:
        path = f"M{_n(self._left)} {_n(height)}H{_n(self._right)}"
        self._parts.append(f'<path class="{style}" d="{path}"/>')

    def _up(self, place: float, style: str) -> None:
        path = f"M{_n(place)} {_n(self._bottom)}V{_n(self._top)}"
        self._parts.append(f'<path class="{style}" d="{path}"/>')

    def _text(
        self, x: float, y: float, words: str, anchor: str, style: str = "", *, turned: bool = False
    ) -> None:
        if words:
            kind = f' class="{style}"' if style else ""
            kind += f' transform="rotate(-90 {_n(x)} {_n(y)})"' if turned else ""
            self._parts.append(
                f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{kind}>'
                f"{escape(printable(words))}</text>"
            )


def ticks(low: float, high: float, most: int = 6, *, unit: float = 1.0) -> Ticks:
    """Return places between two bounds that are round numbers of ``unit``, each labelled so."""
    low, high = low / unit, high / unit
    rough = (high - low) / most
    if not 1e-290 < rough < math.inf:  # no bounds, or so near that their powers of ten underflow
        return ()
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first
    values = [round((first + place) * step, 12) + 0.0 for place in range(count + 1)]
    return tuple((value * unit, number(value)) for value in values)


def number(value: float) -> str:
    """Return a number with a true minus sign."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _spread(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    if 0.0 < high - low < math.inf:
        return low, high
    return (low, low + max(1.0, abs(low))) if abs(low) < 1e300 else (0.0, 1.0)


def _place(value: float, limits: tuple[float, float], start: float, stop: float) -> float:
    share = (min(max(value, limits[0]), limits[1]) - limits[0]) / (limits[1] - limits[0])
    return start + share * (stop - start)


def _n(value: float) -> str:
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text
