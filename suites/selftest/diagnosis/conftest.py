"""The networks of the precision lab."""

from suites.selftest.precision.conftest import (
    narrow,
    narrow_path,
    narrow_trace,
    one_thread,
    signal,
    small,
)

__all__ = ["narrow", "narrow_path", "narrow_trace", "one_thread", "signal", "small"]
