"""What the harness's own tests share."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes tells how busy the machine is, and nothing of what is under test.
settings.register_profile("parity", deadline=None)
settings.load_profile("parity")
