"""``parity lint``: exit codes, one JSON document, and the page that lists the rules."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.cli import main
from harness.lint import all_rules
from suites.selftest.lint.examples import EXAMPLES

PAGE = Path("docs", "lint.md")


@pytest.fixture
def package(tmp_path):
    return lambda name, right=False: str(
        EXAMPLES[name][right].write(tmp_path / f"{name}{right}.mlpackage")
    )


def test_an_error_fails_and_a_warning_does_not(package, capsys):
    assert main(["lint", package("division_by_zero")]) == 1
    said = capsys.readouterr().out
    assert "error division_by_zero: 1 found" in said
    assert "next: see what the divisor was" in said
    assert "1 errors, 0 warnings" in said
    assert main(["lint", package("softplus_in_fp16")]) == 0
    assert "warning softplus_in_fp16" in capsys.readouterr().out


def test_rules_are_applied_or_left_out(package, capsys):
    wrong = package("division_by_zero")
    assert main(["lint", wrong, "--ignore", "division_by_zero"]) == 0
    assert main(["lint", wrong, "--rule", "rank_above_five"]) == 0
    assert main(["lint", wrong, "--rule", "rank_above_five", "--rule", "division_by_zero"]) == 1
    assert main(["lint", wrong, "--rule", "rank_above_six"]) == 2
    assert "did you mean 'rank_above_five'" in capsys.readouterr().err


def test_one_json_document(package, capsys):
    wrong = package("division_by_zero")
    assert main(["lint", wrong, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["errors"], document["warnings"]) == (1, 0)
    assert len(document["rules"]) == len(all_rules())
    (finding,) = document["findings"]
    assert finding["rule"] == "division_by_zero"
    assert finding["severity"] == "error"
    assert finding["place"].startswith("main[")
    assert finding["source"]
    assert finding["next_step"]
    assert finding["type"] == "real_div"


def test_bad_input_is_one_sentence(capsys, tmp_path):
    assert main(["lint"]) == 2
    assert "name a package, or give --list" in capsys.readouterr().err
    assert main(["lint", str(tmp_path / "no.mlpackage")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_the_rules_are_listed(capsys):
    assert main(["lint", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["rules"]
    assert [row["name"] for row in listed] == [item.name for item in all_rules()]
    assert all(row["wrong"].endswith(".") and row["source"] for row in listed)
    assert main(["lint", "--list"]) == 0
    assert f"{len(listed)} rules" in capsys.readouterr().out


def test_the_page_lists_the_rules_as_they_are():
    """A rule that the page doesn't know, or says otherwise, would be found by nobody."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.M)
    expected = [
        (item.name, str(item.severity), item.wrong, _linked(item.source)) for item in all_rules()
    ]
    assert rows == expected


def _linked(source: str) -> str:
    return re.sub(r"https://github.com/apple/coremltools/issues/(\d+)", r"[#\1](\g<0>)", source)


def test_at_least_ten_rules_come_from_issues_of_coremltools():
    numbers = {
        number for item in all_rules() for number in re.findall(r"issues/(\d+)", item.source)
    }
    assert len(numbers) >= 20
