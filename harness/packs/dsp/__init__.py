"""The pack ``dsp``; importing it registers its operations."""

from harness.packs.dsp import convolution, filters, transforms
from harness.packs.problems import DSP

__all__ = ["DSP", "convolution", "filters", "transforms"]
