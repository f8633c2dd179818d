"""What a device made of a package: recorded on a Mac, read as data, and named by its rules.

===============  ===================================================================================
`probes`         one operation each, with fixed inputs, that tell rules of devices apart
`signals`        those inputs
`kit`            the package of all probes, and the folder that goes to a Mac
`recorder`       the script that is shipped in that folder; it needs coremltools alone
`files`          captures: what such a script, or its twin in Swift, wrote
`calibration`    which rules explain a capture, which profile has them, and what differs
`profiles`       what was found, as a profile of its own
===============  ===================================================================================

Nothing here was tried on a Mac: the recorder runs under `harness.mil.bridge`, the Swift file was
not compiled, and calibration was tried on captures of devices that this project made up.
"""

from harness.captures.calibration import Calibration, Match, calibrate
from harness.captures.files import Capture, CaptureError, read_capture
from harness.captures.kit import probe_package, write_kit, write_recording
from harness.captures.probes import PROBES, probe_inputs
from harness.captures.profiles import profile_toml

__all__ = [
    "PROBES",
    "Calibration",
    "Capture",
    "CaptureError",
    "Match",
    "calibrate",
    "probe_inputs",
    "probe_package",
    "profile_toml",
    "read_capture",
    "write_kit",
    "write_recording",
]
