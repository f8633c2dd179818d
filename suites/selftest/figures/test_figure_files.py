"""``parity figures``: which files it writes, what it says of the others, and what it refuses.

If these fail, a pull request shows a change where nothing changed, half a set of figures stands
beside the older half, or a figure that was asked for is silently not there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from harness.cli import main
from harness.figures import FORMATS, KINDS, Drawing, Paper, drawings_of, write_figures
from harness.report.raster import palette
from harness.verdicts import Profile, Run
from harness.verdicts.rows.artefacts import Artefacts
from suites.selftest.report.figure_rows import SENSITIVITY, figure_rows
from suites.selftest.report.run_rows import run_rows

BEGINNINGS = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}


@pytest.fixture(scope="module")
def run() -> Run:
    """A run with rows for every kind of figure, and no checks."""
    rows = run_rows().plus(figure_rows())
    return Run(Profile("x", recipes=("fp32", "fp16", "mixed")), (), artefacts=rows)


@pytest.fixture
def run_file(run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    path.write_text(run.to_json(), encoding="utf-8")
    return path


def command(*words: str | Path) -> int:
    return main(["figures", *map(str, words)])


def one_of_each(run: Run) -> list[Drawing]:
    return list({drawing.kind: drawing for drawing in drawings_of(run)}.values())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_kind_of_figure_is_written_in_every_format(run: Run, tmp_path: Path) -> None:
    files = write_figures(one_of_each(run), Paper.of(3.4, run), tmp_path)
    assert len(files) == len(KINDS)
    written = contents(tmp_path)
    assert set(written) == {path.name for paths in files.values() for path in paths}
    assert len(written) == len(KINDS) * len(FORMATS)
    for name, data in written.items():
        assert data.startswith(BEGINNINGS[name.rpartition(".")[2]])
        assert len(data) > 5_000


def test_the_same_run_gives_the_same_bytes_whatever_process_and_settings(
    run: Run, run_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the hashes of strings, nor a user's matplotlibrc, nor the day gets into a file."""
    only = ("--only", "taps", "--only", "spectrograms-*-fp16-*", "--width", "column")
    monkeypatch.setitem(matplotlib.rcParams, "lines.linewidth", 9.0)
    before = dict(matplotlib.rcParams)
    assert command(run_file, "--out", tmp_path / "here", *only) == 0
    assert dict(matplotlib.rcParams) == before
    words = [sys.executable, "-c", _FIGURES, str(run_file), "--out", str(tmp_path / "there"), *only]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1000000000"}
    subprocess.run(words, env=environment, check=True, capture_output=True)
    here = contents(tmp_path / "here")
    assert len(here) == 6
    assert here == contents(tmp_path / "there")


_FIGURES = """
import sys
from harness.cli import main
code = main(["figures", *sys.argv[1:]])
assert "matplotlib.pyplot" not in sys.modules, "it would choose a window system"
sys.exit(code)
"""


