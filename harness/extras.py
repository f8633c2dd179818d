"""Optional parts of an installation: what an extra brings, and what is said without it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Final

from harness.errors import MissingExtraError

EXTRAS: Final[Mapping[str, Mapping[str, str]]] = {
    "records": {"pyarrow": "pyarrow"},
    "dask": {"distributed": "distributed"},
    "s3": {"s3fs": "s3fs"},
}
"""By extra: the modules that commands import when they need them, and the distribution of each."""


def require_extra(extra: str, purpose: str) -> None:
    """Do nothing where an extra is installed.

    Args:
        extra: of `EXTRAS`.
        purpose: what needs it, for the message.

    Raises:
        MissingExtraError: it isn't; the message names it.
    """
    lacking = [dist for name, dist in EXTRAS[extra].items() if not importlib.util.find_spec(name)]
    if lacking:
        raise MissingExtraError(
            f"{purpose} needs more than this installation has: {' and '.join(lacking)} is not "
            f"installed; install the extra: pip install 'htdemucs-parity[{extra}]'"
        )
