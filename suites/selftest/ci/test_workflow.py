"""If these fail, the workflow that people copy from the documentation is not the one that runs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / ".github" / "workflows" / "parity.yml"
ACTION = ROOT / ".github" / "actions" / "check" / "action.yml"
NARROWED = "--subject mini --case quiet --recipe fp32"
"""What the test runs instead of everything: options that any user has."""
KEPT = "PARITY_NOX_ENVIRONMENTS"
"""A folder of nox's environments that may be used again, instead of gigabytes for each run."""


def documented() -> str:
    """Return the workflow that docs/ci.md shows."""
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    (found,) = (block for block in re.findall(r"```yaml\n(.*?)```", text, re.S) if "jobs:" in block)
    return found


def steps(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for job in document["jobs"].values() for row in job["steps"]]


def test_the_documented_workflow_is_the_one_of_this_repository() -> None:
    assert documented() == WORKFLOW.read_text(encoding="utf-8")


def test_it_caches_what_decides_and_reports_whatever_comes_out() -> None:
    rows = steps(yaml.safe_load(documented()))
    uses = {row["uses"].partition("@")[0]: row for row in rows if "uses" in row}
    cached = uses["actions/cache"]["with"]
    assert cached["path"].split() == ["golden/tensors", "build/store"]
    for name in re.findall(r"'([^']+)'", cached["key"]):
        assert (ROOT / name).is_file(), f"the key of the cache hashes {name}, which is not there"
    assert uses["actions/upload-artifact"]["if"] == "always()"


def test_every_input_of_the_action_reaches_a_command_quoted_or_as_words() -> None:
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    rows = action["runs"]["steps"]
    used = {name for row in rows for name in re.findall(r"inputs\.(\w+)", str(row))}
    assert used == set(action["inputs"])
    for row in rows:
        if "run" in row:  # a value that is pasted into a script could be one
            assert "${{" not in row["run"], row["name"]
            assert row["shell"] == "bash"


def test_the_report_may_lie_in_any_folder(tmp_path: Path) -> None:
    rows = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"]
    (naming,) = (row for row in rows if row.get("id") == "artefact")
    output = tmp_path / "output"
    told = {"REPORT": "build/pages of mine", "GITHUB_OUTPUT": str(output)}
    subprocess.run(["bash", "-eo", "pipefail", "-c", naming["run"]], env=told, check=True)
    assert output.read_text(encoding="utf-8") == "name=build-pages-of-mine\n"
    (upload,) = (row for row in rows if "upload" in row.get("uses", ""))
    assert upload["with"]["name"] == "${{ steps.artefact.outputs.name }}"


@pytest.mark.exhaustive
def test_the_shell_steps_run_in_a_fresh_clone(tmp_path: Path) -> None:
    clone, summary = tmp_path / "clone", tmp_path / "summary.md"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(clone)], check=True)
    kept = os.environ.get(KEPT)
    if kept:
        (clone / ".nox").symlink_to(kept)
    workflow = yaml.safe_load(documented())
    environment = {
        **{name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
        **{name: str(value) for name, value in workflow["env"].items()},
        "PARITY_ARGS": NARROWED,
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GOMP_SPINCOUNT": "1000",
    }
    ran = []
    for row in steps(workflow):
        if "run" in row:
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", row["run"]], cwd=clone, env=environment,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (
                f"{row['run']}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            )
            ran.append(row["run"])
    assert len(ran) == 2
    assert summary.read_text(encoding="utf-8").startswith("## ✓ PASS")
    (uploaded,) = (
        row["with"]["path"] for row in steps(workflow) if "upload" in row.get("uses", "")
    )
    for name in ("index.html", "run.json", "junit.xml", "summary.md"):
        assert (clone / uploaded / name).is_file()
