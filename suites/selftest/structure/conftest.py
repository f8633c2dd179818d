"""A narrow HTDemucs, converted once, and the small trained one for proofs that take minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import mil
from harness.conversion import TracedModel, convert_to_coreml, load_recipe, trace_inner_model
from harness.mil import Model
from harness.subjects import extract_inner_model
from harness.workbench import Workbench
from suites.selftest.networks import narrow_network

GOLDEN_ROOT = Path(__file__).parents[3] / "golden"


@pytest.fixture(scope="session")
def narrow_trace() -> TracedModel:
    """The whole architecture, but shallow, narrow and a quarter of a second long."""
    return trace_inner_model(extract_inner_model(narrow_network(["drums", "vocals"], t_layers=1)))


@pytest.fixture(scope="session")
def narrow_path(narrow_trace: TracedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("structure") / "narrow.mlpackage"
    convert_to_coreml(narrow_trace, recipe=load_recipe("fp32"), out=out, subject="narrow")
    return out


@pytest.fixture(scope="session")
def narrow(narrow_path: Path) -> Model:
    return mil.load(narrow_path)


@pytest.fixture(scope="session")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(GOLDEN_ROOT, tmp_path_factory.mktemp("packages"))
