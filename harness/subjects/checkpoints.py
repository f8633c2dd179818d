"""Reading checkpoint files as data: tensors and plain values, never code.

`read_checkpoint` takes Demucs' two formats, and bare state dicts in either container:

- ``.th``: a pickle with ``klass``, ``args``, ``kwargs`` and ``state``. It is read by PyTorch's
  restricted unpickler with a short allow-list. The model class itself is on no list: an inert
  placeholder that can't be constructed stands for it, so that a file can name it but not run it.
- ``.safetensors``: the same four as JSON metadata and tensors. Class names stay strings.

Demucs' own loaders unpickle freely (``weights_only=False``) and import any class that the metadata
names, so they are not used.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import reprlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import torch
from torch import Tensor

from harness.arrayfiles import FOREIGN, open_archive, open_safetensors
from harness.bounded import open_regular, parse_json
from harness.errors import CheckpointError, one_line

HTDEMUCS_CLASS: Final = "demucs.htdemucs.HTDemucs"
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
        kwargs: keyword arguments of its constructor.
    """

    path: Path
    state: Mapping[str, Tensor]
    klass: str | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the contents of one checkpoint file.

    A checksum in the file's name (``signature-checksum.th``) is verified first.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, larger inside than outside,
            quantised, or asks for code to be run; the message says which.
    """
    readers: dict[str, Callable[[Path], Checkpoint]] = {
        ".th": _read_pickled,
        ".safetensors": _read_safetensors,
    }
    reader = readers.get(path.suffix)
    if reader is None:
        raise CheckpointError(
            f"checkpoint {path} is no {' or '.join(readers)} file; convert it to .safetensors"
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


class _CodeInCheckpoint(Exception):
    """A pickle asks for more than data."""


class _ModelClass:
    """Stands for the model class in a pickle: it can be named, not constructed."""

    def __new__(cls, *args: object, **kwargs: object) -> NoReturn:
        raise _CodeInCheckpoint(HTDEMUCS_CLASS)


class _Ignored:
    """Stands for what only training metrics need; takes any arguments and keeps none."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _fraction(*args: object) -> Fraction:
    """Return a small fraction. ``Fraction("1e999999999")`` would take all memory and days."""
    if not all(isinstance(arg, int | str) for arg in args):
        raise ValueError("a fraction of something else than numbers")
    text = "/".join(map(str, args))
    if not re.fullmatch(r"-?\d{1,18}(/\d{1,18})?", text):
        raise ValueError(f"{text[:40]!r} is no plain fraction")
    return Fraction(text)


_ALLOWED: Final[list[Any]] = [
    (_ModelClass, HTDEMUCS_CLASS),
    (_fraction, "fractions.Fraction"),
    # NumPy numbers among the training metrics, in the words of NumPy 1 and 2.
    (_Ignored, "_codecs.encode"),
    (_Ignored, "numpy.dtype"),
    (_Ignored, "numpy.core.multiarray.scalar"),
    (_Ignored, "numpy._core.multiarray.scalar"),
]
"""What the published checkpoints refer to beside what PyTorch allows by itself. All are inert."""

_DAMAGE: Final = (
    pickle.UnpicklingError, struct.error, RuntimeError, ValueError, TypeError, LookupError,
    AttributeError, ArithmeticError, AssertionError, MemoryError, EOFError, OSError,
)  # fmt: skip
"""What PyTorch's unpickler raises on streams that are not well-formed."""


def _read_pickled(path: Path) -> Checkpoint:
    with open_regular(path, _LIMIT_BYTES, CheckpointError) as file:
        _refuse_zip_bomb(path, file)
        try:
            with torch.serialization.safe_globals(_ALLOWED):
                content = torch.load(file, map_location="cpu", weights_only=True)
        except _CodeInCheckpoint as error:
            raise CheckpointError(_refusal(path, str(error))) from error
        except _DAMAGE as error:
            raise CheckpointError(_why_unreadable(path, error)) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"checkpoint {path} holds a {type(content).__name__}, expected a dict of tensors"
        )
    if "state" not in content:
        return Checkpoint(path, _only_tensors(path, content))
    klass, args, kwargs = (content.get(key) for key in ("klass", "args", "kwargs"))
    if not isinstance(args, tuple | list) or not isinstance(kwargs, dict):
        raise CheckpointError(f"checkpoint {path} has no readable constructor arguments")
    return Checkpoint(
        path,
        _only_tensors(path, content["state"]),
        HTDEMUCS_CLASS
        if klass is _ModelClass
        else klass
        if isinstance(klass, str)
        else shown(klass),
        tuple(args),
        kwargs,
    )


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
        return Checkpoint(path, _only_tensors(path, state))
    return Checkpoint(
        path,
        _only_tensors(path, state),
        metadata["klass"],
        tuple(_decoded(path, metadata, "args", list)),
        dict(_decoded(path, metadata, "kwargs", dict)),
    )


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


def _only_tensors(path: Path, state: Any) -> dict[str, Tensor]:
    if not isinstance(state, Mapping):
        raise CheckpointError(f"checkpoint {path} holds no state dict")
    if "__quantized" in state:
        raise CheckpointError(_quantised(path))
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


def shown(value: object) -> str:
    """Return a value of a stranger's as short text; a whole ``repr`` may be without end."""
    return one_line(_SHORT.repr(value), 100)


_SHORT: Final = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring = 2, 90


def _quantised(path: Path) -> str:
    return (
        f"checkpoint {path} is quantised (DiffQ), which can't be read as plain tensors; "
        "use the unquantised model"
    )
