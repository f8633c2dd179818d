"""Which rules explain a capture: probe by probe, then all together, then as a profile.

Each probe is computed under every combination of the properties that it asks. Those with the
fewest elements that differ from the capture are what it allows, and it is explained if none
differs by more than one unit in the last place of FP16. The combinations of all probes are joined;
what is left is every set of rules that the capture can't tell apart. The profile is the one with
the fewest facts against it, then the fewest unknowns otherwise than it assumes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from harness.captures.files import Capture, CaptureError
from harness.captures.kit import probe_package
from harness.captures.probes import PROBES, Probe, probe_inputs
from harness.devices import Profile, device, shipped_profiles
from harness.devices.properties import PROPERTIES, Setting
from harness.errors import ParityError
from harness.mil.numerics import Numerics
from harness.mil.numerics.device import device_numerics
from harness.mil.program import Operation

Rules: TypeAlias = dict[str, Setting]
Array: TypeAlias = np.ndarray[Any, Any]

ASKED: Final = tuple(name for name in PROPERTIES if any(name in p.asks for p in PROBES.values()))
"""The properties that some probe shows."""
UNSEEN: Final = tuple(name for name in PROPERTIES if name not in ASKED)
"""Those that none does: what the executor doesn't model, and where an operation runs."""

TABLED: Final = "ane-m1"
"""A profile that has a table for every function that may come from one."""
_UNITS_ALLOWED: Final = 1


@dataclass(frozen=True)
class Finding:
    """What one probe says.

    Attributes:
        probe: which one.
        rules: the combinations with the fewest elements that differ.
        differing: so many elements differ under those,
        of: of so many,
        units: by at most so many units in the last place of FP16; infinite where one side is
            infinite or NaN.
    """

    probe: Probe
    rules: tuple[Rules, ...]
    differing: int
    of: int
    units: float

    @property
    def explained(self) -> bool:
        """Whether some rules give this probe within rounding."""
        return self.units <= _UNITS_ALLOWED

    @property
    def words(self) -> str:
        """What differs, as a sentence."""
        if not self.differing:
            return f"{self.probe.about}: explained to the bit"
        unit = "unit" if self.units == 1 else "units"
        far = f"at most {self.units:.3g} {unit} in the last place"
        return (
            f"{self.probe.about}: {self.differing} of {self.of} elements differ from the nearest "
            f"rules, by {far if np.isfinite(self.units) else 'an infinity or NaN'}"
        )


@dataclass(frozen=True)
class Match:
    """A profile that has the rules of a capture, or nearly.

    Attributes:
        profile: which one.
        against: facts of it that the capture contradicts, with what is so instead.
        unusual: unknowns of it that are otherwise than it assumes, and what it has no line for,
            with what they are.
        confirmed: unknowns that are as it assumes.
    """

    profile: Profile
    against: Mapping[str, tuple[Setting, ...]]
    unusual: Mapping[str, tuple[Setting, ...]]
    confirmed: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """What a capture says of the device that made it.

    Attributes:
        findings: probe by probe.
        rules: by property, every value that the capture allows; empty if nothing explains it.
        matches: the nearest profiles, one unless they are equally near; none if nothing fits.
    """

    findings: tuple[Finding, ...]
    rules: Mapping[str, tuple[Setting, ...]]
    matches: tuple[Match, ...]

    @property
    def identified(self) -> bool:
        """Whether every probe is explained, and all together."""
        return bool(self.matches)

    @property
    def contradictions(self) -> Mapping[str, Mapping[Setting, tuple[str, ...]]]:
        """Return the properties of which no value suits all probes: by value, whom it suits.

        So it is where some of the package ran on another unit.
        """
        found = {}
        for name in ASKED:
            suited = {
                value: tuple(
                    f.probe.name
                    for f in self.findings
                    if name in f.probe.asks and any(rules[name] == value for rules in f.rules)
                )
                for value in variants(name)
            }
            asking = sum(name in f.probe.asks for f in self.findings)
            if all(len(probes) < asking for probes in suited.values()):
                found[name] = suited
        return found

    @property
    def open(self) -> tuple[str, ...]:
        """The properties of which several values give the same capture."""
        return tuple(name for name, values in self.rules.items() if len(values) > 1)


def calibrate(capture: Capture, where: Path) -> Calibration:
    """Say which rules explain a capture of the kit.

    Args:
        capture: what a device made of the probes.
        where: its file, for messages.

    Raises:
        CaptureError: it is a capture of something else.
    """
    capture.check_inputs(probe_inputs(), where)
    _check_outputs(capture, where)
    findings = tuple(
        _finding(probe, capture.outputs[probe.name], predictions()[probe.name])
        for probe in PROBES.values()
    )
    joined = _joined(findings) if all(f.explained for f in findings) else []
    if not joined:
        return Calibration(findings, {}, ())
    rules = {name: _values(joined, name) for name in ASKED if _applies(name, joined)}
    return Calibration(findings, rules, _matches(rules))


def variants(name: str) -> tuple[Setting, ...]:
    """Return all that a property may be: the named ways, or every number of a shipped profile."""
    named = PROPERTIES[name].choices
    if named:
        return named
    found = (value for p in shipped_profiles().values() for value in p.values(name))
    return tuple(sorted(set(found), key=float))


