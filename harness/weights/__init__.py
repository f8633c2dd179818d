"""Weights by name: between conventions, through transforms, out of packages; and are they sound.

In: a state dict, tensors by name, as `read_weights` returns it for a checkpoint file or a subject,
or as `extract` takes it from a Core ML package or a compiled model, without a Core ML runtime. Out:
the same under other names or in another form, and a report of what matched and what did not.
Nothing here executes a network, and a file is data: nothing in it is run.

- `conventions`: Demucs' own names, and those of the Swift/Metal port; which of the two a file has;
- `transforms`: renaming, prefixes, transposition, selection, types, from a small TOML file;
- `checking`: NaN, infinities, magnitudes, shapes, and types that some loaders misread;
- `extraction`: the constants of a package, under their own names or the checkpoint's;
- `files`: reading and writing.
"""

from harness.weights.checking import Complaint, check_weights
from harness.weights.conventions import CONVENTIONS, convention_of, renamed
from harness.weights.extraction import Extraction, extract
from harness.weights.files import State, WeightsError, model_like, read_weights, write_weights
from harness.weights.transforms import Step, StepReport, apply_steps, read_steps

__all__ = [
    "CONVENTIONS",
    "Complaint",
    "Extraction",
    "State",
    "Step",
    "StepReport",
    "WeightsError",
    "apply_steps",
    "check_weights",
    "convention_of",
    "extract",
    "model_like",
    "read_steps",
    "read_weights",
    "renamed",
    "write_weights",
]
