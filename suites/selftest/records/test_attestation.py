"""If these fail, a package travels with a verdict that is not its own, or that is too good."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.digests import digest_of
from harness.errors import RunError
from harness.records import read_attestation
from harness.verdicts import Run, Waiver

Judged = Callable[[Run], Path]


def made(run: Path, package: Path) -> Path:
    target = run.with_name("X.intoto.json")
    assert main(["attest", "make", str(run), str(package), "--out", str(target)]) == 0
    return target


def verified(statement: Path, package: Path, *options: str) -> int:
    return main(["attest", "verify", str(statement), str(package), *options])


def test_the_digest_is_what_the_shell_command_of_the_specification_gives(package: Path) -> None:
    assert shutil.which("sha256sum"), "the reference is a tool of coreutils"
    (package / "Ärger").write_bytes(b"a name that sorts by its bytes")
    command = "find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum"
    shell = subprocess.run(["sh", "-c", command], cwd=package, capture_output=True, check=True)
    assert digest_of(package).value == shell.stdout.decode().split()[0]


@pytest.mark.parametrize(
    ("name", "result", "code"),
    [("green", "PASSED", 0), ("red", "FAILED", 1), ("unseen", "FAILED", 3)],
)
def test_a_statement_says_what_the_run_said(
    name: str, result: str, code: int, package: Path, judged: Judged,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    run: Run = request.getfixturevalue(name)
    document = judged(run)
    statement = made(document, package)
    told = json.loads(statement.read_text())
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert told["predicate"]["result"] == result
    assert told["subject"][0]["digest"] == {"dirHash": digest_of(package).value}
    assert verified(statement, package, "--run", str(document)) == code
    gating = [c.id for c in run.checks if c.gating and c.verdict.value == "pass"]
    assert told["predicate"]["passedTests"] == gating
    assert {c.id for c in run.failing} <= set(told["predicate"]["failedTests"])
    gates = told["predicate"]["configuration"][1]["annotations"]
    assert gates["end_to_end"]["min_snr_db"] == 60.0


def test_a_waived_failure_is_a_warning_and_no_pass(
    red: Run, green: Run, package: Path, judged: Judged
) -> None:
    failed = next(c for c in red.failing if c.outcome.headroom_db is not None)
    checks = tuple(failed if c.id == failed.id else c for c in green.checks)
    waiver = Waiver(failed.id, "upstream", "2025-11-20", "2025-12-20", -100.0)
    run = replace(green, checks=checks, waivers=(waiver,))
    told = json.loads(made(judged(run), package).read_text())["predicate"]
    assert (told["result"], told["warnedTests"], told["failedTests"]) == ("WARNED", [failed.id], [])


@pytest.mark.parametrize("change", ["byte", "new", "gone", "renamed"])
def test_a_changed_package_does_not_verify(
    change: str, green: Run, package: Path, judged: Judged, capsys: pytest.CaptureFixture[str]
) -> None:
    statement = made(judged(green), package)
    weights = package / "Data" / "weights" / "weight.bin"
    if change == "byte":
        weights.write_bytes(bytes([1]) + weights.read_bytes()[1:])
    elif change == "new":
        (package / "Data" / "more.bin").write_bytes(b"")
    elif change == "gone":
        weights.unlink()
    else:
        weights.rename(weights.with_name("other.bin"))
    capsys.readouterr()
    assert verified(statement, package) == 1
    said = capsys.readouterr().out
    assert "NOT VERIFIED" in said
    assert "bin" in said


def test_a_run_of_another_package_attests_nothing(
    green: Run, package: Path, judged: Judged, tmp_path: Path
) -> None:
    run = judged(green)
    (package / "Manifest.json").write_text("{ }")
    target = tmp_path / "X.json"
    assert main(["attest", "make", str(run), str(package), "--out", str(target)]) == 2
    assert not target.exists()


def test_another_run_is_not_the_one_that_was_attested(
    green: Run, package: Path, judged: Judged
) -> None:
    run = judged(green)
    statement = made(run, package)
    run.write_text(run.read_text() + " ")
    assert verified(statement, package, "--run", str(run)) == 1


def upgraded(told: dict[str, Any]) -> None:
    told["predicate"]["result"] = "PASSED"


def with_verdict(told: dict[str, Any]) -> None:
    upgraded(told)
    told["predicate"]["configuration"][0]["annotations"]["verdict"] = "pass"


def with_bounds(told: dict[str, Any]) -> None:
    told["predicate"]["configuration"][1]["annotations"]["end_to_end"]["min_snr_db"] = 6.0


@pytest.mark.parametrize("edit", [upgraded, with_verdict, with_bounds])
def test_a_statement_that_contradicts_itself_is_refused(
    edit: Callable[[dict[str, Any]], None], red: Run, package: Path, judged: Judged
) -> None:
    statement = made(judged(red), package)
    told = json.loads(statement.read_text())
    edit(told)
    statement.write_text(json.dumps(told))
    assert verified(statement, package) == 2


def test_a_statement_that_lacks_anything_is_refused(
    green: Run, package: Path, judged: Judged
) -> None:
    whole = json.loads(made(judged(green), package).read_text())
    keys: list[tuple[str, ...]] = [(k,) for k in whole]
    keys += [("predicate", k) for k in whole["predicate"]]
    file = package.with_name("broken.json")
    for *above, key in keys:
        for value in (None, 3, "x", [], {}, [3], {"x": 3}):
            told = copy.deepcopy(whole)
            container = told[above[0]] if above else told
            container[key] = value
            if value is None:
                del container[key]
            if key in ("warnedTests", "failedTests") and value == []:
                continue  # as it was
            file.write_text(json.dumps(told))
            with pytest.raises(RunError, match="is no attestation"):
                read_attestation(file)


def test_reading_says_how_many(red: Run, package: Path, judged: Judged) -> None:
    found = read_attestation(made(judged(red), package))
    broken = len(red.red) - len(red.failing)
    assert found.tests[2] == len(red.failing) + broken > 10
