"""What is proven: networks with their weights, what of them is converted, taps, and signals.

`Network` is what the other rooms know of one. HTDemucs is the one that this project is about.
"""

from __future__ import annotations

from harness.subjects.htdemucs import HTDemucsNetwork, htdemucs_constants, stems_of
from harness.subjects.names import ARCHITECTURES, Architecture, SubjectName, parse_subject_name
from harness.subjects.protocol import (
    Extracted,
    Network,
    Subject,
    run_extracted,
)
from harness.subjects.signals import SIGNALS, make_signal
from harness.subjects.structure import tap_module_path
from harness.subjects.subject import (
    describe_subject,
    load_subject,
    network,
    own_network,
    own_networks,
    separate_segment,
)
from harness.subjects.surgery import FullHybridHTDemucs, extract_inner_model
from harness.subjects.taps import (
    run_original,
    tap_names,
)
from harness.subjects.weights import UnusualWeightsWarning

__all__ = [
    "ARCHITECTURES",
    "SIGNALS",
    "Architecture",
    "Extracted",
    "FullHybridHTDemucs",
    "HTDemucsNetwork",
    "Network",
    "Subject",
    "SubjectName",
    "UnusualWeightsWarning",
    "describe_subject",
    "extract_inner_model",
    "htdemucs_constants",
    "load_subject",
    "make_signal",
    "network",
    "own_network",
    "own_networks",
    "parse_subject_name",
    "run_extracted",
    "run_original",
    "separate_segment",
    "stems_of",
    "tap_module_path",
    "tap_names",
]
