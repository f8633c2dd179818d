"""Where the weights of a subject are: a path, this repository, a cache, or Demucs' servers.

Only files are found and fetched here, by Demucs' own tables; `read_checkpoint` reads them. The
caches are those of Demucs: that of the Hugging Face hub (safetensors) and of ``torch.hub`` (.th).
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
import yaml  # type: ignore[import-untyped]
from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name
from demucs.pretrained import REMOTE_ROOT, _parse_remote_files
from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from harness.atomic import atomic_file
from harness.bounded import read_text
from harness.errors import CheckpointError, WeightsUnavailableError, one_line
from harness.subjects.names import Architecture

_log = logging.getLogger(__name__)

CHECKPOINT_SUFFIXES: Final = (".safetensors", ".th")
_REPOSITORY: Final = Path(__file__).parents[2]
_TIMEOUT_S: Final = 5.0
_REFERENCE_LIMIT_BYTES: Final = 1 << 10
_BAG_LIMIT_BYTES: Final = 1 << 16
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}")  # of a signature or snapshot: no path, no pattern
_NO_BAG: Final = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What YAML raises on values, and Python on what is no bag."""


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without aliases: a few lines of them stand for billions of values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it refers to a value by an alias; write the value there")
        return super().compose_node(parent, index)


def locate_given(architecture: Architecture, path: Path) -> tuple[Path, ...]:
    """Return the checkpoint files of all members of ``architecture`` at ``path``.

    ``path`` is a file, or a folder: with one checkpoint, with one named after the signature of each
    member (``SIGNATURE.safetensors``, ``SIGNATURE.th``, ``SIGNATURE-CHECKSUM.th``), with a
    ``NAME.yaml`` that lists other signatures, or a repository in the Hugging Face cache.

    Raises:
        CheckpointError: nothing is there, or not what the architecture needs.
    """
    if path.is_file():
        if len(architecture.members) > 1:
            raise CheckpointError(
                f"{architecture.name} is a bag of {len(architecture.members)} models, but {path} "
                "is one file; give the folder that holds all of them"
            )
        return (path,)
    if not path.is_dir():
        raise CheckpointError(f"weights {path} do not exist")
    folder = _snapshot(path)
    signatures = _signatures(architecture, folder)
    files = [_find_in_folder(folder, signature) for signature in signatures]
    found = [file for file in files if file is not None]
    if len(found) == len(signatures):
        return tuple(found)
    candidates = sorted(file for file in folder.iterdir() if file.suffix in CHECKPOINT_SUFFIXES)
    if len(candidates) == len(signatures) == 1:
        return (candidates[0],)
    missing = [name for name, file in zip(signatures, files, strict=True) if file is None]
    raise CheckpointError(
        f"folder {folder} has {len(candidates)} checkpoints, and none for {', '.join(missing)} of "
        f"{architecture.name} (expected {missing[0]}.safetensors or {missing[0]}-CHECKSUM.th)"
    )


def locate_pretrained(architecture: Architecture) -> tuple[Path, ...]:
    """Return the files of the trained weights: the repository's, or else the published ones.

    Published weights come from a cache, or else are freshly downloaded.

    Raises:
        WeightsUnavailableError: this is no clone of the repository, or the published weights are in
            no cache and no server can be reached.
    """
    if architecture.weight_file:
        return (_locate_in_repository(architecture),)
    return tuple(_locate_member(architecture, signature) for signature in architecture.members)


def _locate_in_repository(architecture: Architecture) -> Path:
    path = _REPOSITORY / architecture.weight_file
    if not path.is_file():
        name = architecture.name
        raise WeightsUnavailableError(
            f"the weights of {name} are not on this machine: {path} is missing (they come with a "
            f"clone of the repository, not with an installed package); use {name}@seeded, or get "
            f"{architecture.weight_file} from a clone and use {name}@PATH"
        )
    return path


