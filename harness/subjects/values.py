"""The arguments of HTDemucs' constructor as values: spelled in options, compared, and checked.

Arguments come from strangers, so each is a plain value of a sensible size before anything is built
with it: a network of 2^40 channels, or of a depth of a million stages, takes all memory and days.
"""

from __future__ import annotations

import inspect
import math
import re
import reprlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from demucs.htdemucs import HTDemucs

from harness.errors import CheckpointError, ParityError, one_line, require_known
from harness.subjects.names import SubjectName

NO_EFFECT: Final = frozenset(
    (
        # used in training, or for the initial values, alone
        "t_dropout", "t_weight_decay", "t_lr", "rescale", "dconv_init", "emb_smooth",
        # belong to options that are off: masks instead of complex spectrograms, other positional
        # embeddings, sparse attention, split frequency bands
        "wiener_iters", "end_iters", "wiener_residual", "t_max_positions", "t_cape_mean_normalize",
        "t_cape_augment", "t_cape_glob_loc_scale", "t_mask_type", "t_mask_random_seed",
        "t_sparse_attn_window", "t_global_window", "t_sparsity", "t_auto_sparsity",
        "multi_freqs_depth",
        # whether a short input is padded; here inputs are whole segments
        "use_train_segment",
    )
)  # fmt: skip
"""Constructor arguments that change nothing of what the supported models compute."""

SIGNATURE: Final = inspect.signature(HTDemucs)
DEFAULTS: Final[Mapping[str, Any]] = {
    name: row.default for name, row in SIGNATURE.parameters.items() if name != "sources"
}
OPTIONS: Final = tuple(name for name in SIGNATURE.parameters if name not in NO_EFFECT)
"""What may stand behind the ``?`` of a subject's name."""
_LARGEST: Final = {
    # Each of these is a number of modules, so it bounds the time that construction takes.
    "depth": 12, "dconv_depth": 16, "t_layers": 128, "t_heads": 1024,
    "audio_channels": 64, "samplerate": 2**20, "segment": 600,
}  # fmt: skip
_LARGEST_NUMBER: Final = 2**20
_LONGEST_LIST: Final = 64
_LONGEST_TEXT: Final = 64


def options_of(name: SubjectName) -> dict[str, Any]:
    """Return the options of a subject, each of the type that HTDemucs takes.

    Raises:
        UnknownNameError: there is no such option.
        ParityError: a value that can't be one.
    """
    return {key: _parsed(name, key, text) for key, text in name.options}


def _parsed(name: SubjectName, key: str, text: str) -> Any:
    """Return the value of an option, of the type that HTDemucs takes."""
    require_known(f"option of subject {name}", OPTIONS, key)
    if key == "sources":
        return tuple(part.strip() for part in text.split(","))
    default = DEFAULTS[key]
    if key == "multi_freqs":
        return [_number(name, key, part) for part in text.split(",")]
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise ParityError(f"{key}={text!r} in subject {name}: expected true or false")
        return text == "true"
    if isinstance(default, str):
        return text
    return _number(name, key, text)


def _number(name: SubjectName, key: str, text: str) -> Any:
    """Return a whole number as int, 7.8 or 39/5 as a fraction where seconds are meant."""
    if not re.fullmatch(r"\d{1,12}(\.\d{1,12}|/0*[1-9]\d{0,11})?", text, re.ASCII):
        raise ParityError(f"{key}={text[:40]!r} in subject {name}: expected a number, 0 or more")
    value = Fraction(text)
    if value.denominator == 1:
        return int(value)
    return value if key == "segment" else float(value)


def same_value(left: Any, right: Any) -> bool:
    """Return whether two values of one argument mean the same: 7.8 and 39/5, [] and None."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return list(left) == list(right)
    numbers = (int, float, Fraction)
    if isinstance(left, numbers) and isinstance(right, numbers):
        return abs(float(left) - float(right)) < 1e-9  # 7.8 and 39/5
    return bool(left == right) or (not left and not right)


def spelled(value: Any) -> str:
    """Return a value as an option spells it."""
    if isinstance(value, list | tuple):
        return ",".join(spelled(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def shown(value: object) -> str:
    """Return a value of a stranger's as short text; a whole ``repr`` may be without end."""
    return one_line(_SHORT.repr(value), 100)


class _Short(reprlib.Repr):
    """Short texts of any value, whatever it refers to and however long its digits are."""

    def repr_int(self, value: int, level: int) -> str:
        """Python refuses to write out numbers of more than 4,300 digits."""
        bits = value.bit_length()
        return str(value) if bits <= _MOST_BITS else f"<a whole number of {bits:,} bits>"


_MOST_BITS: Final = 256
_SHORT: Final = _Short()
_SHORT.maxlevel, _SHORT.maxstring = 2, 90


def check_arguments(where: str, arguments: Mapping[str, Any]) -> None:
    """Refuse what is no plain value of a sensible size.

    Args:
        where: whose arguments they are, for messages.
        arguments: all of HTDemucs', by name.

    Raises:
        CheckpointError: one of them is; the message names it.
    """
    sources = arguments["sources"]
    if (
        not isinstance(sources, list | tuple)
        or not 0 < len(sources) <= _LONGEST_LIST
        or not all(isinstance(stem, str) and 0 < len(stem) <= _LONGEST_TEXT for stem in sources)
        or len({*sources}) != len(sources)
    ):
        raise CheckpointError(
            f"{where}: sources are {shown(sources)}, expected 1 to {_LONGEST_LIST} different "
            "names of stems"
        )
    for key, value in arguments.items():
        if key != "sources" and not _is_sensible(key, value):
            raise CheckpointError(f"{where}: {key} is {shown(value)}, expected {_expectation(key)}")
    if not float(arguments["segment"]) * int(arguments["samplerate"]) >= 1:
        segment, rate = arguments["segment"], arguments["samplerate"]
        raise CheckpointError(f"{where}: {segment} s at a samplerate of {rate} Hz are no sample")


def _is_sensible(key: str, value: Any) -> bool:
    default = DEFAULTS[key]
    if isinstance(value, list | tuple):
        may_be = isinstance(default, list) or key == "multi_freqs"
        return may_be and len(value) <= _LONGEST_LIST and all(map(_is_number, value))
    if value is None:
        return default is None
    if isinstance(default, str) or isinstance(value, str):
        return isinstance(default, str) and isinstance(value, str) and len(value) <= _LONGEST_TEXT
    return _is_number(value) and abs(value) <= _LARGEST.get(key, _LARGEST_NUMBER)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Fraction) and (
        not isinstance(value, float) or math.isfinite(value)
    )


def _expectation(key: str) -> str:
    default = DEFAULTS[key]
    if isinstance(default, str):
        return f"a word like {default!r}"
    return f"a number up to {_LARGEST.get(key, _LARGEST_NUMBER)}, like {default}"
