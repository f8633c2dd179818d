"""The networks of the precision lab."""

from suites.selftest.precision.conftest import (
    music,
    narrow,
    narrow_path,
    narrow_trace,
    one_thread,
    signal,
    small,
)

__all__ = ["music", "narrow", "narrow_path", "narrow_trace", "one_thread", "signal", "small"]
