"""What a package should be traceable to: versions of what made it, and the commit of this code."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import harness

_DEPENDENCIES = ("torch", "demucs", "coremltools", "numpy")


def provenance() -> dict[str, str]:
    """Return the commit and the versions as facts for a package's metadata."""
    return {
        "git_commit": git_commit(),
        **{f"version.{name}": found for name, found in versions().items()},
    }


def versions() -> dict[str, str]:
    """Return the versions of this harness and of what takes part in a conversion."""
    found = {"harness": harness.__version__}
    for name in _DEPENDENCIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a source tree that isn't installed
            found[name] = "unknown"
    return found


def git_commit() -> str:
    """Return the commit that this code was checked out from, "" if it is in no git work tree.

    ``-dirty`` is appended when tracked files differ from the commit.
    """
    folder = Path(harness.__file__).parent
    # An installed copy may lie in a folder of somebody else's repository, which doesn't track it.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return ""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return ""
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
