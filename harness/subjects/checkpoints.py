"""Reading checkpoint files as data: tensors and plain values, never code.

`read_checkpoint` takes Demucs' two formats, bare state dicts in either container, and what other
trainers make of them (`harness.subjects.containers`):

- ``.th``, ``.pt``, ``.pth``, ``.ckpt``, ``.bin``: a pickle with ``klass``, ``args``, ``kwargs`` and
  ``state``, or another container. It is read by PyTorch's restricted unpickler with a short
  allow-list. No model class is on it: an inert placeholder that can't be constructed stands for
  each, so that a file can name it but not run it (`harness.subjects.placeholders`).
- ``.safetensors``: the same four as JSON metadata and tensors. Class names stay strings.

Demucs' own loaders unpickle freely (``weights_only=False``) and import any class that the metadata
names, so they are not used.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from torch import Tensor

from harness.arrayfiles import FOREIGN, open_archive, open_safetensors
from harness.bounded import open_regular, parse_json
from harness.errors import CheckpointError, one_line
from harness.subjects.containers import Contents, opened, without_prefix
from harness.subjects.placeholders import ALLOWED, CodeInCheckpointError
from harness.subjects.values import shown

PICKLED_SUFFIXES: Final = (".th", ".pt", ".pth", ".ckpt", ".bin")
CHECKPOINT_SUFFIXES: Final = (".safetensors", *PICKLED_SUFFIXES)
_CHECKSUM_IN_NAME: Final = re.compile(r"^[^-]+-([0-9a-f]{8,64})$")
_MAX_MEMBERS: Final = 10_000
_LIMIT_BYTES: Final = 4 << 30  # the largest published has 0.35 GB
_PICKLE_LIMIT_BYTES: Final = 4 << 20  # without the tensors; a byte of it can make an object


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        path: the file.
        state: tensors by name, as stored.
        klass: dotted name of the model class, or None in a bare state dict.
        args: positional arguments of its constructor.
        kwargs: keyword arguments of its constructor, or None if the file says none; may be a part
            of them where ``klass`` is None.
        notes: what was chosen or taken off while it was read, one sentence each.
    """

    path: Path
    state: Mapping[str, Tensor]
    klass: str | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the contents of one checkpoint file.

    A checksum in the file's name (``signature-checksum.th``) is verified first.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, larger inside than outside,
            quantised, or asks for code to be run; the message says which.
    """
    readers: dict[str, Callable[[Path], Checkpoint]] = {
        ".safetensors": _read_safetensors,
        **dict.fromkeys(PICKLED_SUFFIXES, _read_pickled),
    }
    reader = readers.get(path.suffix)
    if reader is None:
        raise CheckpointError(
            f"checkpoint {path} is no {', '.join(readers)} file; convert it to .safetensors"
        )
    if not path.exists():
        raise CheckpointError(f"checkpoint {path} does not exist")
    _verify_checksum(path)
    return reader(path)


def _verify_checksum(path: Path) -> None:
    match = _CHECKSUM_IN_NAME.match(path.stem)
    if match is None:
        return
    digest = hashlib.sha256()
    with open_regular(path, _LIMIT_BYTES, CheckpointError) as file:
        while block := file.read(2**20):
            digest.update(block)
    expected, actual = match[1], digest.hexdigest()
    if not actual.startswith(expected):
        raise CheckpointError(
            f"checkpoint {path} is damaged: its SHA-256 starts with {actual[: len(expected)]}, "
            f"its name says {expected}; download it again"
        )


# --------------------------------------------------------------------------------------------------
# .th

_DAMAGE: Final = (
    pickle.UnpicklingError, struct.error, RuntimeError, ValueError, TypeError, LookupError,
    AttributeError, ArithmeticError, AssertionError, MemoryError, EOFError, OSError,
)  # fmt: skip
"""What PyTorch's unpickler raises on streams that are not well-formed."""


def _read_pickled(path: Path) -> Checkpoint:
    with open_regular(path, _LIMIT_BYTES, CheckpointError) as file:
        _refuse_zip_bomb(path, file)
        try:
            with torch.serialization.safe_globals(ALLOWED):
                content = torch.load(file, map_location="cpu", weights_only=True)
        except CodeInCheckpointError as error:
            raise CheckpointError(_refusal(path, str(error))) from error
        except _DAMAGE as error:
            raise CheckpointError(_why_unreadable(path, error)) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"checkpoint {path} holds a {type(content).__name__}, expected a dict of tensors"
        )
    return _checkpoint(path, opened(path, content))


