"""The pack ``dsp``; importing it registers its operations."""

from harness.packs.dsp import convolution, filters, transforms  # noqa: F401