@cache
def predictions() -> Mapping[str, tuple[tuple[Rules, Array], ...]]:
    """Return what each probe gives under every combination of what it asks.

    The whole package is run as often as the longest list needs, each operation by rules of its own.
    """
    lists = {probe.name: _combinations(probe.asks) for probe in PROBES.values()}
    found: dict[str, list[tuple[Rules, Array]]] = {name: [] for name in lists}
    with probe_package() as model:
        for number in range(max(map(len, lists.values()))):
            chosen = {name: rules[number] for name, rules in lists.items() if number < len(rules)}
            made = model.predict(
                probe_inputs(),
                numerics=_numerics(()),
                operation_numerics=partial(_numerics_of, chosen),
            )
            for name, rules in chosen.items():
                found[name].append((rules, made[name]))
    return {name: tuple(entries) for name, entries in found.items()}


def _numerics_of(chosen: Mapping[str, Rules], operation: Operation) -> Numerics:
    return _numerics(tuple(sorted(chosen.get(operation.outputs[0].name, {}).items())))


def _combinations(names: Iterable[str]) -> list[Rules]:
    names = tuple(names)
    return [
        dict(zip(names, values, strict=True)) for values in itertools.product(*map(variants, names))
    ]


@cache
def _numerics(rules: tuple[tuple[str, Setting], ...]) -> Numerics:
    return device_numerics(device(TABLED).supposing(**dict(rules)))


def _check_outputs(capture: Capture, where: Path) -> None:
    for name, probe in PROBES.items():
        expected = predictions()[name][0][1].shape
        if name not in capture.outputs:
            raise CaptureError(
                f"{where} lacks the probe {name!r} ({probe.about}); record it with the kit of "
                "this version ('parity kit')"
            )
        found = capture.outputs[name]
        if found.shape != expected or found.dtype not in (np.float16, np.float32):
            raise CaptureError(
                f"{where}: probe {name!r} has {found.dtype} of shape {list(found.shape)}, expected "
                f"float16 of shape {list(expected)}"
            )


def _finding(probe: Probe, actual: Array, predicted: tuple[tuple[Rules, Array], ...]) -> Finding:
    measured = [(rules, *_difference(expected, actual)) for rules, expected in predicted]
    least = min((count, units) for _, count, units in measured)
    rules = tuple(r for r, count, units in measured if (count, units) == least)
    return Finding(probe, rules, least[0], actual.size, least[1])


def _difference(expected: Array, actual: Array) -> tuple[int, float]:
    """Return how many elements differ, and by how many units in the last place of FP16."""
    e, a = expected.astype(np.float64), actual.astype(np.float64)
    unequal = ~((e == a) | (np.isnan(e) & np.isnan(a)))
    if not unequal.any():
        return 0, 0.0
    e, a = e[unequal], a[unequal]
    if not (np.isfinite(e) & np.isfinite(a)).all():
        return int(unequal.sum()), np.inf
    largest = np.maximum(np.abs(e), np.abs(a))
    _, exponent = np.frexp(largest)
    unit = np.exp2(np.maximum(exponent, -13) - 11.0)
    return int(unequal.sum()), float((np.abs(e - a) / unit).max())


def _joined(findings: Iterable[Finding]) -> list[Rules]:
    """Return every combination of rules that all findings allow."""
    joined: list[Rules] = [{}]
    for finding in sorted(findings, key=lambda f: len(f.rules)):
        joined = [
            {**one, **other}
            for one in joined
            for other in finding.rules
            if all(one.get(name, value) == value for name, value in other.items())
        ]
    return joined


def _values(joined: Iterable[Rules], name: str) -> tuple[Setting, ...]:
    found = {rules[name] for rules in joined}
    return tuple(value for value in variants(name) if value in found)


def _applies(name: str, joined: Iterable[Rules]) -> bool:
    """Whether a property means anything under some of the rules."""
    return PROPERTIES[name].applies(lambda other: {rules[other] for rules in joined})


def _matches(rules: Mapping[str, tuple[Setting, ...]]) -> tuple[Match, ...]:
    found = [_match(profile, rules) for profile in shipped_profiles().values()]
    least = min((len(m.against), len(m.unusual)) for m in found)
    return tuple(m for m in found if (len(m.against), len(m.unusual)) == least)


def _match(profile: Profile, rules: Mapping[str, tuple[Setting, ...]]) -> Match:
    against, unusual, confirmed = {}, {}, []
    for name, values in rules.items():
        known = profile.values(name)
        if not known:  # a detail of something that the profile has otherwise
            unusual[name] = values
        elif not set(values) & set(known):
            against[name] = values
        elif name in profile.unknowns:
            if profile.unknowns[name].assumed in values:
                confirmed += [name] if len(values) == 1 else []
            else:
                unusual[name] = values
    return Match(profile, against, unusual, tuple(confirmed))


def check_profile_name(name: str) -> None:
    """Check that a profile may be called so.

    Raises:
        ParityError: it is the name of a shipped one.
    """
    if name in shipped_profiles():
        raise ParityError(f"{name!r} is a shipped profile; choose another name for the new one")
