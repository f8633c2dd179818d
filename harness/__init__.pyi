from harness.frontdoor import Comparison as Comparison
from harness.frontdoor import check as check
from harness.frontdoor import compare as compare
from harness.frontdoor import load as load
from harness.frontdoor import sensitivity as sensitivity

__version__: str
