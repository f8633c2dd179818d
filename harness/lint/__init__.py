"""What is wrong with a program before anything runs: read from its constants and declarations.

In: a package, an opened one, or a program. Out: findings, each with the operation, its place, the
next step and the rule's source. ::

    for finding in lint_package("X.mlpackage"):
        print(finding.severity, finding)

`docs/lint.md` lists the rules.
"""

from harness.lint.finding import LintFinding, Severity
from harness.lint.linting import lint_package, opset_violations
from harness.lint.registry import LintRule, all_rules, rule, select_rules

__all__ = [
    "LintFinding",
    "LintRule",
    "Severity",
    "all_rules",
    "lint_package",
    "opset_violations",
    "rule",
    "select_rules",
]
