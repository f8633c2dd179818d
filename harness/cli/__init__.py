"""The command line: ``parity``, also ``python -m harness``.

Every command is thin: it parses, calls a room, and prints. One module for each group.
"""

from harness.cli.app import main

__all__ = ["main"]
