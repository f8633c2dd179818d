"""Every rule finds what it is about, and leaves its nearest neighbour alone."""

from __future__ import annotations

import pytest

from harness.lint import Severity, all_rules, lint_package, select_rules
from suites.selftest.lint.examples import EXAMPLES


def test_every_rule_has_an_example():
    assert sorted(EXAMPLES) == sorted(rule.name for rule in all_rules())


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_rule_finds_what_it_is_about(tmp_path, name):
    found = lint_package(EXAMPLES[name][0].write(tmp_path / "wrong.mlpackage"))
    assert name in {finding.rule for finding in found}, [str(finding) for finding in found]
    (rule,) = select_rules([name])
    for finding in (finding for finding in found if finding.rule == name):
        assert (finding.severity, finding.source) == (rule.severity, rule.source)
        assert finding.where
        assert finding.what
        assert finding.next_step
        assert len(f"{finding}; {finding.next_step}") < 500


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_rule_leaves_the_nearest_neighbour_alone(tmp_path, name):
    """A false error among the near misses, of whatever rule, would be one for a user."""
    found = lint_package(EXAMPLES[name][1].write(tmp_path / "right.mlpackage"))
    assert name not in {finding.rule for finding in found}
    assert not [str(f) for f in found if f.severity is Severity.ERROR]
