"""The run as JUnit XML (the family that CI systems know as xunit1).

In: a `Run` and its view model. Out: one XML document with a test suite for each layer and a test
case for each check, and a suite with a case for each known bug that was injected.
Every suite says in the property ``run`` what the verdict of the whole run is and what it is about:
the subjects, what it was narrowed to, and whose gates. Verdicts are in the words of the page.
An exploratory check carries what it measured as properties and is never a failure; what was not
evaluated is skipped, with its reason, and so is a failure that is waived. What broke besides the
checks is an error of suite "harness", so that no reader of this file alone sees green where the run
is red.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from harness.report.text import printable, words
from harness.report.view import Page
from harness.report.view_banner import Banner
from harness.report.view_checks import CheckRow, check_rows
from harness.verdicts import LAYERS, FaultOutcome, Run, Verdict, Waiver

_PROPERTIES = ("headroom_db", "tolerance_ratio")


def junit_xml(run: Run, page: Page) -> str:
    """Return the JUnit document of ``run``, whose view model is ``page``."""
    root = ET.Element("testsuites", name="parity")
    harness = _harness(run, page.banner)
    rows = check_rows(run)
    suites = [
        _layer(layer, [row for row in rows if row.check.layer == layer], run) for layer in LAYERS
    ]
    suites += [_faults(run)] if run.faults else []
    for suite in [*suites, *([harness] if harness is not None else [])]:
        root.append(suite)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", f"{run.duration_s:.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(name: str, run: Run) -> ET.Element:
    suite = ET.Element("testsuite", name=name)
    _properties(suite, {"run": run.sentence()})
    return suite


def _properties(owner: ET.Element, facts: Mapping[str, str]) -> None:
    properties = ET.SubElement(owner, "properties")
    for name, value in facts.items():
        if value:
            ET.SubElement(properties, "property", name=name, value=printable(value))


def _layer(layer: str, rows: Sequence[CheckRow], run: Run) -> ET.Element:
    suite = _suite(layer, run)
    for row in rows:
        _case(suite, row, run.waived.get(row.check.id))
    _count(suite, sum(row.check.duration_s for row in rows), run.started)
    return suite


def _testcase(suite: ET.Element, group: str, name: str, duration_s: float = 0.0) -> ET.Element:
    facts = {"classname": f"parity.{group}", "name": printable(name), "time": f"{duration_s:.3f}"}
    return ET.SubElement(suite, "testcase", facts)


def _case(suite: ET.Element, row: CheckRow, waiver: Waiver | None) -> None:
    check = row.check
    outcome, verdict = check.outcome, check.verdict
    case = _testcase(suite, check.layer, check.id, check.duration_s)
    facts = {
        "verdict": row.word,
        "gating": "true" if check.gating else "false",
        "expected": outcome.expected,
        "observed": outcome.observed,
    }
    facts |= {
        name: f"{getattr(outcome, name):.6g}"
        for name in _PROPERTIES
        if getattr(outcome, name) is not None
    }
    if not check.gating:
        facts["reason"] = outcome.reason
    facts["command"] = check.command
    _properties(case, facts)
    if verdict is Verdict.NOT_EVALUATED:
        ET.SubElement(case, "skipped", message=printable(outcome.reason))
    elif waiver is not None:
        message = f"failed, waived until {waiver.until}: {waiver.reason}; {outcome.reason}"
        ET.SubElement(case, "skipped", message=printable(message))
    elif verdict is Verdict.FAIL and check.gating:
        failure = ET.SubElement(case, "failure", message=printable(outcome.reason), type="parity")
        failure.text = printable(
            f"expected: {outcome.expected}\nobserved: {outcome.observed}\n"
            f"reproduce: {check.command or 'no command recorded'}"
        )


def _faults(run: Run) -> ET.Element:
    """Return a suite with a case for each known bug that was injected; one that escaped failed."""
    suite = _suite("faults", run)
    for fault in run.faults:
        case = _testcase(suite, "faults", fault.name, fault.duration_s)
        _properties(case, {"verdict": words(fault.outcome.value)})
        if fault.outcome is FaultOutcome.NOT_TRIED:
            ET.SubElement(case, "skipped", message=printable(fault.reason))
        elif not fault.caught:
            ET.SubElement(case, "failure", message=printable(fault.complaint), type="parity")
    _count(suite, sum(fault.duration_s for fault in run.faults), run.started)
    return suite


def _harness(run: Run, banner: Banner) -> ET.Element | None:
    """Return a suite for what broke or was missing besides the checks."""
    own = {
        f"{check.id}: {check.outcome.reason}"
        for check in run.checks
        if check.verdict is Verdict.NOT_EVALUATED
    }
    missing = [reason for reason in run.missing if reason not in own]
    if not banner.broken and not missing:
        return None
    suite = _suite("harness", run)
    for kind, reasons in (("error", banner.broken), ("skipped", missing)):
        for reason in reasons:
            ET.SubElement(_testcase(suite, "harness", reason), kind, message=printable(reason))
    _count(suite, 0.0, run.started)
    return suite


def _count(suite: ET.Element, duration_s: float, started: str) -> None:
    counted = {"tests": "", "failures": "/failure", "errors": "/error", "skipped": "/skipped"}
    for name, inner in counted.items():
        suite.set(name, str(len(suite.findall(f"testcase{inner}"))))
    suite.set("time", f"{duration_s:.3f}")
    if started:
        suite.set("timestamp", printable(started))
