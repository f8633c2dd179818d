"""Names of subjects: ``NAME[@WEIGHTS][?OPTIONS]``, and the table of what each NAME stands for.

``htdemucs_6s``            the published weights
``htdemucs_6s@seeded``     the same architecture with seeded, live weights; no download
``htdemucs_6s@seeded:7``   the same with another seed
``htdemucs@PATH``          a checkpoint, a folder with some, or a ``.yaml`` that lists a bag; the
                           network is the checkpoint's own; what nobody says of it is asked for
``mini``                   a small trained network, with its weights in the repository

OPTIONS say what a checkpoint leaves open, or change what is seeded: arguments of HTDemucs'
constructor, ``htdemucs@PATH?segment=10&sources=vocals,other``. What stands behind the last ``?`` is
taken for options only if it is made of ``key=value``.

A new architecture is one row in `ARCHITECTURES`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from harness.errors import ParityError, UnknownNameError

SEEDED: Final = "seeded"
DEFAULT_SEED: Final = 0
_SEED_LIMIT: Final = 2**63
_OPTION: Final = re.compile(r"([a-z][a-z0-9_]*)=([^&=?]*)", re.ASCII)

FOUR_SOURCES: Final = ("drums", "bass", "other", "vocals")
SIX_SOURCES: Final = (*FOUR_SOURCES, "guitar", "piano")


@dataclass(frozen=True)
class Architecture:
    """One kind of network.

    Attributes:
        name: as in subject names and in Demucs.
        sources: names of the stems, in the order of the outputs.
        arguments: what HTDemucs is constructed with, beside the sources; the rest is its default.
        members: Demucs' signatures of the published weights, one for each model of the bag.
        bag_weights: for each member, the weight of each of its stems in the result.
        weight_file: where the weights of the only member are in the repository; empty for those
            that Demucs publishes.
    """

    name: str
    sources: tuple[str, ...]
    arguments: Mapping[str, Any]
    members: tuple[str, ...]
    bag_weights: tuple[tuple[float, ...], ...] = field(default=())
    weight_file: str = ""

    def __post_init__(self) -> None:
        if not self.bag_weights:
            ones = tuple(1.0 for _ in self.sources)
            object.__setattr__(self, "bag_weights", tuple(ones for _ in self.members))


def _published(bottom_channels: int) -> dict[str, Any]:
    """Return the arguments of the published models, which differ in one of them alone."""
    return {
        "channels": 48,
        "depth": 4,
        "dconv_mode": 3,  # residual branches in the encoders and the decoders
        "bottom_channels": bottom_channels,
        "t_layers": 5,
        "t_heads": 8,
        "segment": Fraction(39, 5),
        "use_train_segment": True,
    }


ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    row.name: row
    for row in (
        Architecture("htdemucs", FOUR_SOURCES, _published(512), ("955717e8",)),
        Architecture("htdemucs_6s", SIX_SOURCES, _published(0), ("5c90dfd2",)),
        Architecture(
            "htdemucs_ft",
            FOUR_SOURCES,
            _published(512),
            ("f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d"),
            tuple(
                tuple(float(stem == member) for stem in range(len(FOUR_SOURCES)))
                for member in range(4)
            ),
        ),
        Architecture(
            "mini",
            SIX_SOURCES,
            {**_published(128), "channels": 16},
            ("mini",),
            weight_file="golden/mini/mini.safetensors",
        ),
    )
}


@dataclass(frozen=True)
class SubjectName:
    """A parsed subject name.

    Attributes:
        architecture: a key of `ARCHITECTURES`.
        weights: what stands behind the ``@``; None for the trained weights of that name.
        options: what stands behind the ``?``, by key, in the order of the keys; as text.
    """

    architecture: str
    weights: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    @property
    def seed(self) -> int | None:
        """The seed of ``@seeded`` weights, None for others."""
        if self.weights is None:
            return None
        head, colon, tail = self.weights.partition(":")
        if head != SEEDED:
            return None
        return int(tail) if colon else DEFAULT_SEED

    @property
    def path(self) -> Path | None:
        """The file or folder of ``@PATH`` weights, None for others."""
        if self.weights is None or self.seed is not None:
            return None
        return Path(self.weights).expanduser()

    def __str__(self) -> str:
        name = self.architecture if self.weights is None else f"{self.architecture}@{self.weights}"
        options = "&".join(f"{key}={value}" for key, value in self.options)
        return f"{name}?{options}" if options else name


def parse_subject_name(text: str) -> SubjectName:
    """Return the parts of ``NAME[@WEIGHTS][?OPTIONS]``; what is right is not looked up on disk.

    Raises:
        UnknownNameError: NAME is no architecture; the nearest one is suggested.
        ParityError: WEIGHTS is empty, or a seed that is no whole number from 0 to 2^63 - 1, or an
            option is given twice.
    """
    whole, options = _split_options(text)
    name, at, weights = whole.partition("@")
    if name not in ARCHITECTURES:
        if os.path.isfile(whole):  # noqa: PTH113 - false for what can't be a path
            raise ParityError(f"unknown subject {text!r}; did you mean 'htdemucs@{text}'?")
        raise UnknownNameError("subject", name, ARCHITECTURES)
    if not at:
        return SubjectName(name, None, options)
    if not weights:
        raise ParityError(
            f"subject {text!r} has nothing behind the '@': "
            f"give {name}@seeded, {name}@PATH, or {name}"
        )
    head, colon, seed = weights.partition(":")
    if head == SEEDED and colon:
        if not (re.fullmatch("[0-9]{1,19}", seed) and int(seed) < _SEED_LIMIT):
            raise ParityError(
                f"seed {seed!r} in subject {text!r} is no whole number from 0 to 2^63 - 1"
            )
        is_default = int(seed) == DEFAULT_SEED
        weights = SEEDED if is_default else f"{SEEDED}:{int(seed)}"
    return SubjectName(name, weights, options)


def with_settings(subject: str, settings: Iterable[str]) -> str:
    """Return the name of ``subject`` with further options, ``KEY=VALUE`` each.

    Raises:
        ParityError: one is no ``KEY=VALUE``, or is given twice.
    """
    given = tuple(settings)
    for setting in given:
        if not _OPTION.fullmatch(setting):
            raise ParityError(f"setting {setting[:80]!r} is no KEY=VALUE, like segment=10")
    if not given:
        return subject
    whole, options = _split_options(subject)
    joined = "&".join((*(f"{key}={value}" for key, value in options), *given))
    return str(parse_subject_name(f"{whole}?{joined}"))


def _split_options(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    whole, mark, tail = text.rpartition("?")
    found = [_OPTION.fullmatch(part) for part in tail.split("&")]
    options = [(match[1], match[2]) for match in found if match is not None]
    if not mark or len(options) < len(found):
        return text, ()
    keys = [key for key, _ in options]
    for key in keys:
        if keys.count(key) > 1:
            raise ParityError(f"subject {text!r} gives the option {key!r} twice")
    return whole, tuple(sorted(options))
