"""Apply rules to a package, or the rules about declarations to a program alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

import harness.lint.rules  # noqa: F401  (registers them)
from harness.errors import PackageError
from harness.lint.finding import Hit, LintFinding, Severity
from harness.lint.registry import LintRule, all_rules
from harness.lint.view import View
from harness.mil import Model
from harness.mil.description import Description
from harness.mil.graph import Node, graph_of
from harness.mil.model import opened
from harness.mil.package import Package
from harness.mil.program import Constant, Program


def lint_package(
    package: str | Path | Package | Model,
    *,
    rules: Sequence[LintRule] | None = None,
    modules: Mapping[str, str] | None = None,
) -> tuple[LintFinding, ...]:
    """Return what the rules find in every function of ``package``; nothing is executed.

    Args:
        package: a path to an ``.mlpackage`` or ``.mlmodelc``, or an opened one.
        rules: those to apply; all by default.
        modules: path of the PyTorch module of each value, by name, where they are known.

    Returns:
        Errors first, each in program order.

    Raises:
        PackageError: ``package`` is none, or a broken one.
    """
    package = opened(package)
    functions = package.program.functions
    views = [
        View(
            graph_of(function),
            package.constants.array,
            package.descriptions.get(name, Description()),
            package.specification_version,
            len(functions),
        )
        for name, function in functions.items()
    ]
    chosen = all_rules() if rules is None else rules
    return _sorted(found for view in views for found in _apply(chosen, view, modules or {}))


def opset_violations(program: Program) -> tuple[LintFinding, ...]:
    """Return where ``program`` does not keep to the sets of operations that its functions declare.

    Operations, inputs, element types and constness are held to coremltools' definitions. Numbers
    of constants are not read, so a program without its weight files will do.
    """
    chosen = [rule for rule in all_rules() if rule.needs_declarations_only]
    views = [View(graph_of(function), _unread) for function in program.functions.values()]
    return _sorted(found for view in views for found in _apply(chosen, view, {}))


def _unread(constant: Constant) -> np.ndarray:
    raise PackageError(f"a constant of type {constant.type} can't be read without its package")


def _apply(
    rules: Sequence[LintRule], view: View, modules: Mapping[str, str]
) -> Iterator[LintFinding]:
    function = view.graph.function.name
    places: dict[Node | None, int] = {node: at for at, node in enumerate(view.graph.nodes)}
    for rule in rules:
        for hit in sorted(rule.check(view), key=lambda hit: places.get(hit.node, -1)):
            yield _found(rule, hit, function, modules)


def _found(rule: LintRule, hit: Hit, function: str, modules: Mapping[str, str]) -> LintFinding:
    where = ("", "", "", function, "")
    if hit.node is not None:
        operation = hit.node.operation
        first = operation.outputs[0] if operation.outputs else None
        value = f"{first.name}: {first.type}" if first else ""
        module = modules.get(first.name, "") if first else ""
        where = (operation.name, operation.type, value, str(operation.location), module)
    return LintFinding(
        rule.name, rule.severity, hit.what, function, *where, rule.next_step, rule.source
    )


def _sorted(findings: Iterator[LintFinding]) -> tuple[LintFinding, ...]:
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))
