"""From a run to files: the page, the JUnit document and the Markdown summary.

In: a `Run`. Out: text, or a folder that holds ``index.html``, ``junit.xml``, ``summary.md`` and the
``run.json`` that they were made from. The four appear together or not at all. The bytes depend on
the run and on the runs that it is held against: what renders reads no clock, path or environment.
From the moment on at which a newer run begins, they have one reason more why they are not green, so
that a run that is killed leaves no older page behind that looks current.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.atomic import recover_set, write_texts
from harness.errors import RunError
from harness.report import figures_precision, figures_run, figures_sound, text, units
from harness.report.junit import junit_xml
from harness.report.summary import summary_markdown
from harness.report.view import Page, build_page
from harness.report.view_devices import PLACEMENT_WORDS
from harness.report.view_operations import columns
from harness.report.view_origin import ENGINE_WORDS, engine_words, golden_words
from harness.report.view_scores import QUALITY_SCORES, SCORES, sides
from harness.report.view_sound import below, extent_db
from harness.verdicts import GATES, Profile, Record, Run
from harness.verdicts.history import NOISE_BAND_DB
from harness.verdicts.jsondata import read_document
from harness.verdicts.rows.documents import failures_first

FILES = ("run.json", "junit.xml", "summary.md", "index.html")
"""What a report consists of."""
FIGURES: Final[Mapping[str, Callable[..., Markup]]] = {
    name.removesuffix("_figure"): draw
    for module in (figures_precision, figures_run, figures_sound)
    for name, draw in vars(module).items()
    if name.endswith("_figure")
}
"""The figures that templates draw by name: ``figures.along(series, "along-1")``."""


def render(run: Run, record: Record | None = None) -> str:
    """Return the page of ``run``: one HTML document that needs no other file and no network.

    Args:
        run: what is shown.
        record: earlier runs that it is held against.
    """
    return render_page(build_page(run, record))


def render_page(page: Page) -> str:
    """Return the HTML document of a view model."""
    script = _asset("script.js")
    html = (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            columns=columns(),
            noise_band_db=NOISE_BAND_DB,
            engine_meanings=ENGINE_WORDS,
            quality_limit_db=GATES["quality"].at_most,
            score_columns=SCORES,
            placement_words=PLACEMENT_WORDS,
            quality_scores=[name for _, name in QUALITY_SCORES],
            style=_asset("style.css") + _asset("figures.css"),
            figures=FIGURES,
            script=script,
            script_hash=_content_hash(script),
        )
    )
    return text.printable(html)


def write_report(run: Run, out_dir: Path, record: Record | None = None) -> Path:
    """Write the report of ``run`` into ``out_dir`` and return the path of its page.

    Args:
        run: what is shown.
        out_dir: made if it isn't there.
        record: earlier runs that it is held against.

    Raises:
        OSError: the folder can't be made or written; files that are there stay as they are.
    """
    out_dir = Path(out_dir)
    page = build_page(run, record)
    contents = (run.to_json(), junit_xml(run, page), summary_markdown(page), render_page(page))
    write_texts(out_dir, dict(zip(FILES, contents, strict=True)))
    return out_dir / "index.html"


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


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for module in (units, text):
        environment.filters |= dict(inspect.getmembers(module, inspect.isfunction))
    more = (below, extent_db, engine_words, failures_first, golden_words, sides)
    environment.filters |= {"bounds": _bounds, **{say.__name__: say for say in more}}
    return environment


def _bounds(value: str) -> str:
    """Return a list of bounds that breaks between two of them and never inside ``1e-5``."""
    parts = text.exponents(value).split(", ") if value else [units.NOT_COMPUTED]
    return ", ".join(
        part.replace(" ", "\N{NO-BREAK SPACE}") if len(part) < 24 else part for part in parts
    )


def _asset(name: str) -> Markup:
    """Return a style sheet or script of ours; no text of a run is in it."""
    source = Path(__file__).with_name("templates") / name
    return Markup(source.read_text(encoding="utf-8"))


def _content_hash(script: str) -> str:
    """Return what lets this script run, and no other, under the page's security policy."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
