"""``python -m harness.mil.bridge [-m MODULE | SCRIPT] [ARGUMENT ...]``: run it under the bridge."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from harness.mil.bridge.patches import installed

USAGE = f"""{__doc__}

Examples:
  python -m harness.mil.bridge -m pytest test_my_conversion.py
  python -m harness.mil.bridge compare_models.py
"""


def main(arguments: list[str]) -> None:
    """Run the module or script that ``arguments`` name, as Python itself would."""
    as_module = arguments[:1] == ["-m"]
    words = arguments[1:] if as_module else arguments
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        raise SystemExit(0 if words else 2)
    # Test processes that pytest-xdist starts are new interpreters: they find the plugin by this.
    plugins = [os.environ.get("PYTEST_PLUGINS", ""), "harness.mil.bridge.plugin"]
    os.environ["PYTEST_PLUGINS"] = ",".join(filter(None, plugins))
    sys.argv = words
    with installed():
        if as_module:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(words[0]).resolve().parent)
            runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
