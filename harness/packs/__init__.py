"""Golden packs: questions with answers for implementations in any language, and their judge.

A pack is a folder: two safetensors files (what is given, what is expected), and a manifest as JSON
and as flat TSV with operations, attributes, layouts, seeds, hashes and tolerances. Somebody who
writes HTDemucs in Swift, Rust or C++ reads it, computes, writes tensors under the names of the
expected ones, and gets a verdict operation by operation. See ``docs/packs.md``.

`write_pack` makes one, `open_pack` opens one, `judge` holds `Results` against it, `execute` runs a
command on it.
"""

from harness.packs.building import BOOKS, Answered, answered, write_pack
from harness.packs.htdemucs import NAME as NETWORK
from harness.packs.judging import Finding, Judgement, Request, judge
from harness.packs.manifest import Manifest, PackError, Tolerance
from harness.packs.process import Execution, ProcessError, execute, question_copy
from harness.packs.reading import Pack, Results, open_pack, read_results

__all__ = [
    "BOOKS",
    "NETWORK",
    "Answered",
    "Execution",
    "Finding",
    "Judgement",
    "Manifest",
    "Pack",
    "PackError",
    "ProcessError",
    "Request",
    "Results",
    "Tolerance",
    "answered",
    "execute",
    "judge",
    "open_pack",
    "question_copy",
    "read_results",
    "write_pack",
]
