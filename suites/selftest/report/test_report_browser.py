"""The page in a real browser: that it works, alone, for everybody, on paper and on a phone.

Where no Chromium is found these are not evaluated, and the summary of pytest counts them so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from harness.report import write_report
from harness.report.view import build_page
from harness.verdicts import Run, Verdict
from harness.verdicts.rows.artefacts import Artefacts
from harness.verdicts.rows.packages import Explanation
from suites.browser.chromium import NONE_FOUND, find_chromium, launched, opened
from suites.selftest.report.figure_rows import figure_rows
from suites.selftest.report.whole_run import broken, record, whole_run

GRAVE = ("serious", "critical")
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNFOLD = "document.querySelectorAll('details').forEach((fold) => { fold.open = true; })"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip(f"not evaluated: {NONE_FOUND}")
    with launched(program) as found:
        yield found


@pytest.fixture(scope="module")
def green(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(run, tmp_path_factory.mktemp("green"))


@pytest.fixture(scope="module")
def red(broken_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(broken_run, tmp_path_factory.mktemp("red"))


@pytest.fixture(scope="module")
def thin(broken_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the red page has, but less of it: axe looks at each element."""
    few = {f.name: getattr(broken_run.artefacts, f.name)[:3] for f in fields(Artefacts)}
    taps = Artefacts(**few).taps[0]
    named = [replace(tap, operation="encoder.channel_downsampler") for tap in taps.operations[::40]]
    few["taps"] = (replace(taps, recipe="other", operations=tuple(named)),)
    next_steps = Explanation((), ("parity tune mini" + 9 * " --case song",))
    thinned = replace(
        broken_run,
        checks=broken_run.checks[::25],
        artefacts=Artefacts(**few).plus([*figure_rows(), next_steps]),
    )
    return write_report(thinned, tmp_path_factory.mktemp("thin"))


@pytest.fixture(scope="module", params=["passes", "fails"])
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Path]:
    """A run as large as that of the default profile, held against a baseline."""
    passing = whole_run()
    run = passing if request.param == "passes" else broken(passing)
    return run, write_report(run, tmp_path_factory.mktemp(request.param), record(passing))


def rows_shown(page: Page) -> int:
    return page.locator("#checks tbody tr:visible").count()


def test_it_asks_for_nothing_and_complains_of_nothing(browser: Browser, red: Path) -> None:
    with opened(browser, red, offline=True) as found:
        found.page.evaluate(UNFOLD)
        found.page.mouse.wheel(0, 20_000)
        found.page.fill("#checks input", "song")
        assert found.requests == []
        assert found.console == []


def test_pictures_and_sounds_load_from_the_page_itself(browser: Browser, thin: Path) -> None:
    with opened(browser, thin, offline=True) as found:
        found.page.evaluate(UNFOLD)
        loaded = """(async () => {
            const images = [...document.querySelectorAll("svg image")].map((node) => {
                const image = new Image();
                image.src = node.getAttribute("href");
                return image.decode().then(() => image.width);
            });
            return Promise.all(images);
        })()"""
        widths = found.page.evaluate(loaded)
        assert len(widths) == 7
        assert all(width > 30 for width in widths)
        lengths = found.page.evaluate("""Promise.all([...document.querySelectorAll("audio")].map(
            (sound) => new Promise((done, failed) => {
                sound.onloadedmetadata = () => done(sound.duration);
                sound.onerror = () => failed(sound.error.message);
                sound.preload = "metadata";
                sound.load();
            })))""")
        assert lengths == [pytest.approx(2.0, abs=0.01)] * 3
        assert [r for r in found.requests if not r.startswith("data:")] == []
        assert found.console == []


def test_every_link_of_the_navigation_leads_to_its_section(browser: Browser, red: Path) -> None:
    with opened(browser, red) as found:
        links = found.page.locator("nav a")
        names = links.evaluate_all("(links) => links.map((link) => link.hash)")
        sections = found.page.locator("section[id]").evaluate_all("(all) => all.map((s) => s.id)")
        assert names == [f"#{name}" for name in sections], "a section that no link leads to"
        for place, name in enumerate(names):
            links.nth(place).click()
            expect(found.page.locator(f"section{name}")).to_be_in_viewport()


def test_a_link_to_a_check_unfolds_it(browser: Browser, green: Path) -> None:
    with opened(browser, green) as found:
        link = found.page.locator("#ladder a[href^='#check-']").first
        target = str(link.get_attribute("href"))
        expect(found.page.locator(target)).to_be_hidden()
        link.click()
        expect(found.page.locator(target)).to_be_in_viewport()
    with opened(browser, green, fragment=target[1:]) as found:
        expect(found.page.locator(target)).to_be_in_viewport()


