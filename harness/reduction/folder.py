"""The folder to attach to a bug report: package, inputs, what was expected, how to see it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from harness import mil
from harness.atomic import atomic_folder
from harness.atomic.products import REDUCTION
from harness.errors import ParityError
from harness.mil.program import Operation
from harness.mil.saving import save_package
from harness.origin import versions
from harness.reduction.attempt import EXPECTED, INPUTS, PACKAGE, Attempt, save_tensors
from harness.reduction.reducer import Reduction

README, RECORD = "README.md", "reduction.json"


def write_reduction(reduction: Reduction, folder: Path) -> dict[str, Any]:
    """Write what is left to ``folder``, atomically, and return the record of it.

    The package and the inputs are read back from disk and judged again before anything is called a
    reduction.

    Raises:
        ParityError: what was written does not fail; nothing is left of it.
    """
    model = reduction.attempt.model
    with atomic_folder(folder, REDUCTION) as fresh:
        save_package(fresh / PACKAGE, model.plan.function, model.package.constants.array)
        save_tensors(fresh / INPUTS, reduction.attempt.inputs)
        written = Attempt(mil.load(fresh / PACKAGE), load_file(fresh / INPUTS), fresh / PACKAGE)
        evidence = reduction.oracle.judge(written)
        if evidence is None:
            raise ParityError(
                "the reduced package does not fail any more when it is read back from disk, so "
                "nothing was written; this is a fault of the reducer, please report it"
            )
        expected = dict(reduction.oracle.expected(written))
        if expected:
            save_tensors(fresh / EXPECTED, expected)
        record = _record(reduction, written, evidence, bool(expected))
        (fresh / RECORD).write_text(json.dumps(record, indent=1), "utf-8")
        (fresh / README).write_text("\n".join(_readme(record)), "utf-8")
    return record


def _record(
    reduction: Reduction, written: Attempt, evidence: str, has_expected: bool
) -> dict[str, Any]:
    words = ["parity", "reduce", PACKAGE, "--inputs", INPUTS, *reduction.oracle.options]
    return {
        "fails_when": reduction.oracle.words,
        "evidence": evidence,
        "evidence_in_whole": reduction.whole,
        "command": shlex.join([*words, "--verify"]),
        "operations": [_row(operation) for operation in written.model.operations],
        "operations_in_whole": reduction.operations,
        "minimal": reduction.minimal,
        "tries": reduction.tries,
        "inputs": {n: f"{x.dtype}{list(x.shape)}" for n, x in written.inputs.items()},
        "expected": EXPECTED if has_expected else "",
        "versions": versions(),
    }


def _row(operation: Operation) -> dict[str, str]:
    results = ", ".join(f"{variable.name}: {variable.type}" for variable in operation.outputs)
    return {"type": operation.type, "name": operation.name, "results": results}


def _readme(record: dict[str, Any]) -> Iterator[str]:
    kept, total = len(record["operations"]), record["operations_in_whole"]
    yield from ("# A failing ML Program", "", f"It fails when {record['fails_when']}:", "")
    yield from (f"    {line}" for line in record["evidence"].splitlines())
    yield from ("", "To see it, in this folder:", "", f"    {record['command']}", "")
    yield "Exit code 1: it still fails; 0: it does not."
    yield from ("", f"## The program: {kept} of {total} operations", "")
    yield from ("| type | name | results |", "|---|---|---|")
    for row in record["operations"]:
        yield f"| {row['type']} | {row['name']} | {row['results']} |"
    yield ""
    if record["minimal"]:
        yield "Without any single operation that can be left out by itself it does not fail."
    else:
        yield "The tries ran out: a smaller program may fail, too."
    yield from ("", "Values at the cuts are inputs with what the whole program had there:", "")
    yield from (f"- `{name}`: {shape}" for name, shape in record["inputs"].items())
    yield from ("", f"In the whole program: {record['evidence_in_whole']}", "")
    yield "Made with " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()) + "."
    yield ""
