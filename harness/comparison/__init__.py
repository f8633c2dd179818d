"""What ``parity compare`` knows: what a tensor is, which gate judges it, and why it fails.

In: two files or folders. Out: `ComparisonRow` values, one for each tensor, stem, channel and worst
second, each with the gate that judged it and, where one thing explains a failure, its `Cause`.

- `inputs` reads, `pairing` brings together, `kinds` knows names and gates, `judging` compares;
- `scoring` gives stems the scores that are published, beside the verdict;
- `causes` has the rule by which a hypothesis is a cause; `waves` (with `signals`, `delays`,
  `losses`), `spectra` (with `transforms`) and `arrays` have the hypotheses.
"""

from harness.comparison.inputs import load_all, read_file, read_side
from harness.comparison.judging import ComparisonRequest, ComparisonRow, judge
from harness.comparison.kinds import chosen_gate
from harness.comparison.pairing import pair_up
from harness.comparison.scoring import published_scores

__all__ = [
    "ComparisonRequest",
    "ComparisonRow",
    "chosen_gate",
    "judge",
    "load_all",
    "pair_up",
    "published_scores",
    "read_file",
    "read_side",
]
