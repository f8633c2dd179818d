"""How Apple's units compute, as far as that is public: pure functions, and profiles as data.

===================  ==============================================================================
`profile`            what is known of a unit, line by line, each with its source and confidence
`reading`            profiles as TOML files, and those that are shipped
`properties`         the questions that a profile has to answer
`reference`          functions as mathematics has them
`grid`               FP16 numbers, and rounding to them
`tables`             functions from 33 knots
`values`             such a function at all FP16 numbers, to be looked up
`accumulators`       matrix products with the published accumulators
`convolution`        convolutions as sums of such products
`winograd`           3x3 convolutions with fewer products
`reductions`         sums and means
`computing`          a device: a profile with its unknowns settled, and everything that it computes
`placement`          which unit can run an operation at all
===================  ==============================================================================

Nothing here was measured on a device by this project; docs/devices.md says what was published, by
whom, what of it was computed again, and what is open. Where something is open, `band` gives the
device in each of the ways that are plausible, for a range instead of a number.
"""

from harness.devices.accumulators import products
from harness.devices.computing import Device, band, device
from harness.devices.placement import place
from harness.devices.profile import Origin, Profile, ProfileError, Table, Tail
from harness.devices.reading import load_profile, parse_profile, shipped_profiles

__all__ = [
    "Device",
    "Origin",
    "Profile",
    "ProfileError",
    "Table",
    "Tail",
    "band",
    "device",
    "load_profile",
    "parse_profile",
    "place",
    "products",
    "shipped_profiles",
]