def _refuse_zip_bomb(path: Path, file: BinaryIO) -> None:
    """PyTorch stores without compression, so the parts can't be larger than the file."""
    try:
        members = open_archive(file).infolist()
        file.seek(0)
    except FOREIGN as error:
        raise CheckpointError(
            f"checkpoint {path} is truncated, or no file that torch.save wrote ({error})"
        ) from error
    declared, size = sum(member.file_size for member in members), path.stat().st_size
    pickled = sum(member.file_size for member in members if member.filename.endswith(".pkl"))
    if len(members) > _MAX_MEMBERS or declared > size or pickled > _PICKLE_LIMIT_BYTES:
        raise CheckpointError(
            f"checkpoint {path} is refused: {len(members)} parts of {declared} bytes "
            f"({pickled} of them a pickle) in a file of {size} bytes"
        )


def _why_unreadable(path: Path, error: BaseException) -> str:
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked is not None:
        return _refusal(path, asked[1])
    # PyTorch puts advice before what happened.
    lines = str(error).split("WeightsUnpickler error:")[-1].strip().splitlines()
    reason = lines[0].strip() if lines else type(error).__name__
    return f"checkpoint {path} can't be read as data: {reason}"


def _refusal(path: Path, asked: str) -> str:
    return (
        f"checkpoint {path} is refused: it asks for {asked!r}, and checkpoints are read as data, "
        "never run; save its state dict as .safetensors"
    )


# --------------------------------------------------------------------------------------------------
# .safetensors


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with open_safetensors(path, _LIMIT_BYTES, CheckpointError, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FOREIGN as error:
        raise CheckpointError(
            f"checkpoint {path} is no readable safetensors file ({error})"
        ) from error
    if "structure" in metadata:
        raise CheckpointError(_quantised(path))
    if "klass" not in metadata:
        return _checkpoint(path, Contents(state))
    args = tuple(_decoded(path, metadata, "args", list))
    kwargs = dict(_decoded(path, metadata, "kwargs", dict))
    return _checkpoint(path, Contents(state, metadata["klass"], args, kwargs))


def _decoded(path: Path, metadata: Mapping[str, str], key: str, kind: type) -> Any:
    """Return JSON of a ``kind``, empty by default, in which Demucs writes fractions as objects."""
    try:
        value = _with_fractions(parse_json(metadata[key])) if key in metadata else kind()
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise CheckpointError(f"checkpoint {path} has unreadable {key} ({error})") from error
    if not isinstance(value, kind):
        raise CheckpointError(
            f"checkpoint {path} has {key} that are no {kind.__name__} but "
            f"{one_line(repr(value), 60)}; expected the constructor arguments of a model"
        )
    return value


def _with_fractions(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_fractions(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("_type") == "fraction":
        return Fraction(node["numerator"], node["denominator"])
    return {key: _with_fractions(item) for key, item in node.items()}


# --------------------------------------------------------------------------------------------------
# both


def _checkpoint(path: Path, contents: Contents) -> Checkpoint:
    state, notes = without_prefix(path, _only_tensors(path, contents.state))
    return Checkpoint(
        path, state, contents.klass, contents.args, contents.kwargs, (*contents.notes, *notes)
    )


def _only_tensors(path: Path, state: Any) -> dict[str, Tensor]:
    if not isinstance(state, Mapping):
        raise CheckpointError(f"checkpoint {path} holds no state dict")
    if "__quantized" in state:
        raise CheckpointError(_quantised(path))
    if not any(isinstance(value, Tensor) for value in state.values()):
        held = ", ".join(map(shown, [*state][:3])) or "an empty dict"
        raise CheckpointError(f"checkpoint {path} holds no weights, but {held}; save a state dict")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"checkpoint {path} holds {shown(name)}, a {type(value).__name__}, among its "
                "tensors"
            )
        if value.is_meta or value.is_quantized or value.layout is not torch.strided:
            how = "without values" if value.is_meta else f"as {value.dtype}, {value.layout}"
            raise CheckpointError(
                f"checkpoint {path} holds the tensor {shown(name)} {how}; expected plain values: "
                "save the state dict of a model that is in memory"
            )
    return dict(state)


def _quantised(path: Path) -> str:
    return (
        f"checkpoint {path} is quantised (DiffQ), which can't be read as plain tensors; "
        "use the unquantised model"
    )
