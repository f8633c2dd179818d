"""What becomes of a program whose operations are split over the units of a machine.

Core ML decides by a cost model that is not published which unit runs an operation. So a program in
FP16 has not one result on a machine but one for every split, and `find_floor` gives one number for
them all: the SNR of the worst split that the errors of single operations lead to. `vary` says what
one device would make of it if what is not known of it were otherwise, and `find_culprit` which
operation a device computed in another way, by what it made of a signal.
"""

from harness.precision.placement.blame import find_culprit
from harness.precision.placement.floor import Floor, find_floor
from harness.precision.placement.units import UNITS, Machine, Split, machine_of
from harness.precision.placement.variants import vary

__all__ = [
    "UNITS",
    "Floor",
    "Machine",
    "Split",
    "find_culprit",
    "find_floor",
    "machine_of",
    "vary",
]
