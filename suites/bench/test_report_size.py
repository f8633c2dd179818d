"""What the report of a very large run costs: to write, to open, and to search; ``nox -s bench``.

A run of twenty thousand checks beside one of two thousand, each written in a process of its own, so
that the peak of memory is its own. The page is then opened in the Chromium of the system: first
paint, the end of loading, and the wait for a search, by the browser's own clock.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from suites.bench.conftest import Measured
from suites.browser.chromium import NONE_FOUND, find_chromium, launched, opened

SIZES = (2_000, 20_000)
SIZE_OF: dict[Path, int] = {}
WRITE = """
import sys, time
from pathlib import Path
from harness.report import write_report
from harness.verdicts import Run
from suites.bench.many_checks import many_checks
run = Run.from_json(many_checks(int(sys.argv[1])).to_json())
started = time.perf_counter()
write_report(run, Path(sys.argv[2]))
print(time.perf_counter() - started)
if sys.platform == "linux":  # what rusage says outlives exec: a child has its parent's peak
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(int(status["VmHWM"].split()[0]) // 1000)
"""
PAINT = """() => {
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const load = performance.getEntriesByType("navigation")[0];
  return [paint.startTime, load.loadEventEnd, document.querySelectorAll("*").length];
}"""
SEARCH = """() => new Promise((done) => {
  const field = document.querySelector("#checks input");
  const started = performance.now();
  const seen = new MutationObserver(() => requestAnimationFrame(
    () => setTimeout(() => done(performance.now() - started))));
  seen.observe(document.querySelector("#checks output"), { childList: true });
  field.value = "vocals song_1";
  field.dispatchEvent(new Event("input"));
})"""


@pytest.fixture(scope="module", params=SIZES)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp(f"report_{request.param}")
    command = [sys.executable, "-c", WRITE, str(request.param), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, *peak = done.stdout.split()
    index = folder / "index.html"
    SIZE_OF[index] = request.param
    print(
        f"\n{request.param} checks: written in {float(seconds):.1f} s, peak "
        f"{peak[0] if peak else '?'} MB; page {index.stat().st_size / 1e6:.1f} MB"
    )
    return index


def test_opening_and_searching_a_large_page(page: Path, measured: Measured) -> None:
    program = find_chromium()
    if program is None:
        pytest.skip(f"not evaluated: {NONE_FOUND}")
    with launched(program) as browser, opened(browser, page) as found:
        paint, load, elements = found.page.evaluate(PAINT)
        search = found.page.evaluate(SEARCH)
        print(
            f"first paint {paint:.0f} ms, loaded after {load:.0f} ms, {elements} elements, "
            f"a search {search:.0f} ms (120 ms of them waiting for the next key)"
        )
        named = f"page of {SIZE_OF[page]} checks: "
        measured(f"{named}size", page.stat().st_size / 1e6, "MB")
        for what, value in (("first paint", paint), ("loaded", load), ("a search", search)):
            measured(named + what, value, "ms")
        assert found.console == []
        assert 0 < paint < load
