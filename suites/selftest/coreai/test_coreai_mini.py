"""If this fails, Apple's runtime no longer makes of the whole network what PyTorch does."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.coreai import Asset, convert_to_coreai
from harness.metrics import snr_db
from harness.places import GOLDEN_ROOT
from harness.subjects import load_subject
from harness.subjects.protocol import run_extracted
from harness.workbench.sources import SubjectSource


@pytest.mark.exhaustive
def test_mini_in_fp32_is_pytorch_s_above_105_db(installed: None, tmp_path: Path) -> None:
    inner, path = load_subject("mini").extract(), tmp_path / "mini.aimodel"
    inputs = SubjectSource("mini", ("song",), GOLDEN_ROOT).inputs()["song"]
    expected = run_extracted(inner, inputs, None)
    convert_to_coreai(inner, path)
    made = Asset(path).predict({name: value.numpy() for name, value in inputs.items()})
    assert made.keys() == {"freq", "time"}
    for name, value in made.items():
        assert snr_db(expected[name].numpy(), value) > 105
