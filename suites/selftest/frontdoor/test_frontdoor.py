"""If these fail, ``import harness`` is slow, or says something else than the commands do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.errors import ParityError
from harness.verdicts import Check, Profile, Run, failed
from harness.verdicts.collector import Collector
from harness.workbench import Workbench
from harness.workbench.check import Inquiry
from harness.workbench.sources import SubjectSource
from suites.ops.packages import write_package
from suites.selftest.declared.fading import declare
from suites.selftest.extras import needs
from suites.selftest.mil.conftest import make_program, small_network
from suites.selftest.report.conftest import break_checks, build_run

NOTEBOOK = Path("docs", "notebook.ipynb")


def test_importing_the_package_imports_nothing_of_what_computes() -> None:
    """Nor does its plugin, which every pytest starts with, and each of its workers."""
    code = (
        "import sys, harness; before = {'torch', 'numpy', 'coremltools'} & set(sys.modules); "
        "names = set(harness.__all__) <= set(dir(harness)); import harness.pytest_plugin; "
        "before |= {'torch', 'coremltools'} & set(sys.modules); harness.compare; "
        "print(before, names, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set() True True"
    with pytest.raises(AttributeError, match="convert"):
        harness.convert  # noqa: B018


def test_a_package_is_loaded_and_compared(tmp_path: Path) -> None:
    package = tmp_path / "net.mlpackage"
    write_package(make_program(small_network, {"x": (3, 6)}, np.float32), package)
    model = harness.load(package)
    noise = np.random.default_rng(1).standard_normal((3, 6)).astype(np.float32)
    made = model.predict({"x": noise})
    same = harness.compare(made, {name: array.copy() for name, array in made.items()})
    assert same
    assert "pass" in repr(same)
    assert set(same.snr_db.values()) == {np.inf}
    off = {name: array + np.float32(1) for name, array in made.items()}
    found = harness.compare(made, off, min_snr_db=60)
    assert not found
    assert "SNR" in repr(found)
    for name, level in found.snr_db.items():
        with np.errstate(divide="ignore"):  # one output is zero: its ratio is -inf
            ratio = 10 * np.log10((made[name].astype(float) ** 2).sum() / made[name].size)
        assert level == pytest.approx(ratio, abs=1e-4)


def test_a_declared_network_is_looked_at_where_its_commands_look_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cases lie beside its file: those of HTDemucs are no inputs of it."""
    declare(tmp_path, "fading_at_the_door")
    monkeypatch.chdir(tmp_path)
    asked: dict[str, object] = {}

    def look(bench: Workbench, inquiry: Inquiry, advance: object) -> Collector:
        asked["check"] = bench.goldens.cases.keys() >= set(inquiry.cases) > set()
        return Collector(Profile("check"))

    def inputs(source: SubjectSource) -> None:
        source.check_cases()
        asked["sensitivity"] = bool(source.cases)
        raise ParityError("far enough")

    monkeypatch.setattr("harness.frontdoor.check_package", look)
    monkeypatch.setattr(SubjectSource, "inputs", inputs)
    harness.check("x.mlpackage", "fading")
    with pytest.raises(ParityError, match="far enough"):
        harness.sensitivity("fading")
    assert asked == {"check": True, "sensitivity": True}


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        ({"a": [1.0]}, {"b": [1.0]}, "same names"),
        ({}, {}, "at least one"),
        ({"a": [1.0]}, [1.0], "same names"),
    ],
)
def test_what_can_not_be_compared_is_said(left: object, right: object, said: str) -> None:
    with pytest.raises(ParityError, match=said):
        harness.compare(left, right)  # type: ignore[arg-type]


def test_other_shapes_and_types_are_failures_and_are_not_made_to_fit() -> None:
    assert not harness.compare(np.ones((1, 3)), np.ones(3))
    assert not harness.compare(np.ones(3), np.ones(3, np.float32))
    with pytest.raises(ParityError, match="both rtol and atol"):
        harness.compare([1.0], [1.0], rtol=1e-3)


def test_a_run_is_short_in_a_console_and_a_table_in_a_notebook() -> None:
    green, red = build_run(), break_checks(build_run())
    assert repr(green) == f"<Run {green.sentence()}>"
    assert len(repr(red)) < 600
    html = red._repr_html_()
    assert html.count("<tr>") == 1 + len(red.layers)
    assert "FAIL" in html
    assert f"and {len(red.red) + len(red.missing) - 5} more" in html
    assert "<ul>" not in green._repr_html_()
    assert "<td>not evaluated</td>" in Run(Profile("check", layers=("ops",)), ())._repr_html_()


@given(
    text=st.text(max_size=40) | st.sampled_from(["<script>x</script>", '"><img src=x>', "\ud800"])
)
def test_no_text_of_a_run_is_markup(text: str) -> None:
    checks = (Check("ops", {"what": text}, True, None, failed(text)),)
    html = Run(Profile(text, layers=("ops",), subjects=(text,)), checks)._repr_html_()
    for tag in ("<script", "<img"):
        assert tag not in html
    html.encode()


@pytest.mark.exhaustive
def test_the_notebook_runs_and_says_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("test", "nbclient", "ipykernel")
    import nbclient
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    assert all(not cell.get("outputs") for cell in book.cells), "keep the notebook without outputs"
    done = nbclient.NotebookClient(
        book, timeout=600, resources={"metadata": {"path": "."}}
    ).execute()
    shown = [
        output["data"]
        for cell in done.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    converted, comparison, run, shares = shown
    assert converted["text/plain"] == "0"
    assert "freq" in comparison["text/html"]
    assert comparison["text/plain"].startswith("<Comparison ")
    assert "gating checks" in run["text/plain"]
    assert "<table>" in run["text/html"]
    assert (
        len(json.loads(shares["text/plain"].replace("(", "[").replace(")", "]").replace("'", '"')))
        == 5
    )
