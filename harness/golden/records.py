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
from typing import Any, Final

from harness.atomic import write_text
from harness.bounded import MEBIBYTE, read_json
from harness.errors import GoldenError
from harness.golden.fingerprint import Fingerprint

FORMAT: Final = 1
"""Version of the store: of the documents, of the tensors' names and of what they mean."""


_LIMIT_BYTES: Final = 64 * MEBIBYTE

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

    def to_json(self, *, local: bool) -> dict[str, Any]:
        """Return plain JSON values; ``local`` adds when it was built and how long that took."""
        document: dict[str, Any] = {
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "recipe": self.recipe,
            "subject_fingerprint": self.subject_fingerprint,
            "versions": dict(self.versions),
            "seed": self.seed,
            "command": self.command,
            "tensors": {name: print_.to_json() for name, print_ in self.tensors.items()},
        }
        if local:
            document |= {"built_at": self.built_at, "build_s": round(self.build_s, 3)}
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Record:
        """Read what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is not what `to_json` wrote.
        """
        seed = document["seed"]
        return cls(
            sha256=str(document["sha256"]),
            size_bytes=int(document["size_bytes"]),
            recipe=str(document["recipe"]),
            subject_fingerprint=str(document["subject_fingerprint"]),
            versions={str(name): str(value) for name, value in document["versions"].items()},
            seed=None if seed is None else int(seed),
            command=str(document["command"]),
            tensors={
                str(name): Fingerprint.from_json(item) for name, item in document["tensors"].items()
            },
            built_at=str(document.get("built_at", "")),
            build_s=float(document.get("build_s", 0.0)),
        )


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
    advice = "delete it: the goldens are then made again"
    goldens = _read_goldens(path, "ledger", advice)
    entries = {}
    for (subject, case), item in goldens.items():
        with _Explained(path, subject, case, advice):
            entries[subject, case] = Entry(
                *(
                    Record.from_json(item[k]) if item.get(k) else None
                    for k in ("current", "pending")
                )
            )
    return entries


def write_ledger(path: Path, entries: Mapping[Key, Entry]) -> None:
    """Replace the ledger, atomically."""
    goldens = {
        key: {
            name: record.to_json(local=True)
            for name, record in (("current", entry.current), ("pending", entry.pending))
            if record is not None
        }
        for key, entry in entries.items()
    }
    _write_goldens(path, goldens)


def read_manifest(path: Path) -> dict[Key, Record]:
    """Read the committed manifest; an empty one if there is no file.

    Raises:
        GoldenError: the file is there but is no manifest of this version.
    """
    advice = "restore it with: git checkout -- " + path.name
    goldens = _read_goldens(path, "manifest", advice)
    records = {}
    for (subject, case), item in goldens.items():
        with _Explained(path, subject, case, advice):
            records[subject, case] = Record.from_json(item)
    return records


def write_manifest(path: Path, records: Mapping[Key, Record]) -> None:
    """Replace the manifest, atomically."""
    _write_goldens(path, {key: record.to_json(local=False) for key, record in records.items()})


def _read_goldens(path: Path, what: str, advice: str) -> dict[Key, Mapping[str, Any]]:
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
        raise GoldenError(f"{path} is no golden {what} ({error!r}); {advice}") from error
    if version != FORMAT:
        raise GoldenError(
            f"the golden {what} {path} has format {version}, this program reads {FORMAT}; {advice}"
        )
    return items


class _Explained:
    """Turns the errors of reading one entry into a `GoldenError` that names the entry."""

    def __init__(self, path: Path, subject: str, case: str, advice: str) -> None:
        self._where = f"{path}, golden {case!r} of {subject!r}"
        self._advice = advice

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError, AttributeError, OverflowError)):
            raise GoldenError(f"{self._where} can't be read ({error!r}); {self._advice}") from error


def _write_goldens(path: Path, goldens: Mapping[Key, Mapping[str, Any]]) -> None:
    document: dict[str, Any] = {"format": FORMAT, "goldens": {}}
    for (subject, case), item in goldens.items():
        document["goldens"].setdefault(subject, {})[case] = item
    write_text(path, _render(document) + "\n")


def _render(value: Any, indent: str = "") -> str:
    """Write JSON, sorted, with one line for each tensor and each plain value."""
    if not isinstance(value, dict) or not value or "samples" in value:
        return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    inner = indent + " "
    lines = [f"{inner}{json.dumps(key)}: {_render(value[key], inner)}" for key in sorted(value)]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