def test_words_and_a_verdict_find_checks(browser: Browser, red: Path, broken_run: Run) -> None:
    with opened(browser, red) as found:
        page = found.page
        before = rows_shown(page)
        page.select_option("#checks select", "fail")
        shown = page.locator("#checks output")
        expect(shown).to_have_text(re.compile(rf"^10 of {len(broken_run.checks)} checks shown$"))
        assert rows_shown(page) == 10
        page.fill("#checks input", "surgery")
        expect(shown).to_have_text(re.compile(r"^3 of "))
        page.fill("#checks input", "no such check")
        expect(shown).to_have_text(re.compile(r"^0 of "))
        page.press("#checks input", "Escape")
        expect(shown).to_be_empty()
        assert rows_shown(page) == before, "what was folded before must be folded again"


def test_what_rows_share_can_be_searched_for_too(browser: Browser, green: Path, run: Run) -> None:
    with opened(browser, green) as found:
        found.page.fill("#checks input", "end_to_end fp16 vocals left")
        wanted = [
            check
            for check in run.checks
            if (check.layer, check.labels.get("recipe")) == ("end_to_end", "fp16")
            and (check.labels["stem"], check.labels.get("channel")) == ("vocals", "left")
        ]
        expect(found.page.locator("#checks output")).to_have_text(
            f"{len(wanted)} of {len(run.checks)} checks shown"
        )
        assert rows_shown(found.page) == len(wanted) > 0


@pytest.mark.parametrize(("column", "least"), [("Headroom", "number"), ("What", "text")])
def test_a_click_sorts_and_another_turns_it_round(
    browser: Browser, green: Path, column: str, least: str
) -> None:
    with opened(browser, green) as found:
        page = found.page
        page.evaluate(UNFOLD)
        table = page.locator("#layer-conversion table.checks").first
        head = table.locator("thead th", has_text=column)
        place = head.evaluate("(cell) => cell.cellIndex")
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", "ascending")
        up = [
            cell.strip()
            for cell in table.locator(f"tbody tr > :nth-child({place + 1})").all_inner_texts()
        ]
        if least == "number":
            levels = [float(text.replace("\N{MINUS SIGN}", "-").split()[0]) for text in up]
            assert levels == sorted(levels)
            assert len(set(levels)) > 5
        else:
            assert [text.split()[0] for text in up] == sorted(text.split()[0] for text in up)
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", "descending")
        down = table.locator(f"tbody tr > :nth-child({place + 1})").all_inner_texts()
        assert down[0].split()[0] == up[-1].split()[0]


def test_the_page_can_be_used_without_a_mouse(browser: Browser, red: Path) -> None:
    with opened(browser, red) as found:
        page = found.page
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("/")
        expect(page.locator("#checks input")).to_be_focused()
        page.keyboard.type("n/")
        expect(page.locator("#checks input")).to_have_value("n/")
        page.keyboard.press("Escape")
        page.locator("h1").click()
        page.keyboard.press("n")
        focused = page.locator("#checks tr:focus")
        expect(focused).to_have_class("fail")
        expect(focused).to_be_in_viewport()
        page.keyboard.press("p")
        expect(focused).to_have_class(re.compile("fail|not_evaluated"))
        page.keyboard.press("?")
        expect(page.locator("dialog")).to_be_visible()
        page.locator("dialog input").uncheck()
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_be_hidden()
        page.locator("h1").click()
        page.keyboard.press("/")
        expect(page.locator("#checks input")).not_to_be_focused()


def test_everything_is_there_without_javascript(browser: Browser, red: Path) -> None:
    with opened(browser, red, java_script_enabled=False) as found:
        page = found.page
        expect(page.locator("#check-tools")).to_be_hidden()
        expect(page.locator("#keys-button")).to_be_hidden()
        layer = page.locator("#layer-ops > details")
        row = layer.locator("tbody tr").first
        expect(row).to_be_hidden()
        layer.locator("summary").first.click()
        layer.locator("details.inner > summary").first.click()
        expect(row).to_be_visible()
        row.locator("summary", has_text="reproduce").click()
        expect(row.locator("code")).to_contain_text("parity check")


def test_a_bar_of_headroom_starts_in_the_middle(browser: Browser, red: Path) -> None:
    """To the left is what is missing, to the right what is left: colour alone would not say it."""
    with opened(browser, red) as found:
        bars = found.page.evaluate(
            "[...document.querySelectorAll('#checks td.headroom[style]')]"
            ".map((cell) => [cell.textContent.trim(), cell.style.getPropertyValue('--bar')])"
        )
    assert {text[0] for text, _ in bars} > {"+", "\N{MINUS SIGN}"}
    for text, bar in bars:
        assert (float(bar.rstrip("%")) < 0) == text.startswith("\N{MINUS SIGN}"), text


