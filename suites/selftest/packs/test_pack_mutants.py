"""Damaged packs and damaged results: taken, or refused in one sentence, within time and memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.packs import answered, open_pack, read_results, write_pack
from harness.packs.problems import Book, Draw, Problem
from suites.selftest.readers.readers import Reader
from suites.selftest.readers.trials import Bench

MUTANTS = 150


def make_pack(folder: Path) -> None:
    book = Book("small", layer="ops")

    @book.operation("double", {"x": "any"})
    def double(draw: Draw) -> Iterator[Problem]:
        """2 x."""
        yield Problem("basic", lambda x: 2 * x, {"x": draw(3, 4)})

    write_pack(folder / "pack", "small", answered(book), {"double": "2 x."})


def read_pack(folder: Path, changed: str) -> None:
    del changed
    pack = open_pack(folder / "pack")
    for case in pack.manifest.cases:
        for entry in case.tensors:
            assert pack.read(case, entry).shape == entry.shape


def make_results(folder: Path) -> None:
    make_pack(folder)
    y = np.ones((3, 4), np.float32)
    place = folder / "results" / "double.basic" / "out"
    place.mkdir(parents=True)
    np.save(place / "y.npy", y)
    save_file({"double.basic/grad/in/x": y}, folder / "results" / "rest.safetensors")


def open_results(folder: Path, changed: str) -> None:
    del changed
    results = read_results(folder / "results", open_pack(folder / "pack"))
    for name in results.names:
        results.read(name)


ROWS = [
    Reader("packs", make_pack, read_pack, chosen=False),
    Reader("results of packs", make_results, open_results, chosen=False),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_damaged_files_are_taken_or_refused_by_name(row: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    bench = Bench(row, folder)
    bench.read_all()
    for seed in range(MUTANTS):
        bench.mutant(seed)
    assert bench.tally.refused >= MUTANTS / 4
