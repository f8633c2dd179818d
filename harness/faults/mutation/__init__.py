"""Systematic mutation of a converted program: every operation is made wrong, in several ways.

`run_campaign` does it; its module says what counts as a mutation that matters, and as caught.
"""

from harness.faults.mutation.campaign import run_campaign
from harness.faults.mutation.results import CampaignResult, Mutation
from harness.faults.mutation.target import Source

__all__ = ["CampaignResult", "Mutation", "Source", "run_campaign"]
