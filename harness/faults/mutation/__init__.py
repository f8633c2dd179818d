"""Mutation testing of a converted program: every operation is made wrong, in several ways.

`run_campaign` does it; its module says which mutants matter, and when one counts as killed.
"""

from harness.faults.mutation.campaign import run_campaign
from harness.faults.mutation.results import CampaignResult, MutantResult
from harness.faults.mutation.target import MutationTarget

__all__ = ["CampaignResult", "MutantResult", "MutationTarget", "run_campaign"]
