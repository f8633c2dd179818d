"""What is proven: HTDemucs variants with their weights, their inner network, taps, and signals."""

from __future__ import annotations

from harness.subjects.names import ARCHITECTURES, Architecture, SubjectName, parse_subject_name
from harness.subjects.outline import Outline, describe_subject
from harness.subjects.signals import SIGNALS, make_signal
from harness.subjects.subject import Subject, load_subject, separate_segment
from harness.subjects.surgery import FullHybridHTDemucs, extract_inner_model
from harness.subjects.taps import (
    OriginalOutputs,
    capture_stft_output,
    capture_taps,
    run_original,
    tap_module_path,
    tap_names,
)
from harness.subjects.weights import UnusualWeightsWarning

__all__ = [
    "ARCHITECTURES",
    "SIGNALS",
    "Architecture",
    "FullHybridHTDemucs",
    "OriginalOutputs",
    "Outline",
    "Subject",
    "SubjectName",
    "UnusualWeightsWarning",
    "capture_stft_output",
    "capture_taps",
    "describe_subject",
    "extract_inner_model",
    "load_subject",
    "make_signal",
    "parse_subject_name",
    "run_original",
    "separate_segment",
    "tap_module_path",
    "tap_names",
]