def test_only_the_command_that_draws_imports_matplotlib(run_file: Path, tmp_path: Path) -> None:
    """It takes longer to import than everything else that ``parity report`` needs."""
    program = (
        "import sys; from harness.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 'matplotlib' in sys.modules)"
    )
    words = ["report", str(run_file), "--out", str(tmp_path / "page"), "--baseline", "none"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"data:image/png" in (tmp_path / "page" / "index.html").read_bytes()


def test_the_table_of_colours_is_viridis() -> None:
    colours = matplotlib.colormaps["viridis"]
    for levels in (2, 64, 256):
        expected = colours.resampled(levels)(range(levels), bytes=True)[:, :3]
        assert palette(levels) == expected.tobytes()


def test_the_files_appear_together_or_not_at_all(run: Run, tmp_path: Path) -> None:
    drawings = [d for d in one_of_each(run) if d.kind in ("stems", "pareto")]
    (tmp_path / f"{drawings[0].name}.svg").write_text("older", encoding="utf-8")
    (tmp_path / "paper.tex").write_text("mine", encoding="utf-8")
    before = contents(tmp_path)

    def fail(paper: Paper) -> Any:
        raise OSError("the disk is full")

    broken = [*drawings, replace(drawings[0], name="stems-broken", draw=fail)]
    with pytest.raises(OSError, match="full"):
        write_figures(broken, Paper.of(3.4, run), tmp_path, ["svg"])
    assert contents(tmp_path) == before
    write_figures(drawings, Paper.of(3.4, run), tmp_path, ["svg", "svg"])
    after = contents(tmp_path)
    assert set(after) == {"paper.tex", *(f"{d.name}.svg" for d in drawings)}
    assert after["paper.tex"] == b"mine"
    assert after[f"{drawings[0].name}.svg"] != b"older"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "tiff"), "unknown format 'tiff' (known: pdf, png, svg)"),
        (("--only", "stem"), "unknown figure 'stem'; did you mean 'stems'?"),
        (("--only", "stems", "--only", "taps-mini-*"), "unknown figure 'taps-mini-*'"),
        (("--width", "wide"), "--width 'wide' is none of column, page, slide and no number of"),
        (("--width", "1"), "inches from 3.2 to 10"),
        (("--width", "nan"), "inches from 3.2 to 10"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(
    words: tuple[str, ...],
    said: str,
    run_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(run_file, "--out", tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_a_run_lacks_is_said_and_cannot_be_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = Run(Profile("x"), ())
    some = replace(empty, artefacts=Artefacts().plus(run_rows().separation))
    (tmp_path / "empty.json").write_text(empty.to_json(), encoding="utf-8")
    (tmp_path / "some.json").write_text(some.to_json(), encoding="utf-8")
    out = ("--out", tmp_path / "out")
    assert command(tmp_path / "empty.json", *out) == 2
    assert "this run has nothing to draw: no operations:" in capsys.readouterr().err
    assert command(tmp_path / "some.json", *out, "--only", "sensitivities") == 2
    wanted = "this run has no sensitivities: attach a document of parity sensitivity"
    assert wanted in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert command(tmp_path / "some.json", *out, "--format", "svg") == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out' / 'stems-htdemucs_6s@seeded.svg'}\n"
    assert said.err.count("\n") == len(KINDS) - 1
    assert "no pareto: attach a document of parity tune\n" in said.err


def test_an_attached_document_is_drawn_and_json_names_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, document, out = tmp_path / "run.json", tmp_path / "mini.json", tmp_path / "out"
    run.write_text(Run(Profile("x"), ()).to_json(), encoding="utf-8")
    document.write_text(json.dumps(SENSITIVITY), encoding="utf-8")
    words = (run, "--out", out, "--attach", document, "--format", "pdf", "--json")
    assert command(*words, "--width", "slide") == 0
    said = json.loads(capsys.readouterr().out)
    name = "sensitivities-htdemucs_6s@seeded-fp16"
    assert said["figures"] == {name: [str(out / f"{name}.pdf")]}
    assert set(said["lacking"]) == set(KINDS) - {"sensitivities"}
    assert [path.name for path in out.iterdir()] == [f"{name}.pdf"]


def test_subjects_whose_names_no_file_can_have_get_files_of_their_own(tmp_path: Path) -> None:
    row = run_rows().separation[0]
    subjects = ("a@/x/y.th", "a@/x y.th", "../../up", "A@-X-y.th", "n" * 3000)
    rows = [replace(row, subject=subject) for subject in subjects]
    run = Run(Profile("x"), (), artefacts=Artefacts().plus(rows))
    drawings = drawings_of(run)
    names = [drawing.name for drawing in drawings]
    assert names[:4] == [
        "stems-a@-x-y.th",
        "stems-a@-x-y.th-2",
        "stems-..-..-up",
        "stems-A@-X-y.th-3",
    ]
    assert max(map(len, names)) == 120
    write_figures(drawings, Paper.of(3.4, run), tmp_path, ["svg"])
    assert sorted(contents(tmp_path)) == sorted(f"{name}.svg" for name in names)