def test_a_whole_run_is_a_page_that_is_read_to_its_end(
    browser: Browser, whole: tuple[Run, Path]
) -> None:
    """A reviewer has a minute: what passed is folded, and all that failed stands there."""
    run, file = whole
    with opened(browser, file) as found:
        page = found.page
        assert page.evaluate("document.documentElement.scrollHeight") <= 12_050
        assert page.evaluate(OVERFLOW) <= 0
        for place, check in enumerate(run.checks, start=1):
            if check.gating and check.verdict is not Verdict.PASS:
                expect(page.locator(f"#check-{place}")).to_be_visible()
        recipes = page.locator("details.recipe")
        failed = [view for view in build_page(run).recipes if view.state == "fail"]
        assert recipes.count() == 9
        assert page.locator("details.recipe[open]").count() == len(failed)
        for view in failed:
            cells = page.locator(f"#{view.anchor} td.fail")
            expect(cells.first).to_be_visible()
            expect(page.locator("#recipes .story tr.fail", has_text=view.recipe)).to_be_visible()
        for fault in run.faults:
            if fault.escaped:
                expect(page.locator("#faults tr.fail", has_text=fault.name)).to_be_visible()
        assert found.console == []


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_the_first_screen_says_the_verdict_and_how_close_it_was(
    browser: Browser, whole: tuple[Run, Path], width: int, height: int
) -> None:
    run, file = whole
    with opened(browser, file, width=width, height=height) as found:
        seen = [found.page.locator("#verdict .chip").first, *found.page.locator(".tiles li").all()]
        boxes = [node.bounding_box() for node in seen]
        assert len(boxes) == 5
        assert all(box and box["y"] + box["height"] <= height for box in boxes)
        assert found.page.evaluate(OVERFLOW) <= 0
        expect(seen[0]).to_contain_text(run.verdict.value)


def test_the_bar_of_sections_is_whole_on_a_desk_and_follows(
    browser: Browser, whole: tuple[Run, Path]
) -> None:
    with opened(browser, whole[1]) as found:
        page = found.page
        page.mouse.wheel(0, 3_000)
        for link in page.locator("nav a").all():
            expect(link).to_be_in_viewport(ratio=1.0)
        assert page.evaluate("document.querySelector('nav ul').scrollWidth") <= 1_200


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_width_has_to_be_scrolled_sideways(browser: Browser, thin: Path, width: int) -> None:
    with opened(browser, thin, width=width) as found:
        assert found.page.evaluate(OVERFLOW) <= 0
        found.page.evaluate(UNFOLD)
        assert found.page.evaluate(OVERFLOW) <= 0, "something that is folded is too wide"


def test_a_phone_prints_no_number_over_its_label(browser: Browser, thin: Path) -> None:
    labels = """[...document.querySelectorAll('.stack td[data-name]')]
        .filter((cell) => cell.offsetParent && cell.innerText)
        .map((cell) => [parseFloat(getComputedStyle(cell).gridTemplateColumns), cell.innerText])"""
    with opened(browser, thin, width=390) as found:
        found.page.evaluate(UNFOLD)
        columns = found.page.evaluate(labels)
        assert len(columns) > 50
        assert [text for room, text in columns if room < 40] == []


def test_no_word_of_a_chart_is_cut_off(browser: Browser, thin: Path) -> None:
    outside = """[...document.querySelectorAll('.chart text')].filter((words) => {
        const own = words.getBoundingClientRect();
        const whole = words.closest('svg').getBoundingClientRect();
        return own.bottom > whole.bottom + 1;
    }).map((words) => words.textContent)"""
    with opened(browser, thin) as found:
        found.page.evaluate(UNFOLD)
        assert found.page.locator(".chart text", has_text="channel_down").count() == 1
        assert found.page.evaluate(outside) == []


@pytest.mark.parametrize(
    ("scheme", "options"), [("light", {}), ("dark", {"runOnly": ["color-contrast"]})]
)
def test_axe_finds_nothing_serious(
    browser: Browser, thin: Path, scheme: str, options: dict[str, list[str]]
) -> None:
    with opened(browser, thin, color_scheme=scheme, reduced_motion="reduce") as found:
        found.page.evaluate(UNFOLD)
        results = Axe().run(found.page, options=options).response
        grave = [
            (rule["id"], rule["nodes"][0]["html"])
            for rule in results["violations"]
            if rule["impact"] in GRAVE
        ]
        assert grave == []
        assert len(results["passes"]) == 1 if options else len(results["passes"]) > 20


def test_paper_is_white_and_holds_what_screens_fold(browser: Browser, green: Path) -> None:
    with opened(browser, green, color_scheme="dark") as found:
        page = found.page
        page.emulate_media(media="print")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert colour == "rgb(255, 255, 255)", "a dark screen prints black paper"
        expect(page.locator("nav")).to_be_hidden()
        expect(page.locator("#check-tools")).to_be_hidden()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.set_viewport_size({"width": 718, "height": 1000})  # A4 within its margins
        assert page.evaluate(OVERFLOW) <= 0, "paper can't be scrolled"
        assert page.locator("#ladder thead").evaluate("(head) => head.offsetHeight") > 0
        assert page.locator("details[data-print]:not([open])").count() == 0
        assert len(page.pdf(format="A4")) > 50_000
