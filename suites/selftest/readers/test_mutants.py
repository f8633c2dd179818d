"""Every reader against damaged and malicious files: it takes them, or refuses in one sentence."""

from __future__ import annotations

from suites.selftest.readers.trials import TALLIES


def test_sound_files_are_taken(bench):
    """Else the test below would prove nothing."""
    bench.read_all()


def test_mutants_are_taken_or_refused_by_name(bench, mutants, request):
    for seed in range(mutants):
        bench.mutant(seed)
    tally = bench.tally
    request.config.stash.setdefault(TALLIES, {})[bench.reader.name] = tally
    assert tally.refused >= mutants / 4
