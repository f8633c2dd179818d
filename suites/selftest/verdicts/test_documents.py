"""Documents that were cut, edited or written by something else: one sentence, never a crash."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ParityError, RunError
from harness.golden.records import read_manifest as read_goldens
from harness.packs.manifest import read_manifest as read_pack
from harness.precision.shards import merge
from harness.records.attestation import read_attestation
from harness.verdicts import (
    GATES,
    Baseline,
    Check,
    EngineState,
    FaultOutcome,
    GoldenState,
    InjectedFault,
    Outcome,
    Profile,
    Run,
    Snapshot,
    Verdict,
    Waiver,
    read_waivers,
)
from harness.verdicts.inventory import inventory_of, inventory_text, read_inventory
from harness.verdicts.rows.artefacts import Artefacts, Damaged
from harness.verdicts.rows.documents import read_attachment
from harness.verdicts.rows.operations import OperationProfile, TapSeries
from harness.verdicts.rows.packages import Explanation, Step

RUN = Run(
    profile=Profile(
        "default", engines=("torch", "mil"), subjects=("mini",), cases={"mini": ("song",)}
    ),
    checks=(
        Check(
            "conversion",
            {"subject": "mini", "tensor": "freq"},
            True,
            GATES["conversion"],
            Outcome(Verdict.PASS, "fine", "a", "b", float("inf"), 0.0, {"snr_db": float("inf")}),
            0.1,
            "parity check",
        ),
    ),
    engines=(EngineState("mil", True, "", "1", executed=True),),
    goldens=(GoldenState("mini", "song", "match", "", "ab"),),
    problems=("a",),
    gaps=("b",),
    faults=(
        InjectedFault("a.b", "a", "bug", "seen", "stft", FaultOutcome.CAUGHT, headroom_db=-1.0),
    ),
    waivers=(Waiver("conversion/x", "known", "2026-01-01", "2026-01-02", -1.0),),
    artefacts=Artefacts(
        explanation=(Explanation((Step("why", "so", ("a", "b")),), ("parity check",)),),
        taps=(
            TapSeries(
                *("mini", "song", "fp16", "mil", "storage", "PyTorch"),
                (OperationProfile(0, "encoder.0", "tap", "", "fp16", {"snr_db": float("nan")}),),
            ),
        ),
    ),
    damaged=(Damaged("run.artefacts.quality[3]", "no list"),),
    provenance={"commit": "c", "machine": {"cores": 2}},
    started="2026-01-01T00:00:00+00:00",
    duration_s=1.0,
)
DERIVED = ("verdict", "sentence", "red", "missing", "layers")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in inner:
        found.append((*path, key))
        if isinstance(item, (dict, list)):
            found += places(item, (*path, key))
    return found


DOCUMENT = json.loads(RUN.to_json())
PLACES = [path for path in places(DOCUMENT) if path[0] not in DERIVED]


def holder(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


def test_a_document_gives_the_run_that_wrote_it() -> None:
    assert Run.from_json(RUN.to_json()).to_json() == RUN.to_json()


@pytest.mark.parametrize("key", sorted(set(DOCUMENT) - set(DERIVED) - {"schema_version"}))
def test_a_missing_key_is_named_with_the_next_step(key: str) -> None:
    document = {name: value for name, value in DOCUMENT.items() if name != key}
    with pytest.raises(RunError, match=rf"no '{key}'.*make it again"):
        Run.from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("checks", 0, "outcome", "headroom_db"),
            "high",
            r'checks\[0\]\.outcome\.headroom_db is "h',
        ),
        (("checks", 0, "outcome", "verdict"), "green", "expected one of pass, fail, not_evaluated"),
        (("checks", 0, "gating"), 1, r"checks\[0\]\.gating is 1, expected true or false"),
        (("checks", 0, "layer"), "roof", r"checks\[0\]: layer 'roof'"),
        (("checks", 0, "labels", "tensor"), 3, r"labels\.tensor is 3, expected text"),
        (("checks",), {}, r"run\.checks is \{\}, expected a list"),
        (("goldens", 0, "colour"), "red", "unknown key 'colour'"),
        (("faults", 0, "outcome"), None, "expected one of caught"),
        (("duration_s",), True, "duration_s is true, expected a number"),
        (("profile", "cases", "mini"), "song", r'cases\.mini is "song", expected a list'),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    path: tuple[Any, ...], value: object, message: str
) -> None:
    document = json.loads(RUN.to_json())
    holder(document, path)[path[-1]] = value
    with pytest.raises(RunError, match=message):
        Run.from_json(json.dumps(document))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "NaN", '{"schema_version": NaN}', '{"schema_version": true}', "\x00"]
)
def test_text_that_is_hardly_json_is_refused(text: str) -> None:
    with pytest.raises(RunError, match=r"not a run|schema version"):
        Run.from_json(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@given(path=st.sampled_from(PLACES), value=json_values)
def test_any_value_anywhere_is_read_or_refused(path: tuple[Any, ...], value: object) -> None:
    document = json.loads(RUN.to_json())
    holder(document, path)[path[-1]] = value
    with contextlib.suppress(RunError):
        run = Run.from_json(json.dumps(document))
        assert Run.from_json(run.to_json()).to_json() == run.to_json()


OURS = {
    "a run": RUN.to_json(),
    "an accepted baseline": Baseline(Snapshot.of(RUN), "the first").to_json(),
    "what a history remembers of a run": Snapshot.of(RUN).to_json(),
    "an inventory": inventory_text(inventory_of(RUN.checks, RUN.faults)),
    "the manifest of a pack": '{"format": "parity-pack", "byte_order": "little", "rules": {}}',
    "a golden manifest": '{"format": 1, "goldens": {}}',
    "an attestation": '{"_type": "a", "predicateType": "b"}',
    "the record of a reduction": '{"fails_when": "", "operations_in_whole": 9}',
    "a document of kind 'sweep'": '{"kind": "sweep", "version": 2}',
}
READERS: dict[str, Callable[[Path], object]] = {
    "a run": lambda path: Run.from_json(path.read_text("utf-8")),
    "an accepted baseline": Baseline.read,
    "what a history remembers of a run": Snapshot.read,
    "an inventory": read_inventory,
    "the manifest of a pack": lambda path: read_pack(path.parent),
    "a golden manifest": read_goldens,
    "an attestation": read_attestation,
    "a document of kind 'sweep'": lambda path: merge({path.name: json.loads(path.read_text())}),
    "waivers": read_waivers,
    "attached": read_attachment,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_document_of_another_kind_is_named_as_what_it_is(reader: str, tmp_path: Path) -> None:
    """A run in place of a baseline was refused for its schema version, "make it again"."""
    file = tmp_path / "manifest.json"
    for kind, text in OURS.items():
        file.write_text(text, "utf-8")
        if kind != reader:
            with pytest.raises(ParityError, match=f"{kind}, not an? "):
                READERS[reader](file)
        else:
            with contextlib.suppress(ParityError):  # those that are stubs
                READERS[reader](file)


def test_a_run_in_place_of_a_baseline_is_told_how_it_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(RUN.to_json(), "utf-8")
    with pytest.raises(RunError, match=r"a baseline; accept it first: parity baseline accept RUN"):
        Baseline.read(tmp_path / "run.json")
