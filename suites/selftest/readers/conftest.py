"""``--mutants N``: how many mutants each reader gets; ``nox -s fuzz`` asks for thousands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.mil import timing
from harness.subjects import weights
from suites.selftest.readers.readers import READERS, Reader, two_tensors
from suites.selftest.readers.trials import TALLIES, Bench

MUTANTS = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutants", type=int, default=MUTANTS, help="mutants for each reader")


@pytest.fixture(scope="session")
def mutants(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("mutants", MUTANTS))


@pytest.fixture(scope="module", params=READERS, ids=lambda reader: reader.name)
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    reader: Reader = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "MAX_BLOCK_RUNS", 200)
        patch.setattr(weights, "empty_model", two_tensors)
        folder = tmp_path_factory.mktemp("sound") / "files"
        folder.mkdir()
        yield Bench(reader, folder)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the figures as docs/hostile-input.md has them."""
    tallies = config.stash.get(TALLIES, {})
    if not tallies:
        return
    terminalreporter.section("mutants")
    for tally in tallies.values():
        terminalreporter.write_line(
            f"| {tally.reader} | {tally.mutants:,} | {tally.refused:,} | {tally.accepted:,} "
            f"| {tally.slowest_s:.2f} s | {tally.peak_bytes / 1e6:.0f} MB |"
        )
