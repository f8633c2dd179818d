"""Text that came from a run, made safe for a page, an XML file and a Markdown table.

In: any ``str``, also one with control characters or lone surrogates, as a hostile operation name
may hold. Out: ``str`` that can be encoded as UTF-8 and that XML 1.0 allows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters: XML 1.0 forbids most of them
    "\ud800-\udfff\ufffe\uffff"  # lone surrogates have no UTF-8
    "\u202a-\u202e\u2066-\u2069]"  # direction overrides make a name read as another one
)
_LONGEST = 300
_EXPONENT = re.compile(r"(?<=\de)([+-])0+(?=\d)")
_DECIBELS = re.compile(r"(?<![\w.])\d+\.\d{3,}(?= dB\b)")
_NEGATIVE = re.compile(r"(?<![^\s(])-(?=\d)")
_UTC = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\+00:00|Z)$")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]|~@])|(?<=:)(?=//)|(?<=www)(?=\.)")
"""What would format, link or mention: also the places where a bare address would become a link."""


def printable(text: str) -> str:
    """Return ``text`` with every character that can't be shown replaced by U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text)


def exponents(text: str) -> str:
    """Return ``text`` with ``1e-05`` written as ``1e-5``."""
    return _EXPONENT.sub(r"\1", text)


def numerals(text: str) -> str:
    """Return ``text`` with its numbers as the page has its own: ``1e-5``, a minus sign, two
    digits of a decibel."""
    rounded = _DECIBELS.sub(lambda found: f"{float(found[0]):.2f}", text)
    return exponents(_NEGATIVE.sub("\N{MINUS SIGN}", rounded))


def shorten(text: str, limit: int) -> str:
    """Return ``text`` cut to at most ``limit`` characters, the last one an ellipsis if it was."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def short_tap(tap: str, limit: int) -> str:
    """Return the name of a tap, without its first part where it is longer than ``limit``."""
    return tap if len(tap) <= limit else tap.partition(".")[2] or tap


def markdown(text: str) -> str:
    """Return ``text`` as one line of literal Markdown: nothing in it formats, links or mentions."""
    line = shorten(" ".join(printable(text).split()), _LONGEST)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(lambda found: f"\\{found[1] or ''}", line)


def words(name: str) -> str:
    """Return an identifier as words: ``not_evaluated`` becomes ``not evaluated``."""
    return name.replace("_", " ")


def utc(moment: str) -> str:
    """Return an ISO 8601 time in UTC as people write it: ``2026-01-31 12:30:00 UTC``."""
    return _UTC.sub(r"\1 \2 UTC", moment)


def listing(names: Sequence[str], none: str = "none") -> str:
    """Return ``a, b and c``, or ``none``."""
    if not names:
        return none
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
