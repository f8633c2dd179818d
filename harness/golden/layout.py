"""Where a golden store keeps what, and the commands that it names in its messages.

::

    <root>/recipes.toml                              the cases (git)
    <root>/manifest.json                             what every machine should get (git)
    <root>/tensors/<subject>/<case>.safetensors      the tensors (generated)
    <root>/tensors/ledger.json                       what this machine made (generated)
    <root>/tensors/.locks/                           lock files (generated, never deleted)

Where a ``parity.toml`` is the root, it has the cases, and ``golden/`` beside it the rest.

An installed package holds the root, and nothing is written there: its ``tensors/`` is in the cache
of the user (`harness.places`).
"""

from __future__ import annotations

import hashlib
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import command_line
from harness.locks import file_lock
from harness.places import GOLDEN_ROOT, INSTALLED, generated

_PORTABLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*")
_LONGEST_STEM = 60


@dataclass(frozen=True)
class Layout:
    """The paths of one store."""

    root: Path

    @property
    def recipes(self) -> Path:
        """The file with the cases."""
        return self.root if self._is_declaration else self.root / "recipes.toml"

    @property
    def _is_declaration(self) -> bool:
        return self.root.suffix == ".toml"

    @property
    def _folder(self) -> Path:
        return self.root.parent / "golden" if self._is_declaration else self.root

    @property
    def manifest(self) -> Path:
        """The file with the committed fingerprints."""
        return self._folder / "manifest.json"

    @property
    def is_installed(self) -> bool:
        """Whether the recipes and the manifest are those of an installed package."""
        return INSTALLED and self.root == GOLDEN_ROOT

    @property
    def generated(self) -> Path:
        """The folder of all that is generated."""
        return generated("golden/tensors") if self.is_installed else self._folder / "tensors"

    @property
    def ledger(self) -> Path:
        """The file that says what this machine made."""
        return self.generated / "ledger.json"

    def tensors(self, subject: str, case: str) -> Path:
        """The file of one golden."""
        return self.generated / file_stem(subject) / f"{case}.safetensors"

    def lock_golden(self, subject: str, case: str) -> AbstractContextManager[None]:
        """Lock one golden. To be taken before, never inside, `lock_document`."""
        return self._lock(f"{file_stem(subject)}.{case}")

    def lock_document(self, document: Path) -> AbstractContextManager[None]:
        """Lock the ledger or the manifest."""
        return self._lock(document.name)

    def _lock(self, name: str) -> AbstractContextManager[None]:
        return file_lock(self.generated / ".locks" / f"{name}.lock")


def file_stem(subject: str) -> str:
    """Return the folder name of a subject: its name, or if that has other characters than
    ``A-Za-z0-9_.@+-`` (a path does), what remains of it and eight digits of its SHA-256."""
    if _PORTABLE.fullmatch(subject) and len(subject) <= _LONGEST_STEM:
        return subject
    readable = re.sub(r"[^A-Za-z0-9_.@+-]+", "-", subject).strip("-.")[-_LONGEST_STEM:]
    return f"{readable}-{hashlib.sha256(subject.encode()).hexdigest()[:8]}"


def build_command(subject: str, case: str, *options: str) -> str:
    """Return the command line that builds a golden."""
    return command_line("golden", "build", "--subject", subject, "--case", case, *options)
