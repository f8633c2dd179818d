"""From a run to files: the page, the JUnit document and the Markdown summary.

In: a `Run`. Out: text, or a folder that holds ``index.html``, ``junit.xml``, ``summary.md`` and the
``run.json`` that they were made from. The four appear together or not at all. The bytes depend on
the run and on the runs that it is held against: nothing here reads a clock, a path or the
environment.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.atomic import write_texts
from harness.report import figures_precision, figures_run, figures_sound, text, units
from harness.report.junit import junit_xml
from harness.report.summary import summary_markdown
from harness.report.view import Page, build_page
from harness.report.view_operations import LIMIT_DB as NETWORK_LIMIT_DB
from harness.report.view_operations import columns
from harness.report.view_origin import ENGINE_WORDS, engine_words, golden_words
from harness.report.view_quality import SCORES
from harness.report.view_scores import SCORES as SCORE_COLUMNS
from harness.report.view_scores import sides
from harness.report.view_sound import LIMIT_DB as STEM_LIMIT_DB
from harness.report.view_sound import below_limit
from harness.verdicts import GATES, Record, Run
from harness.verdicts.history import NOISE_BAND_DB
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
            network_limit_db=NETWORK_LIMIT_DB,
            noise_band_db=NOISE_BAND_DB,
            stem_limit_db=STEM_LIMIT_DB,
            engine_meanings=ENGINE_WORDS,
            quality_limit_db=GATES["quality"].at_most,
            score_columns=SCORE_COLUMNS,
            quality_scores=[name for _, name in SCORES],
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
    more = (below_limit, engine_words, failures_first, golden_words, sides)
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
