"""What ``parity compare`` knows: what a tensor is, which gate judges it, and why it fails.

In: two files or folders. Out: `ComparisonRow` values, one for each tensor, stem, channel and worst
second, each with the gate that judged it and, where one thing explains a failure, its `Cause`.

- `inputs` reads, `pairing` brings together, `kinds` knows names and gates, `judging` compares;
- `scoring` gives stems the scores that are published, beside the verdict;
- `causes` has the rule by which a hypothesis is a cause; `waves` (with `signals`, `delays`,
  `losses`), `spectra` (with `transforms`) and `arrays` have the hypotheses.
"""

from harness.comparison.arrays import explain_array, explain_shape
from harness.comparison.causes import CAUSES
from harness.comparison.inputs import Audio, Tensor, load_all, read_file, read_side
from harness.comparison.judging import ComparisonRequest, ComparisonRow, by_value, judge
from harness.comparison.kinds import chosen_gate, kind_of
from harness.comparison.pairing import Pair, pair_up
from harness.comparison.scoring import published_scores
from harness.comparison.waves import explain_wave

__all__ = [
    "CAUSES",
    "Audio",
    "ComparisonRequest",
    "ComparisonRow",
    "Pair",
    "Tensor",
    "by_value",
    "chosen_gate",
    "explain_array",
    "explain_shape",
    "explain_wave",
    "judge",
    "kind_of",
    "load_all",
    "pair_up",
    "published_scores",
    "read_file",
    "read_side",
]
