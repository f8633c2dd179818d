"""What a run says of one package, as an in-toto statement that is bound to the package's bytes.

In: a run of ``parity check``, which records the digest of the package that it judged, and that
package. Out: a statement with the predicate ``test-result`` (https://in-toto.io/attestation/
test-result/v0.1), as tools for software supply chains read it. It has

- the package's digest as its only subject (``dirHash`` of the folder), and the SHA-256 of each of
  its files beside it;
- the result: PASSED; WARNED, if failures are waived; FAILED; and FAILED as well for what was not
  evaluated, because the predicate has no word for it and nothing but a pass may look like one;
- gating checks by name, as passed, warned or failed; exploratory ones are results of nothing;
- as configuration: the run document, the gates with their bounds and reasons, and the versions and
  the machine, each with the SHA-256 of its bytes or content.

A statement is not signed. Who signs it, and how, is up to who publishes it (docs/records.md); what
is checked here, offline, is that it is whole, that the package is the one, and what was said of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.bounded import MEBIBYTE, read_json
from harness.digests import Digest, digest_of, sha256
from harness.errors import RunError, command_line
from harness.verdicts import Run, Verdict
from harness.verdicts.jsondata import document_text, plain
from harness.verdicts.kinds import another_kind

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://in-toto.io/attestation/test-result/v0.1"
RESULTS: Final = ("PASSED", "WARNED", "FAILED")
_LIMIT_BYTES: Final = 16 * MEBIBYTE
_TESTS: Final = ("passedTests", "warnedTests", "failedTests")


@dataclass(frozen=True)
class Attestation:
    """A statement that was read: whole, and consistent in itself.

    Attributes:
        package: the name that the package had.
        digest: of the package.
        result: of `RESULTS`.
        verdict: of the run, as it was said.
        sentence: the run's verdict in a sentence.
        run_sha256: of the run document.
        tests: how many tests passed, warned and failed.
    """

    package: str
    digest: Digest
    result: str
    verdict: Verdict
    sentence: str
    run_sha256: str
    tests: tuple[int, int, int]

    def complaint(self, package: Path, run_file: Path | None = None) -> str:
        """Return why it does not hold for a package, in words; empty if it does.

        Args:
            package: what it should be about.
            run_file: the run document that it should be of; None looks at none.

        Raises:
            PackageError: the package has no digest.
            OSError: a file can't be read.
        """
        found = digest_of(package)
        if (found.algorithm, found.value) != (self.digest.algorithm, self.digest.value):
            return (
                f"{package} is not the package that was judged: {_difference(self.digest, found)}"
            )
        if run_file is not None and sha256(run_file) != self.run_sha256:
            return f"{run_file} is not the run that was attested (SHA-256 {self.run_sha256})"
        return ""


def attest(run: Run, run_text: bytes, package: Path) -> str:
    """Return the statement of ``run`` about ``package``, as JSON.

    Args:
        run: of ``parity check``.
        run_text: the bytes of its document.
        package: what it judged.

    Raises:
        RunError: the run judged another package, or says of none what its digest was.
        PackageError: the package has no digest.
    """
    digest = digest_of(package)
    judged = run.provenance.get("packages")
    known = list(judged.values()) if isinstance(judged, Mapping) else []
    if {digest.algorithm: digest.value} not in known:
        raise RunError(
            f"the run did not judge {package} (its {digest.algorithm} {digest.value[:16]}... is "
            f"not among the {len(known)} that the run names); make a run of it: "
            f"{command_line('check', package, '--subject', 'S', '--report', 'DIR')}"
        )
    descriptor = {"name": package.name, "digest": {digest.algorithm: digest.value}}
    if digest.files:
        descriptor["annotations"] = {"files": dict(digest.files)}
    document = {
        "_type": STATEMENT,
        "subject": [descriptor],
        "predicateType": PREDICATE,
        "predicate": {
            "result": _result(run),
            "configuration": _configuration(run, run_text),
            **_tests(run),
        },
    }
    return document_text(document, indent=1)


def read_attestation(path: Path) -> Attestation:
    """Return the attestation in the file at ``path``.

    Raises:
        RunError: it is no such statement, or says things that can't both be true; the message says
            what was expected.
    """
    document = read_json(path, _LIMIT_BYTES, RunError)
    try:
        return _parsed(document)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        other = another_kind(document, "attestation")
        raise RunError(
            f"{path}: this is {other}"
            if other
            else f"{path} is no attestation of this program: {type(error).__name__} at {error}; "
            "make it with: parity attest make RUN.json X.mlpackage --out FILE"
        ) from error


def _result(run: Run) -> str:
    if run.verdict is not Verdict.PASS:
        return "FAILED"
    return "WARNED" if run.waived else "PASSED"


def _tests(run: Run) -> dict[str, list[str]]:
    failing = {check.id for check in run.failing}
    passed = [c.id for c in run.checks if c.gating and c.verdict is Verdict.PASS]
    own = {f"{check.id}: {check.outcome.reason}" for check in run.failing}
    broken = [reason for reason in run.red if reason not in own]
    return {
        "passedTests": [name for name in passed if name not in failing],
        "warnedTests": list(run.waived),
        "failedTests": [*sorted(failing), *broken],
    }


def _configuration(run: Run, run_text: bytes) -> list[dict[str, Any]]:
    gates = {c.gate.name: plain(c.gate) for c in run.checks if c.gate is not None and c.gating}
    environment = {
        "harness_commit": run.provenance.get("commit", ""),
        "versions": run.provenance.get("versions", {}),
        "machine": run.provenance.get("machine", {}),
    }
    judged = {
        "verdict": run.verdict.value,
        "sentence": run.sentence(),
        "missing": list(run.missing),
        "started": run.started,
        "command": run.provenance.get("command", ""),
        "profile": plain(run.profile),
        "engines": [plain(engine) for engine in run.engines if engine.executed],
    }
    return [
        _descriptor("run.json", run_text, judged),
        _descriptor("gates", _canonical(gates), gates),
        _descriptor("environment", _canonical(environment), environment),
    ]


def _descriptor(name: str, content: bytes, annotations: Mapping[str, Any]) -> dict[str, Any]:
    digest = {"sha256": hashlib.sha256(content).hexdigest()}
    return {"name": name, "digest": digest, "annotations": plain(annotations)}


def _canonical(value: Any) -> bytes:
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":")).encode()


def _parsed(document: Any) -> Attestation:
    """Return the attestation in JSON data; raises what a wrong type or a missing key raises."""
    for key, known in (("_type", STATEMENT), ("predicateType", PREDICATE)):
        if document[key] != known:
            raise ValueError(f"{key} {document[key]!r}, expected {known}")
    predicate = document["predicate"]
    (subject,) = document["subject"]
    ((algorithm, value),) = subject["digest"].items()
    if algorithm not in ("dirHash", "sha256"):
        raise ValueError(f"a digest by {algorithm!r}, expected dirHash or sha256")
    files = subject.get("annotations", {}).get("files", {})
    configuration = {row["name"]: row for row in predicate["configuration"]}
    for name in ("gates", "environment"):
        row = configuration[name]
        if row["digest"]["sha256"] != hashlib.sha256(_canonical(row["annotations"])).hexdigest():
            raise ValueError(f"{name}, which was changed: its SHA-256 is another")
    run = configuration["run.json"]
    passed, warned, failed = (len(_texts(predicate[name])) for name in _TESTS)
    verdict = Verdict(run["annotations"]["verdict"])
    allowed = ("FAILED",) if verdict is not Verdict.PASS else ("WARNED" if warned else "PASSED",)
    nothing = verdict is Verdict.PASS and (failed or not passed)
    if predicate["result"] not in allowed or nothing:
        raise ValueError(f"result {predicate['result']!r}, which its own checks contradict")
    return Attestation(
        package=str(subject["name"]),
        digest=Digest(str(algorithm), str(value), dict(files)),
        result=str(predicate["result"]),
        verdict=verdict,
        sentence=str(run["annotations"]["sentence"]),
        run_sha256=str(run["digest"]["sha256"]),
        tests=(passed, warned, failed),
    )


def _texts(value: Any) -> Sequence[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{value!r:.60}, expected a list of names")
    return value


def _difference(expected: Digest, found: Digest) -> str:
    for name in sorted({*expected.files, *found.files}):
        if name not in found.files:
            return f"its {name} is missing"
        if name not in expected.files:
            return f"{name} is new in it"
        if expected.files[name] != found.files[name]:
            return f"its {name} was changed"
    return f"its {found.algorithm} is {found.value}, expected {expected.algorithm} {expected.value}"
