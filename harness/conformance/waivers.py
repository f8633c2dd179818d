"""The tests that may fail, each by its full identity and with a reason that a reader can check.

``waivers.toml`` beside this module holds one line for each: ``"test id" = "reason"``; the engine
``onnx`` has a file of its own. There are no patterns. A waiver whose test passes or no longer
exists is stale, and a stale waiver is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harness.bounded import TOML_LIMIT_BYTES, parse_toml, read_text
from harness.errors import RunError

WAIVERS: Final = Path(__file__).with_name("waivers.toml")
ONNX_WAIVERS: Final = WAIVERS.with_name("waivers_onnx.toml")


def read_waivers(path: Path = WAIVERS) -> Mapping[str, str]:
    """Return the reason of each waived test, by its id.

    Raises:
        RunError: the file can't be read, or a line is no id with a reason.
    """
    try:
        waivers = parse_toml(read_text(path, TOML_LIMIT_BYTES, RunError))
    except ValueError as error:
        raise RunError(f"waivers {path} can't be read: {error}") from error
    for name, reason in waivers.items():
        if not isinstance(reason, str) or not reason.strip():
            raise RunError(f"{path}: the waiver of {name!r} has no reason; give one as a string")
    return waivers