def _locate_member(architecture: Architecture, signature: str) -> Path:
    repository = f"{DEFAULT_NAMESPACE}/{hf_repo_name(architecture.name)}"
    filename = f"{signature}.safetensors"
    cached = try_to_load_from_cache(repository, filename)
    if isinstance(cached, str):
        return Path(cached)
    url: str = _parse_remote_files(REMOTE_ROOT / "files.txt")[signature]
    target = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if target.is_file():
        return target
    try:
        return _download(url, target)
    except (OSError, http.client.HTTPException) as error:
        first_reason = _reason(error)
    try:
        _probe(hf_hub_url(repository, filename))
        return Path(hf_hub_download(repository, filename, etag_timeout=_TIMEOUT_S))
    except (OSError, HfHubHTTPError) as error:
        name = architecture.name
        raise WeightsUnavailableError(
            f"the published weights of {name} are not on this machine and can't be downloaded "
            f"({url}: {first_reason}; huggingface.co/{repository}: {_reason(error)}); "
            f"use {name}@seeded, or fetch that file elsewhere and use {name}@PATH"
        ) from error


def _download(url: str, target: Path) -> Path:
    """Fetch ``url`` to ``target``, whose name ends in the beginning of its SHA-256."""
    _log.info("downloading %s", url)
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, atomic_file(target) as part:
        with part.open("wb") as file:
            while block := response.read(2**20):
                digest.update(block)
                file.write(block)
        if not digest.hexdigest().startswith(target.stem.rsplit("-", 1)[1]):
            raise OSError("what arrived is incomplete or not what the checksum in its name says")
    return target


def _probe(url: str) -> None:
    """Raise an OSError if there is no connection; the hub's client would retry for 24 s."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        error.close()  # an answer, so there is a connection; the client says what is wrong


def _reason(error: Exception) -> str:
    reason: Any = getattr(error, "reason", error)
    return one_line(str(reason) or type(error).__name__, 60)


def _snapshot(folder: Path) -> Path:
    """Return the current snapshot of a repository in the Hugging Face cache, or ``folder``."""
    reference = folder / "refs" / "main"
    if not reference.exists():
        return folder
    revision = read_text(reference, _REFERENCE_LIMIT_BYTES, CheckpointError).strip()
    if not _NAME.fullmatch(revision):
        raise CheckpointError(
            f"{reference} holds {one_line(repr(revision), 60)}, expected the name of a snapshot; "
            "download the repository again"
        )
    return folder / "snapshots" / revision


def _signatures(architecture: Architecture, folder: Path) -> Sequence[str]:
    """Return the signatures in the folder's ``NAME.yaml``, or those of the published weights."""
    file = folder / f"{architecture.name}.yaml"
    if not file.exists():
        return architecture.members
    try:
        bag = yaml.load(read_text(file, _BAG_LIMIT_BYTES, CheckpointError), _PlainLoader)
        signatures = [str(signature) for signature in bag["models"]]
        weights = bag.get("weights")
    except (yaml.YAMLError, RecursionError, *_NO_BAG) as error:
        raise CheckpointError(f"{file} is no list of models: {error}") from error
    strange = next((name for name in signatures if not _NAME.fullmatch(name)), None)
    if strange is not None:
        raise CheckpointError(
            f"{file} lists {one_line(repr(strange), 60)}, expected the beginnings of files' names"
        )
    if len(signatures) != len(architecture.members):
        raise CheckpointError(
            f"{file} lists {len(signatures)} models, but {architecture.name} has "
            f"{len(architecture.members)}"
        )
    expected = [list(row) for row in architecture.bag_weights]
    if weights is not None and weights != expected:
        raise CheckpointError(
            f"{file} weighs its models by {weights}, but {architecture.name} does by {expected}"
        )
    return signatures


def _find_in_folder(folder: Path, signature: str) -> Path | None:
    for pattern in (f"{signature}.safetensors", f"{signature}.th", f"{signature}-*.th"):
        matches = sorted(folder.glob(pattern))
        if len(matches) > 1:
            raise CheckpointError(
                f"folder {folder} has {len(matches)} files for {signature}: keep one of "
                f"{', '.join(match.name for match in matches)}"
            )
        if matches:
            return matches[0]
    return None
