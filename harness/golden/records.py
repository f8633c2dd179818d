"""What is written down about goldens: the local ledger and the committed manifest.

Both are JSON documents of the same form: ``goldens[subject][case]`` says how a golden was made and
what its tensors looked like. The manifest (in git) says what every machine should get; the ledger
(beside the tensors) says what this machine made. They are written sorted, with one line for each
tensor and floats of nine significant digits, so that the same facts give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.atomic import write_text
from harness.bounded import MEBIBYTE, read_json
from harness.errors import GoldenError, RunError
from harness.golden.fingerprint import Fingerprint
from harness.verdicts.jsondata import plain, restored
from harness.verdicts.kinds import another_kind

FORMAT: Final = 1
"""Version of the store: of the documents, of the tensors' names and of what they mean."""


_LIMIT_BYTES: Final = 64 * MEBIBYTE

_Kept = TypeVar("_Kept")
Key = tuple[str, str]
"""Subject and case."""


@dataclass(frozen=True)
class Record:
    """How one golden was made, and what came out.

    Attributes:
        sha256, size_bytes: of the whole file, on the machine that made it.
        recipe: the hash of the recipe, `Case.hash`.
        subject_fingerprint: the hash of the subject's weights.
        versions: of everything that computes or describes a tensor.
        seed: the recipe's seed, None where nothing is random.
        command: makes it again.
        tensors: the fingerprint of each tensor, by name.
        built_at: UTC, ISO 8601; only in a ledger, because a manifest changes with facts alone.
        build_s: seconds that building took; only in a ledger.
    """

    sha256: str
    size_bytes: int
    recipe: str
    subject_fingerprint: str
    versions: Mapping[str, str]
    seed: int | None
    command: str
    tensors: Mapping[str, Fingerprint]
    built_at: str = ""
    build_s: float = 0.0


@dataclass(frozen=True)
class Entry:
    """What the ledger knows of one golden.

    The file and the ledger can't change in the same instant. So ``pending`` announces the next file
    before it takes its place, and becomes ``current`` after: at any moment, whatever is killed, a
    sound file is one of the two.
    """

    current: Record | None = None
    pending: Record | None = None


def read_ledger(path: Path) -> dict[Key, Entry]:
    """Read a ledger; an empty one if there is no file.

    Raises:
        GoldenError: the file is there but is no ledger of this version.
    """
    return _read_goldens(path, "ledger", Entry, "delete it: the goldens are then made again")


def write_ledger(path: Path, entries: Mapping[Key, Entry]) -> None:
    """Replace the ledger, atomically."""
    _write_goldens(path, {key: plain(entry) for key, entry in entries.items()})


def read_manifest(path: Path) -> dict[Key, Record]:
    """Read the committed manifest; an empty one if there is no file.

    Raises:
        GoldenError: the file is there but is no manifest of this version.
    """
    advice = "restore it with: git checkout -- " + path.name
    return _read_goldens(path, "manifest", Record, advice)


def write_manifest(path: Path, records: Mapping[Key, Record]) -> None:
    """Replace the manifest, atomically."""
    goldens = {key: plain(record) for key, record in records.items()}
    for item in goldens.values():
        del item["built_at"], item["build_s"]
    _write_goldens(path, goldens)


def _read_goldens(path: Path, what: str, kind: type[_Kept], advice: str) -> dict[Key, _Kept]:
    if not path.exists():
        return {}
    try:
        document = read_json(path, _LIMIT_BYTES, GoldenError)
    except GoldenError as error:
        raise GoldenError(f"the golden {what} can't be used: {error}; {advice}") from error
    try:
        version, goldens = document["format"], document["goldens"]
        items: dict[Key, Mapping[str, Any]] = {
            (subject, case): dict(item)
            for subject, cases in goldens.items()
            for case, item in cases.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = another_kind(document, f"golden {what}") or repr(error)
        raise GoldenError(f"{path} is no golden {what} ({found}); {advice}") from error
    if version != FORMAT:
        raise GoldenError(
            f"the golden {what} {path} has format {version}, this program reads {FORMAT}; {advice}"
        )
    try:
        return {
            (subject, case): restored(kind, item, f"golden {case!r} of {subject!r}")
            for (subject, case), item in items.items()
        }
    except RunError as error:
        raise GoldenError(f"{path} can't be read: {error}; {advice}") from error


def _write_goldens(path: Path, goldens: Mapping[Key, Mapping[str, Any]]) -> None:
    document: dict[str, Any] = {"format": FORMAT, "goldens": {}}
    for (subject, case), item in goldens.items():
        document["goldens"].setdefault(subject, {})[case] = item
    write_text(path, _render(rounded(document)) + "\n")


def rounded(value: Any) -> Any:
    """Return JSON data with floats of nine significant digits; a float32 survives the way."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return {k: rounded(v) for k, v in value.items()} if isinstance(value, dict) else value


def _render(value: Any, indent: str = "") -> str:
    """Write JSON, sorted, with one line for each tensor and each plain value."""
    if not isinstance(value, dict) or not value or "samples" in value:
        return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    inner = indent + " "
    lines = [f"{inner}{json.dumps(key)}: {_render(value[key], inner)}" for key in sorted(value)]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
