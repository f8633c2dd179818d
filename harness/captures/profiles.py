"""What a capture says, as a profile: the nearest one, with what was measured in its place."""

from __future__ import annotations

import json
from typing import Any

from harness.captures.calibration import TABLED, Calibration
from harness.captures.files import Capture
from harness.devices import Origin, Profile, ProfileError, Table, parse_profile
from harness.devices.properties import PROPERTIES, Setting
from harness.devices.reading import shipped_profiles


def profile_toml(name: str, found: Calibration, capture: Capture) -> str:
    """Return the TOML of a profile: the nearest one's lines, and what the capture measured.

    What one value explains is a fact (confidence high, measured); what several do is unknown, with
    those as its variants; what no probe shows stays as the nearest profile has it.

    Raises:
        ProfileError: nothing explains the capture.
    """
    if not found.matches:
        raise ProfileError(f"{name}: no rules explain the capture, so there is no profile to write")
    base = found.matches[0].profile
    where = ", ".join(text for text in capture.origin.values() if text) or "unnamed"
    measured = Origin(f"a capture of the probe kit: {where}"[:400], "high", "measured")
    description = f"Calibrated by a capture, from {base.name}. {base.description}"
    lines = [_pair("name", name), _pair("unit", base.unit), _pair("description", description)]
    known = base.facts.keys() | base.unknowns.keys() | found.rules.keys()
    properties = [_property(key, base, found, measured) for key in PROPERTIES if key in known]
    for kind in ("facts", "unknowns"):
        lines += ["", f"[{kind}]"]
        lines += [line for one in properties if one[1].startswith(f"[{kind}.") for line in one]
    for table in _tables(base, found.rules["activations"]).values():
        lines += _table(table)
    text = "\n".join([*lines, ""])
    parse_profile(text, name)  # what is written can be read
    return text


def _property(key: str, base: Profile, found: Calibration, measured: Origin) -> list[str]:
    values = found.rules.get(key, ())
    if len(values) == 1:
        return _fact(key, values[0], measured)
    if len(values) > 1:
        return _unknown(key, values[0], values, "The capture is the same under each.", measured)
    if key in base.facts:
        return _fact(key, base.facts[key].value, base.facts[key].origin)
    unknown = base.unknowns[key]
    return _unknown(key, unknown.assumed, unknown.variants, unknown.reason, unknown.origin)


def _fact(key: str, value: Setting, origin: Origin) -> list[str]:
    return ["", f"[facts.{key}]", _pair("value", value), *_origin(origin)]


def _unknown(
    key: str, assumed: Setting, variants: tuple[Setting, ...], reason: str, origin: Origin
) -> list[str]:
    listed = ", ".join(_value(variant) for variant in variants)
    head = ["", f"[unknowns.{key}]", _pair("assumed", assumed), f"variants = [{listed}]"]
    return [*head, _pair("reason", reason), *_origin(origin)]


def _tables(base: Profile, activations: tuple[Setting, ...]) -> dict[str, Table]:
    """Return the tables of the base, or those that the probes were computed with."""
    if "tables" not in activations:
        return {}
    return dict(base.tables or shipped_profiles()[TABLED].tables)


def _table(table: Table) -> list[str]:
    low, high = table.domain
    lines = ["", f"[tables.{table.function}]", _pair("kind", table.kind)]
    lines += [f"domain = [{low!r}, {high!r}]", f"knots = {table.knots}"]
    lines += [_pair("values", table.values), *(["odd = true"] if table.odd else [])]
    for side, tail in (("below", table.below), ("above", table.above)):
        if tail is not None:
            body = f"at = {tail.at!r}, slope = {tail.slope!r}, offset = {tail.offset!r}"
            lines.append(f"{side} = {{ {body} }}")
    return [*lines, *_origin(table.origin)]


def _origin(origin: Origin) -> list[str]:
    return [
        _pair("source", origin.source),
        _pair("confidence", origin.confidence),
        _pair("basis", origin.basis),
    ]


def _pair(key: str, value: Any) -> str:
    return f"{key} = {_value(value)}"


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(float(value))
