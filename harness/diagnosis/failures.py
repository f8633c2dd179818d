"""What failed in a run, in the order in which somebody should look at it.

The layers stand on each other, and within a layer what a package holds comes before its values, and
inner values before outputs: what comes later has inherited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.verdicts import LAYERS, Check, Run, Verdict
from harness.verdicts.rows.packages import NetworkOutline

BEFORE_VALUES: Final = {
    "contract": "its inputs or outputs are others than it should have",
    "weights": "its constants are not the subject's",
    "audit": "its operations don't have the precision that its recipe gives them",
    "program": "it is another program than the one that it should be",
    "lint": "Core ML refuses it, or computes something else than it says",
    "repeat": "it makes something else the second time",
}
"""Gates of the conversion that are about what a package holds, by name; they come before values."""
_DROP_DB: Final = 6.0
_EXACT_DB: Final = 120.0  # above it FP32 rounds as it has to: from there on nothing is lost


def says_it_all(check: Check) -> bool:
    """Return whether a failed check names what is wrong: no value has to be looked at after it.

    Another program, or other outputs, are wrong whatever their precision allows.
    """
    return check.gate is not None and check.gate.name in ("contract", "program")


def failed_checks(run: Run) -> list[Check]:
    """Return the failed checks, gating ones alone if there are any; what to look at first, first.

    Within a layer, what a package holds comes before its values, and inner values come before
    outputs.
    """
    failed = [check for check in run.checks if check.verdict is Verdict.FAIL]
    failed = [check for check in failed if check.gating] or failed
    return sorted(failed, key=_rank)


def _rank(check: Check) -> tuple[int, int]:
    name = check.gate.name if check.gate is not None else ""
    if name in BEFORE_VALUES:
        return LAYERS.index(check.layer), list(BEFORE_VALUES).index(name)
    inner = check.labels.get("tensor", "").startswith("tap ")
    # A bound on a number (the worst tap, SDR) describes; a comparison of tensors shows.
    described = name in ("worst_tap", "expected_precision", "separation", "quality")
    return LAYERS.index(check.layer), 10 if inner else 30 if described else 20


def closest_check(run: Run) -> tuple[str, ...]:
    """Return in words which gating check is closest to its gate; nothing if there is none."""
    known = [c for c in run.checks if c.gating and c.outcome.headroom_db is not None]
    known.sort(key=lambda check: check.outcome.headroom_db or 0.0)
    return tuple(f"closest: {c.id} has {c.outcome.headroom_db:.1f} dB left" for c in known[:1])


def tap_before(run: Run, check: Check) -> str:
    """Return the tap that the run compared before this one, under the same labels."""
    others = {k: v for k, v in check.labels.items() if k != "tensor"}
    before = ""
    for other in run.checks:
        tensor = other.labels.get("tensor", "")
        same = {k: v for k, v in other.labels.items() if k != "tensor"} == others
        if not same or not tensor.startswith("tap ") or other.gate != check.gate:
            continue
        if other is check:
            return before
        before = tensor.removeprefix("tap ") if other.verdict is Verdict.PASS else before
    return before


def largest_drop(run: Run, check: Check) -> str:
    """Return in words where along the network the most is lost, if the run has that curve."""
    wanted = {key: check.labels.get(key) for key in ("subject", "recipe")}
    subject = wanted["subject"]
    outline = next((row for row in run.artefacts.network if row.subject == subject), None)
    for series in run.artefacts.taps:
        if any(getattr(series, key) != value for key, value in wanted.items()):
            continue
        points = [(p.operation, p.snr_db) for p in series.operations if p.snr_db is not None]
        lost = [
            (min(two[1], _EXACT_DB) - min(one[1], _EXACT_DB), one, two)
            for one, two in _pairs(points, outline)
        ]
        if not lost:
            continue
        step, one, two = min(lost)
        where = f"On {series.case}: "
        if step > -_DROP_DB:
            return (
                f"{where}nowhere in particular: from {points[0][1]:.1f} dB at {points[0][0]!r} to "
                f"{points[-1][1]:.1f} dB at {points[-1][0]!r}, no tap under {_EXACT_DB:g} dB loses "
                f"{_DROP_DB:g} dB to the one before it. Errors of many operations add up."
            )
        return (
            f"{where}the largest loss is between {one[0]!r} ({one[1]:.1f} dB) and {two[0]!r} "
            f"({two[1]:.1f} dB)."
        )
    return ""


def _pairs(
    points: Sequence[tuple[str, float]], outline: NetworkOutline | None
) -> Iterator[tuple[tuple[str, float], tuple[str, float]]]:
    """Yield neighbours on one branch: names on another one interleave with them."""
    last: dict[str, tuple[str, float]] = {}
    for point in points:
        stage = outline.stage_of(point[0]) if outline else None
        branch = stage.branch if stage else ""
        if branch in last:
            yield last[branch], point
        last[branch] = point
