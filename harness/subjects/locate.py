"""Where the weights of a subject are: a path, this repository, a cache, or Demucs' servers.

Only files are found and fetched here, by Demucs' own tables; `read_checkpoint` reads them. The
caches are those of Demucs: that of the Hugging Face hub (safetensors) and of ``torch.hub`` (.th).
"""

from __future__ import annotations

import glob
import hashlib
import http.client
import logging
import re
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
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
from harness.places import PROJECT
from harness.subjects.checkpoints import CHECKPOINT_SUFFIXES, PICKLED_SUFFIXES
from harness.subjects.names import Architecture

_log = logging.getLogger(__name__)

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


@dataclass(frozen=True)
class Located:
    """The files of a subject, and what a list of models says of them.

    Attributes:
        files: one for each model, in order.
        weights: for each model, the weight of each of its stems in the result; None if unsaid.
        segment: seconds that each model is given at most; None if unsaid.
    """

    files: tuple[Path, ...]
    weights: tuple[tuple[float, ...], ...] | None = None
    segment: float | None = None


def locate_given(architecture: Architecture, path: Path) -> Located:
    """Return the checkpoint files of all models at ``path``.

    ``path`` is a checkpoint, a ``.yaml`` that lists models as Demucs' bags do, or a folder: with
    such a list (``NAME.yaml``, or the only one), with one checkpoint, with one named after the
    signature of each member (``SIGNATURE.safetensors``, ``SIGNATURE.th``,
    ``SIGNATURE-CHECKSUM.th``), or a repository in the Hugging Face cache.

    Raises:
        CheckpointError: nothing is there, or not what the architecture needs.
    """
    if path.is_file():
        if path.suffix == ".yaml":
            return _listed(path)
        if len(architecture.members) > 1:
            raise CheckpointError(
                f"{architecture.name} is a bag of {len(architecture.members)} models, but {path} "
                "is one file; give the folder that holds all of them, or take one model as "
                f"htdemucs@{path.name}"
            )
        return Located((path,))
    if not path.is_dir():
        raise CheckpointError(f"weights {path} do not exist")
    folder = _snapshot(path)
    lists = sorted(folder.glob("*.yaml"))
    own = folder / f"{architecture.name}.yaml"
    if own in lists or len(lists) == 1:
        return _listed(own if own in lists else lists[0])
    return Located(_members(architecture, folder))


def _members(architecture: Architecture, folder: Path) -> tuple[Path, ...]:
    """Return the only checkpoint of a folder, or those that are named as the architecture's."""
    signatures = architecture.members
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
        f"{architecture.name} (expected {missing[0]}.safetensors or {missing[0]}-CHECKSUM.th); "
        "give one of them, or a .yaml that lists them under 'models'"
    )


def locate_pretrained(architecture: Architecture) -> tuple[Path, ...]:
    """Return the files of the trained weights: the project's own, or else the published ones.

    Published weights come from a cache, or else are freshly downloaded.

    Raises:
        WeightsUnavailableError: the project's own file is missing, or the published weights are in
            no cache and no server can be reached.
    """
    if architecture.weight_file:
        return (_locate_own(architecture),)
    return tuple(_locate_member(architecture, signature) for signature in architecture.members)


def _locate_own(architecture: Architecture) -> Path:
    path = PROJECT / architecture.weight_file
    if not path.is_file():
        name = architecture.name
        raise WeightsUnavailableError(
            f"the weights of {name} are not on this machine: {path} is missing, which comes with "
            f"the project; install it again, or use {name}@seeded or {name}@PATH"
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


def _listed(file: Path) -> Located:
    """Return what a list of models says, and where they are: beside it."""
    try:
        bag = yaml.load(read_text(file, _BAG_LIMIT_BYTES, CheckpointError), _PlainLoader)
        signatures = [str(signature) for signature in bag["models"]]
        weights, segment = bag.get("weights"), bag.get("segment")
    except (yaml.YAMLError, RecursionError, *_NO_BAG) as error:
        raise CheckpointError(f"{file} is no list of models: {error}") from error
    strange = next((name for name in signatures if not _NAME.fullmatch(name)), None)
    if strange is not None:
        raise CheckpointError(
            f"{file} lists {one_line(repr(strange), 60)}, expected the beginnings of files' names"
        )
    if not signatures:
        raise CheckpointError(f"{file} is no list of models: expected signatures under 'models'")
    files = [_find_in_folder(file.parent, signature) for signature in signatures]
    missing = [name for name, found in zip(signatures, files, strict=True) if found is None]
    if missing:
        raise CheckpointError(
            f"{file} lists {missing[0]}, and there is no {missing[0]}.safetensors or "
            f"{missing[0]}-CHECKSUM.th beside it"
        )
    if segment is not None and not (_is_weight(segment) and segment > 0):
        raise CheckpointError(f"{file}: segment is {segment!r}, expected seconds")
    found_files = tuple(found for found in files if found is not None)
    return Located(found_files, _weights(file, weights, len(signatures)), segment)


def _weights(file: Path, weights: Any, models: int) -> tuple[tuple[float, ...], ...] | None:
    if weights is None:
        return None
    rows = weights if isinstance(weights, list) else []
    numbers = all(isinstance(row, list) and all(map(_is_weight, row)) for row in rows)
    if len(rows) != models or not numbers or len({len(row) for row in rows}) != 1:
        raise CheckpointError(
            f"{file} weighs its {models} models by {str(weights)[:80]}; expected a list for each, "
            "with a number for each stem"
        )
    table = tuple(tuple(float(weight) for weight in row) for row in rows)
    if not all(sum(column) > 0 for column in zip(*table, strict=True)):
        raise CheckpointError(f"{file} gives a stem no weight in any model: {str(weights)[:80]}")
    return table


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= sys.float_info.max  # NaN is neither


def _find_in_folder(folder: Path, signature: str) -> Path | None:
    name = glob.escape(signature)
    for pattern in (
        f"{name}.safetensors",
        *(f"{name}{end}" for end in PICKLED_SUFFIXES),
        f"{name}-*.th",
    ):
        matches = sorted(folder.glob(pattern))
        if len(matches) > 1:
            raise CheckpointError(
                f"folder {folder} has {len(matches)} files for {signature}: keep one of "
                f"{', '.join(match.name for match in matches)}"
            )
        if matches:
            return matches[0]
    return None
