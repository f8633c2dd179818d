"""The report: one self-contained HTML page, a JUnit file and a Markdown summary of a run.

In: a `harness.verdicts.Run` and nothing else; no tensors, no engines, no pytest. Out: text whose
bytes depend on the run alone, so two renders of one run are identical.
"""

from harness.report.render import mark_overtaken, render, write_report

__all__ = ["mark_overtaken", "render", "write_report"]
