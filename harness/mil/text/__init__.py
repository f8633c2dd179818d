"""ML Programs as text: the ``model.mil`` that Xcode puts into a compiled model.

Apple publishes no grammar. What is read here follows programs of this kind in public repositories;
`harness.mil.text.parser` says which parts no such program has confirmed.
"""

from harness.mil.text.parser import parse_program

__all__ = ["parse_program"]
