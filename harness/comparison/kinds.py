"""What a tensor is, told from its name, and which gate of the table judges it.

==============================  ==================================================  ============
name                            what                                                gate
==============================  ==================================================  ============
``audio``, ``true_stems``       an input, which is copied: exact                    ops_exact
``spectrogram``                 [..., 4, bins, frames]; the STFT of an input        stft
``freq``, ``model.I.freq``      [..., sources, 4, bins, frames]; a network output   conversion
``time``, ``model.I.time``      [..., sources, channels, n]; a network output       conversion
``tap.*`` and all other names   an inner tensor                                     conversion
...                             the same, of integers or truth values               integers
``stems``                       [..., sources, channels, n]; each, in each          end_to_end
                                channel and its worst second
an audio file                   one stem, as above                                  end_to_end
==============================  ==================================================  ============

The names are those of a golden (golden/README.md). A folder prefix (``song/spectrogram.npy``, or
``song.npz:spectrogram``) does not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from harness.errors import ParityError
from harness.verdicts import GATES, ON_REQUEST, Gate, gate


@dataclass(frozen=True)
class TensorKind:
    """A kind of tensor.

    Attributes:
        layer: the rung of the ladder that its checks belong to.
        gate: the row of the table that judges it.
        form: what its axes are: ``wave`` [..., channels, n], ``stems`` [..., channels, n],
            ``spectrum`` [..., 2 x channels, bins, frames], or ``array``.
    """

    layer: str
    gate: str
    form: str


_KINDS: Final = {
    "audio": TensorKind("ops", "ops_exact", "wave"),
    "true_stems": TensorKind("ops", "ops_exact", "wave"),
    "spectrogram": TensorKind("stft", "stft", "spectrum"),
    "freq": TensorKind("conversion", "conversion", "spectrum"),
    "time": TensorKind("conversion", "conversion", "wave"),
    "stems": TensorKind("end_to_end", "end_to_end", "stems"),
}
_MEMBER: Final = re.compile(r"^model\.\d+\.")
"""What the tensors of one model of a bag are called by."""
_INNER: Final = TensorKind("conversion", "conversion", "array")
AUDIO_FILE: Final = TensorKind("end_to_end", "end_to_end", "stems")


def kind_of(name: str) -> TensorKind:
    """Return the kind of the tensor called ``name``."""
    last = name.rpartition(":")[2]
    if PurePosixPath(last).suffix == ".npy":
        last = PurePosixPath(last).stem
    return _KINDS.get(_MEMBER.sub("", PurePosixPath(last).name), _INNER)


def chosen_gate(
    rtol: float | None, atol: float | None, min_snr_db: float | None, name: str | None
) -> Gate | None:
    """Return the gate that the user asked for, None if the kind decides.

    Raises:
        ParityError: a name and bounds at once, half a tolerance, or a gate that bounds no tensor.
        UnknownNameError: there is no such gate.
    """
    if name is None:
        if (rtol, atol, min_snr_db) == (None, None, None):
            return None
        return Gate("command line", ON_REQUEST, rtol, atol, min_snr_db)
    if (rtol, atol, min_snr_db) != (None, None, None):
        raise ParityError("give --gate or bounds (--rtol, --atol, --min-snr), not both")
    found = gate(name)
    if found.rtol is None and found.min_snr_db is None:
        fitting = [n for n, row in GATES.items() if (row.rtol, row.min_snr_db) != (None, None)]
        raise ParityError(
            f"gate {name!r} bounds a number, not a tensor; those that do: {', '.join(fitting)}"
        )
    return found
