"""Runs in the formats of others: tables, attestations, model cards, annotations.

In: a `harness.verdicts.Run`, and for an attestation the package that it judged. Out: one file or
text for each reader, derived from the run alone (``docs/records.md`` says who reads which). A
record never says more than the run: what was not evaluated is passed nowhere.
"""

from harness.records.attestation import Attestation, attest, read_attestation
from harness.records.cards import eval_results, model_index
from harness.records.github import annotations_of
from harness.records.table import write_table

__all__ = [
    "Attestation",
    "annotations_of",
    "attest",
    "eval_results",
    "model_index",
    "read_attestation",
    "write_table",
]
