"""What the stands share: findings from the layers' own checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.errors import ParityError
from harness.faults.judging import Finding, digest, found
from harness.verdicts import Check, failed


def judged(layer: str, checks: Iterable[Check]) -> Iterator[Finding]:
    """Turn checks into findings; what can't be executed is a finding of ``layer``, too."""
    try:
        yield from map(found, checks)
    except (ParityError, RuntimeError) as error:  # PyTorch refuses shapes by RuntimeError
        yield refused(layer, "execution", ParityError(str(error)))


def refused(layer: str, rule: str, error: ParityError) -> Finding:
    """Return the finding of a candidate that could not even be executed, or was refused."""
    reason = f"{type(error).__name__}: {error}"
    return Finding(layer, rule, "execution", failed(reason), digest(reason))
